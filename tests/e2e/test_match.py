"""`facebatch match`: lines for files and pipes, exit statuses, no work twice."""

import csv
import json
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import psycopg2
import pytest
from PIL import Image
from place import Place

from cli.sample import Sample
from cli.stack.postgres import database_url
from pipeline.specs import ENGINE_SPECS
from pipeline.thresholds import WantedThreshold, decided


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def odd_photos(sample: Sample, tmp_path: Path) -> Path:
    """Photos of people, of nobody, and what only looks like a photo."""
    folder = tmp_path / "photos"
    below = folder / "sub" / "für Öl"
    below.mkdir(parents=True)
    (below / "both.jpg").write_bytes((sample.photos_dir / "obama_and_biden.jpg").read_bytes())
    (folder / "same as both.jpg").write_bytes((below / "both.jpg").read_bytes())
    (folder / "words.jpg").write_text("no photo")
    (folder / "empty.png").touch()
    (folder / "cut.jpg").write_bytes((below / "both.jpg").read_bytes()[:3000])
    (folder / "notes.txt").write_text("left out")
    (folder / "line\nbreak.png").write_bytes(_grey())
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(_grey())
    return folder


def _grey() -> bytes:
    out = BytesIO()
    Image.new("L", (100, 100), 90).save(out, "PNG")
    return out.getvalue()


def test_every_photo_gets_its_lines_and_the_stack_stops(
    place: Place, sample: Sample, odd_photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.jsonl"
    done = place.run("match", "--people", sample.people_dir, "--photos", odd_photos, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "1 file in" in done.stderr
    found = lines(out)
    by_photo: dict[str, list[dict]] = {}
    for line in found:
        by_photo.setdefault(line["photo"], []).append(line)
    assert {name: [line["status"] for line in group] for name, group in by_photo.items()} == {
        "cut.jpg": ["failed"],
        "empty.png": ["failed"],
        "line\nbreak.png": ["no_face"],
        "same as both.jpg": ["done", "done"],
        "sub/für Öl/both.jpg": ["done", "done"],
        "words.jpg": ["failed"],
        "\udcff.png": ["no_face"],
    }
    errors = {name: group[0].get("error") for name, group in by_photo.items()}
    assert errors["cut.jpg"] == "image_truncated"
    assert errors["empty.png"] == "empty_file"
    assert errors["words.jpg"] == "not_an_image"
    for line in by_photo["sub/für Öl/both.jpg"]:
        assert list(line) == [
            "photo", "status", "face", "box", "quality", "subject", "distance", "candidates",
        ]  # fmt: skip
        left, top, right, bottom = line["box"]
        assert left < right
        assert top < bottom
        assert line["candidates"][0] == {"subject": line["subject"], "distance": line["distance"]}
        assert line["candidates"][1]["distance"] > line["distance"]
    assert {line["subject"] for line in by_photo["same as both.jpg"]} == {"obama", "biden"}
    assert place.leftovers() == []


def test_a_second_run_does_no_work_twice_and_gives_the_same_lines(
    served: Place, sample: Sample, tmp_path: Path
) -> None:
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    arguments = ("match", "--people", sample.people_dir, "--photos", sample.photos_dir, "--out")
    assert served.run(*arguments, first).returncode == 0
    before, jobs = _worked(served), _count(served, "job")
    assert served.run(*arguments, second).returncode == 0
    assert second.read_bytes() == first.read_bytes()
    assert _worked(served) == before
    assert _count(served, "job") == jobs + 2
    view = served.view()
    assert view  # It was running before, and goes on.


def _worked(place: Place) -> list[int]:
    """Extractions, templates and photos there are."""
    return [_count(place, table) for table in ("extraction", "template", "photo")]


def _count(place: Place, table: str) -> int:
    part = place.part("postgresql")
    assert part
    connection = psycopg2.connect(database_url(place.home, int(part.address.split(":")[1])))
    with connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        ((count,),) = cursor.fetchall()
    connection.close()
    return int(count)


def test_lines_go_to_a_pipe_or_into_columns(served: Place, sample: Sample, tmp_path: Path) -> None:
    arguments = ("match", "--people", sample.people_dir, "--photos", sample.photos_dir)
    piped = served.run(*arguments)
    assert piped.returncode == 0
    found = [json.loads(line) for line in piped.stdout.splitlines()]
    out = tmp_path / "r.csv"
    assert served.run(*arguments, "--out", out).returncode == 0
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["photo"], row["subject"]) for row in rows] == [
        (line["photo"], line["subject"]) for line in found
    ]


def test_faces_below_the_limits_are_left_out_of_people_and_photos(
    served: Place, sample: Sample
) -> None:
    arguments = ("match", "--people", sample.people_dir, "--photos", sample.photos_dir)
    every = [json.loads(line) for line in served.run(*arguments).stdout.splitlines()]
    done = served.run(*arguments, "--min-face-px", "180")
    assert done.returncode == 0, done.stderr
    small = "obama_and_biden.jpg"
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"photo": small, "status": "no_face", "faces_left_out": 2} in found
    assert [line for line in found if line["photo"] != small] == [
        line for line in every if line["photo"] != small
    ]
    refused = served.run(*arguments, "--min-quality", "1")
    assert refused.returncode == 1
    assert "obama.jpg was not enrolled: the photo's face has the quality" in refused.stderr


def test_threshold_and_top_are_heeded(served: Place, sample: Sample) -> None:
    done = served.run(
        "match", "--people", sample.people_dir, "--photos", sample.photos_dir,
        "--threshold", "0.25", "--top", "1",
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {len(line["candidates"]) for line in found} == {1}
    assert {line["subject"] is None for line in found} == {True, False}
    assert all((line["subject"] is None) == (line["distance"] > 0.25) for line in found)
    assert "faces within 0.25 of a person" in done.stderr


def test_an_engine_and_an_error_rate_are_heeded(served: Place, sample: Sample) -> None:
    done = served.run(
        "match", "--people", sample.people_dir, "--photos", sample.photos_dir,
        "--engine", "sface", "--target-fpir", "1e-4",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "FPIR 0.0001 among 2 people" in done.stderr
    spec = ENGINE_SPECS["sface"]
    limit = decided(spec, WantedThreshold(target_fpir=1e-4), subjects=2).distance
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["subject"] for line in found} >= {"obama", "biden"}
    assert all((line["subject"] is None) == (line["distance"] > limit) for line in found)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--threshold", "3"), "--threshold"),
        (("--threshold", "near"), "--threshold"),
        (("--top", "0"), "--top"),
        (("--out", "/no/such/folder/r.jsonl"), "--out"),
        (("--photos", "/no/such/folder"), "--photos"),
        (("--colour", "red"), "--colour"),
    ],
)
def test_bad_arguments_exit_with_2(
    place: Place, sample: Sample, more: tuple[str, str], says: str
) -> None:
    done = place.run("match", "--people", sample.people_dir, "--photos", sample.photos_dir, *more)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert place.leftovers() == []


def test_folders_with_nobody_in_them_exit_with_2(place: Place, tmp_path: Path) -> None:
    done = place.run("match", "--people", tmp_path, "--photos", tmp_path)
    assert done.returncode == 2
    assert "holds nobody" in done.stderr


def test_people_without_a_face_exit_with_1(served: Place, sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "nobody.png").write_bytes(_grey())
    done = served.run("match", "--people", tmp_path, "--photos", sample.photos_dir)
    assert done.returncode == 1
    assert "no photo" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_match_on_real_people(served: Place, photos_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.jsonl"
    demo = photos_dir / "demo"
    done = served.run(
        "match", "--people", demo / "people", "--photos", demo / "photos", "--out", out
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str | None]] = {}
    for line in lines(out):
        found.setdefault(line["photo"], []).append(line["subject"])
    assert {"obama", "biden"} <= set(found["obama_and_biden.jpg"])
    assert len(found["two_people.jpg"]) == 2
    assert set(found) == {path.name for path in (demo / "photos").iterdir()}


def test_a_full_disk_is_said_in_a_line(served: Place, sample: Sample) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "cli.main", "match"),
                *("--people", str(sample.people_dir), "--photos", str(sample.photos_dir)),
            ],
            env=served.environ(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "facebatch: No space left on device"
