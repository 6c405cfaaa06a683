"""`facebatch submit` puts every photo into its job once, however often it is interrupted."""

import io
import json
import os
import random
import signal
import time
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from gate import Gate, gate_before
from PIL import Image
from place import ARCHIVED, Place, wait_for
from test_killing import kill, kill_group

from bench.soak.stack import SoakStack
from cli.sample import Sample

INTERRUPTIONS = 5
MANY = 2500
"""Photos of nobody, so many that a submission is under way for a while."""
pytestmark = pytest.mark.usefixtures("heeding_signals")
LONG_AGO = (1_000_000_000, 1_000_000_000)
"""Older than what may still change unnoticed."""
_OF_A_RUN = ("item", "key", "source", "finished_at", "photo")
"""Members of a line that differ from job to job, or from one way in to another."""


@pytest.fixture
def gate(served: Place) -> Iterator[Gate]:
    view = served.view()
    assert view
    with gate_before(view.api_url) as gate:
        yield gate


@pytest.fixture
def folder(archive: Path, tmp_path: Path) -> Path:
    """The photos of `archive` with bytes that no other test has sent."""
    salt = os.urandom(8)
    for path in archive.rglob("*.png"):
        here = tmp_path / "photos" / path.relative_to(archive)
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_bytes(path.read_bytes() + salt)
        os.utime(here, LONG_AGO)
    return tmp_path / "photos"


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Small photos with bytes that no other test has sent."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(out, "JPEG")
    salt = os.urandom(8)
    for n in range(MANY):
        path = tmp_path / "many" / f"{n % 13}" / f"{n}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(out.getvalue() + salt + n.to_bytes(4, "big"))
        os.utime(path, LONG_AGO)
    return tmp_path / "many"


def asked(gate: Gate, path: str) -> dict[str, Any]:
    return dict(httpx.get(gate.upstream + path, trust_env=False).json())


def n_photos(gate: Gate, job: str) -> int:
    return int(asked(gate, f"/v1/jobs/{job}")["counts"]["total"])


def client_ids(gate: Gate, job: str) -> Counter[str]:
    found: Counter[str] = Counter()
    cursor = ""
    while True:
        page = asked(gate, f"/v1/jobs/{job}/results?limit=500{cursor}")
        found.update(one["client_id"] for one in page["results"])
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def names(folder: Path) -> Counter[str]:
    return Counter(str(path.relative_to(folder)) for path in folder.rglob("*.*"))


def test_a_submission_that_is_interrupted_five_times_ends_complete(
    served: Place, gate: Gate, many: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where the test fails.
    chance = random.Random(seed)
    submitting = ("submit", many, "--detect", "--api", gate.url, "--parallel", "2")
    jobs = set()
    for so_many in sorted(chance.sample(range(1, MANY // 2), INTERRUPTIONS)):
        running = served.start(*submitting)
        assert running.stdout
        jobs.add(running.stdout.readline().strip())
        # A paused job takes photos, and leaves the machine to its client.
        httpx.post(f"{gate.upstream}/v1/jobs/{min(jobs)}/pause", trust_env=False).raise_for_status()
        wait_for(lambda so_many=so_many: n_photos(gate, min(jobs)) >= so_many)
        number = chance.choice([signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
        if number == signal.SIGKILL:
            assert running.returncode == -number, said
        else:
            assert running.returncode == 128 + number, said
            assert "interrupted; run it again to go on" in said
        wait_for(lambda: gate.under_way == 0)
    assert n_photos(gate, min(jobs)) < MANY
    done = served.run(*submitting)
    jobs.add(done.stdout.strip())
    assert done.returncode == 0, done.stderr
    (job,) = jobs
    assert client_ids(gate, job) == names(many) == gate.taken
    assert asked(gate, f"/v1/jobs/{job}")["sealed_at"] is not None
    httpx.post(f"{gate.upstream}/v1/jobs/{job}/cancel", trust_env=False).raise_for_status()


@pytest.mark.chaos
@pytest.mark.xdist_group("chaos")
def test_a_submission_outlives_the_death_of_the_server_and_a_network_that_is_away(
    place: Place, many: Path
) -> None:
    serving = place.start("up", FACEBATCH_WORKERS="1")
    wait_for(lambda: (view := place.view()) is not None and view.phase == "ready")
    view = place.view()
    assert view
    with gate_before(view.api_url) as gate:
        running = place.start("submit", many, "--detect", "--api", gate.url, "--parallel", "2")
        assert running.stdout
        job = running.stdout.readline().strip()
        httpx.post(f"{gate.upstream}/v1/jobs/{job}/pause", trust_env=False).raise_for_status()
        wait_for(lambda: n_photos(gate, job) > 0)
        kill(place, "web", kill_group)
        wait_for(lambda: n_photos(gate, job) > MANY // 4)
        gate.shut.set()
        time.sleep(1)
        gate.shut.clear()
        _, said = running.communicate(timeout=120)
        assert running.returncode == 0, said
        assert client_ids(gate, job) == names(many) == gate.taken
    serving.send_signal(signal.SIGTERM)
    serving.communicate(timeout=60)


def test_what_was_submitted_is_submitted_again_only_when_asked_and_never_sent_again(
    served: Place, gate: Gate, folder: Path
) -> None:
    def submit(*options: str, status: int = 0) -> list[dict[str, Any]]:
        done = served.run("submit", folder, "--detect", "--api", gate.url, "--json", *options)
        assert done.returncode == status, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    first, end = submit()
    assert (end["sent"], end["known"], end["refused"]) == (ARCHIVED, 0, 0)
    again, end = submit()
    assert (again, end["sent"], end["known"]) == (first, 0, ARCHIVED)
    anew, end = submit("--new", "--wait")
    assert (anew == first, end["sent"], end["known"]) == (False, 0, ARCHIVED)
    assert (end["state"], end["counts"]["total"]) == ("succeeded", ARCHIVED)
    other, end = submit("--min-face-px", "10")
    assert other["job"] not in {first["job"], anew["job"]}
    assert (end["sent"], n_photos(gate, other["job"])) == (0, ARCHIVED)
    # Other photos than those of the job, which takes no more: nothing is done behind one's back.
    (folder / "more.png").write_bytes((folder / "folder 0" / "obama3-000.png").read_bytes() + b"x")
    submit(status=1)
    latest, end = submit("--new")
    assert (end["sent"], end["known"]) == (1, ARCHIVED)
    assert set(gate.taken.values()) == {1}
    # With the job goes the photo that no other has.
    httpx.delete(f"{gate.upstream}/v1/jobs/{latest['job']}", trust_env=False).raise_for_status()
    after, end = submit()
    assert (after == latest, end["sent"], end["known"]) == (False, 1, ARCHIVED)


def test_files_that_change_or_go_while_they_are_sent_are_told(
    served: Place, gate: Gate, folder: Path
) -> None:
    running = served.start("submit", folder, "--detect", "--api", gate.url, "--parallel", "1")
    assert running.stdout
    job = running.stdout.readline().strip()
    wait_for(lambda: n_photos(gate, job) >= 64)
    running.kill()
    running.communicate()
    wait_for(lambda: gate.under_way == 0)
    changed, gone, *_ = sorted((folder / "folder 0").iterdir())
    changed.write_bytes(changed.read_bytes() + b"y")
    gone.unlink()
    unreadable = folder / "folder 6" / "nowhere.png"
    unreadable.symlink_to(folder / "absent")
    done = served.run("submit", folder, "--detect", "--api", gate.url)
    assert (done.returncode, done.stdout.strip()) == (1, job)
    assert f"folder 0/{changed.name} is not in the job: the job has another photo" in done.stderr
    assert "folder 6/nowhere.png is not in the job: " in done.stderr
    assert "2 not in the job" in done.stderr
    assert n_photos(gate, job) == ARCHIVED
    assert set(gate.taken.values()) == {1}


def test_odd_names_come_in_once_each(
    served: Place, gate: Gate, tmp_path: Path, folder: Path
) -> None:
    some = (folder / "folder 0" / "obama3-000.png").read_bytes()
    odd = ["%22.png", "100%.png", 'a"b.png', "new\nline.png", "é\u202f1.png", "b\\c.png", "ü" * 80]
    there = tmp_path / "odd"
    there.mkdir()
    for n, name in enumerate([*odd, os.fsdecode(b"\xff.png")]):
        path = there / (name if name.endswith(".png") else f"{name}.png")
        path.write_bytes(some + bytes([n]))
    done = served.run("submit", there, "--detect", "--api", gate.url)
    assert done.returncode == 0, done.stderr
    ids = client_ids(gate, done.stdout.strip())
    assert set(ids.values()) == {1}
    plain = {"100%.png", 'a"b.png', "é\u202f1.png", "b\\c.png", "ü" * 80 + ".png"}
    assert {one for one in ids if not one.startswith("#")} == plain
    assert len(ids) == len(odd) + 1
    again = served.run("submit", there, "--detect", "--api", gate.url, "--new")
    assert "0 photos sent, 8 known already" in again.stderr


def lines(place: Place, job: str) -> list[Mapping[str, Any]]:
    """The results of a job by photo, without what differs from job to job."""
    done = place.run("results", job, "--format", "jsonl")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return sorted(
        ({name: value for name, value in one.items() if name not in _OF_A_RUN} for one in found),
        key=lambda one: one["client_id"],
    )


def test_zip_folder_prefix_and_manifest_give_the_same_results(
    served: Place, sample: Sample, tmp_path: Path
) -> None:
    for person in sample.people_dir.iterdir():
        done = served.run(
            "submit", person, "--enrol-as", person.name, "--gallery", "known", "--wait"
        )
        assert done.returncode == 0, done.stderr
    photos = sorted(sample.photos_dir.iterdir())
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        for path in photos:
            file.write(path, path.name)
    store = SoakStack(served.home, port=0).store()
    manifest = []
    for path in photos:
        store.put(f"sources/local/demo/{path.name}", [path.read_bytes()])
        line = {"key": f"sources/local/demo/{path.name}", "id": path.name}
        manifest.append(json.dumps(line) + "\n")
    (tmp_path / "photos.ndjson").write_text("".join(manifest))
    ways = (
        sample.photos_dir,
        tmp_path / "photos.zip",
        tmp_path / "photos.ndjson",
        "s3://facebatch/sources/local/demo/",
    )
    found = []
    for way in ways:
        done = served.run("submit", way, "--gallery", "known", "--wait")
        assert done.returncode == 0, done.stderr
        found.append(lines(served, done.stdout.strip()))
        again = served.run("submit", way, "--gallery", "known")
        assert (again.returncode, again.stdout) == (0, done.stdout), again.stderr
    assert [one["client_id"] for one in found[0]] == [path.name for path in photos]
    assert all(one["status"] == "done" for one in found[0])
    assert found[1:] == found[:1] * 3


def test_a_submission_to_the_local_stack_goes_on_over_its_restarts(
    place: Place, sample: Sample
) -> None:
    submitting = ("submit", sample.photos_dir, "--detect")
    first = place.run(*submitting)
    assert first.returncode == 0, first.stderr
    assert "the job goes on when the local stack runs" in first.stderr
    assert place.leftovers() == []
    then = place.run(*submitting, "--wait")
    assert (then.returncode, then.stdout) == (0, first.stdout), then.stderr
    assert "0 photos sent, 7 known already" in then.stderr
    assert "the job is succeeded: 7 total, 7 done" in then.stderr
    assert "goes on when" not in then.stderr
