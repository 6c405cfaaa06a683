"""Ctrl-C and SIGTERM end a match soon, with a word, and with nothing half-done or left running."""

import json
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest
from place import Place

from cli.sample import Sample

pytestmark = pytest.mark.usefixtures("heeding_signals")


def until_said(process: subprocess.Popen[str], words: str) -> None:
    """Reads standard error up to a line with these words."""
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            return
    raise AssertionError("".join(said))


def latest_job(api_url: str) -> dict:
    with urllib.request.urlopen(f"{api_url}/v1/jobs?limit=1", timeout=30) as answer:
        (job,) = json.load(answer)["jobs"]
    return dict(job)


def test_ctrl_c_stops_the_stack_that_the_match_had_started(
    place: Place, archive: Path, sample: Sample, tmp_path: Path
) -> None:
    out = tmp_path / "r.jsonl"
    matching = place.start(
        "match", "--people", sample.people_dir, "--photos", archive, "--out", out
    )
    until_said(matching, "matching photos")
    matching.send_signal(signal.SIGINT)
    _, said = matching.communicate(timeout=60)
    assert matching.returncode == 130
    lines = [line for line in said.splitlines() if line.startswith("facebatch: ")]
    assert lines == [
        "facebatch: interrupted; run it again to go on",
        "facebatch: stopping the local stack",
    ]
    assert place.leftovers() == []
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_ctrl_c_while_the_stack_starts_stops_it(place: Place, sample: Sample) -> None:
    matching = place.start("match", "--people", sample.people_dir, "--photos", sample.photos_dir)
    until_said(matching, "starting the local stack")
    matching.send_signal(signal.SIGINT)
    _, said = matching.communicate(timeout=60)
    assert matching.returncode == 130
    assert "facebatch: interrupted; run it again to go on\nfacebatch: stopping" in said
    assert place.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_match_that_is_told_to_end_leaves_no_file_and_no_work_behind(
    served: Place, archive: Path, sample: Sample, tmp_path: Path, number: signal.Signals
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in archive.rglob("*.png"):
        # Other bytes for each signal: what is known takes no time.
        (photos / path.name).write_bytes(path.read_bytes() + number.name.encode())
    out = tmp_path / "r.jsonl"
    matching = served.start(
        "match", "--people", sample.people_dir, "--photos", photos, "--out", out
    )
    until_said(matching, "matching photos")
    matching.send_signal(number)
    _, said = matching.communicate(timeout=60)
    assert matching.returncode == 128 + number
    assert "facebatch: interrupted; run it again to go on\n" in said
    assert "stopping the local stack" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
    view = served.view()
    assert view
    job = latest_job(view.api_url)
    assert (job["kind"], job["state"]) == ("identify", "cancelled")
