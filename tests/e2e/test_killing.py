"""Kill anything at any time: every photo still ends, once."""

import io
import json
import os
import shutil
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from PIL import Image
from place import Place, wait_for

from cli.sample import Sample
from cli.stack.postgres import database_url

PHOTOS = 2000
"""So many that two processes are not done with them before the last part was killed."""
BETWEEN = 100
"""So many photos end after a part was killed, before the next one is."""

AWAY_S = 3


@pytest.fixture
def many_photos(sample: Sample, tmp_path: Path) -> Path:
    """Different photos, each with Obama or Biden in it, in sub-folders."""
    folder = tmp_path / "photos"
    for source in ("obama3.jpg", "biden_mirrored.jpg"):
        small = io.BytesIO()
        with Image.open(sample.photos_dir / source) as photo:
            photo.thumbnail((400, 400))
            photo.convert("RGB").save(small, "JPEG")
        start, rest = small.getvalue()[:2], small.getvalue()[2:]
        for n in range(PHOTOS // 2):
            below = folder / f"folder {n % 7}"
            below.mkdir(parents=True, exist_ok=True)
            # A comment tells them apart.
            comment = b"\xff\xfe\x00\x06" + n.to_bytes(4, "big")
            (below / f"{Path(source).stem}-{n:04}.jpg").write_bytes(start + comment + rest)
    return folder


def kill_group(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)


def counts(api_url: str) -> Counter[str]:
    """The photos of the latest identification by state; none while the API is away."""
    try:
        with urllib.request.urlopen(f"{api_url}/v1/jobs?limit=1", timeout=5) as answer:
            (job,) = json.load(answer)["jobs"]
    except (OSError, ValueError):
        return Counter()
    return Counter(job["counts"] if job["kind"] == "identify" else {})


def ended(found: Counter[str]) -> int:
    return found["total"] - found["queued"] - found["running"]


def kill(place: Place, name: str, how: Callable[[int], None]) -> None:
    """Kills a part and waits until the supervisor has it running again."""
    before = place.part(name)
    assert before
    assert before.process
    how(before.process.pid)

    def back() -> bool:
        now = place.part(name)
        return bool(now and now.restarts > before.restarts and now.state == "running")

    wait_for(back)


@pytest.mark.chaos
@pytest.mark.xdist_group("chaos")
def test_a_match_outlives_the_death_of_each_part(
    place: Place, many_photos: Path, sample: Sample, tmp_path: Path
) -> None:
    serving = place.start("up", FACEBATCH_WORKERS="2")
    wait_for(lambda: (view := place.view()) is not None and view.phase == "ready")
    view = place.view()
    assert view
    out = tmp_path / "result.jsonl"
    folders = ("--people", sample.people_dir, "--photos", many_photos)
    matching = place.start("match", *folders, "--out", out)

    def kill_valkey_and_its_data(pid: int) -> None:
        # Nobody starts it again until the worker has done what it had taken.
        serving.send_signal(signal.SIGSTOP)
        kill_group(pid)
        shutil.rmtree(place.home.valkey)
        time.sleep(AWAY_S)
        serving.send_signal(signal.SIGCONT)

    kills = (
        ("worker", kill_group),
        ("valkey", kill_valkey_and_its_data),
        ("postgresql", kill_group),
        ("seaweedfs", kill_group),
        ("web", kill_group),
        ("dispatcher", kill_group),
        ("reconciler", kill_group),
    )
    for number, (name, how) in enumerate(kills, start=1):

        def under_way(so_many: int = number * BETWEEN) -> bool:
            found = counts(view.api_url)
            return ended(found) >= so_many and found["queued"] > 0

        wait_for(under_way)
        assert matching.poll() is None, matching.communicate()
        kill(place, name, how)
    _, said = matching.communicate(timeout=300)
    assert matching.returncode == 0, said

    every_photo_is_matched(out, many_photos)
    ledger_is_whole(place, view.parts[0].address)
    serving.send_signal(signal.SIGTERM)
    serving.communicate(timeout=60)
    assert place.leftovers() == []


def every_photo_is_matched(out: Path, photos: Path) -> None:
    """One line a photo, each with the person that it shows."""
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    expected = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.jpg"))
    assert len(expected) == PHOTOS
    assert sorted(line["photo"] for line in lines) == expected
    assert {line["status"] for line in lines} == {"done"}
    assert all(line["photo"].split("/")[1].startswith(line["subject"]) for line in lines)


def ledger_is_whole(place: Place, address: str) -> None:
    """Counters equal rows, one result set a photo, one completion event a job."""
    connection = psycopg2.connect(database_url(place.home, int(address.split(":")[1])))
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT id, n_items, n_done, n_failed, n_no_face, n_cancelled FROM job")
        jobs = {row[0]: row[1:] for row in cursor.fetchall()}
        cursor.execute("SELECT job_id, state, count(*) FROM item GROUP BY job_id, state")
        rows: dict[str, Counter[str]] = {}
        for job_id, state, count in cursor.fetchall():
            rows.setdefault(job_id, Counter())[state] = count
        cursor.execute(
            "SELECT job_id, count(*) FROM event WHERE type = 'job.completed' GROUP BY job_id"
        )
        events = dict(cursor.fetchall())
        cursor.execute("SELECT count(*), count(DISTINCT photo_id) FROM extraction")
        (extractions,) = cursor.fetchall()
        cursor.execute("SELECT count(*) FROM photo")
        ((photos,),) = cursor.fetchall()
    connection.close()
    for job_id, (total, *counters) in jobs.items():
        found = rows[job_id]
        assert sum(found.values()) == total
        assert counters == [found[one] for one in ("done", "failed", "no_face", "cancelled")]
        assert events[job_id] == 1
    assert extractions == (photos, photos)
