"""Kill anything at any time: every photo still ends, once."""

import json
import os
import shutil
import signal
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from place import ARCHIVED, Place, wait_for

from cli.sample import Sample
from cli.stack.postgres import database_url


def kill_group(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)


def ended(api_url: str) -> int:
    """How many photos of the latest identification have ended; 0 while the API is away."""
    try:
        with urllib.request.urlopen(f"{api_url}/v1/jobs?limit=1", timeout=5) as answer:
            (job,) = json.load(answer)["jobs"]
    except (OSError, ValueError):
        return 0
    if job["kind"] != "identify":
        return 0
    counts = job["counts"]
    return int(counts["total"] - counts["queued"] - counts["running"])


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
    place: Place, archive: Path, sample: Sample, tmp_path: Path
) -> None:
    serving = place.start("up")
    wait_for(lambda: (view := place.view()) is not None and view.phase == "ready")
    view = place.view()
    assert view
    out = tmp_path / "result.jsonl"
    folders = ("--people", sample.people_dir, "--photos", archive)
    matching = place.start("match", *folders, "--out", out)

    def kill_valkey_and_its_data(pid: int) -> None:
        kill_group(pid)
        shutil.rmtree(place.home.valkey)

    kills = (
        (10, "worker", kill_group),
        (45, "valkey", kill_valkey_and_its_data),
        (80, "postgresql", kill_group),
        (110, "seaweedfs", kill_group),
        (140, "web", kill_group),
        (160, "dispatcher", kill_group),
        (170, "reconciler", kill_group),
    )
    for after, name, how in kills:
        wait_for(lambda after=after: ended(view.api_url) >= after)
        assert matching.poll() is None, matching.communicate()
        kill(place, name, how)
    _, said = matching.communicate(timeout=300)
    assert matching.returncode == 0, said

    lines = [json.loads(line) for line in out.read_text().splitlines()]
    expected = sorted(str(path.relative_to(archive)) for path in archive.rglob("*.png"))
    assert len(expected) == ARCHIVED
    assert sorted(line["photo"] for line in lines) == expected
    assert {line["status"] for line in lines} == {"done"}
    assert all(line["photo"].split("/")[1].startswith(line["subject"]) for line in lines)
    ledger_is_whole(place, view.parts[0].address)
    serving.send_signal(signal.SIGTERM)
    serving.communicate(timeout=60)
    assert place.leftovers() == []


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
        cursor.execute("SELECT job_id, count(*) FROM event GROUP BY job_id")
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
