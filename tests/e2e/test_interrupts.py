"""Ctrl-C ends a match soon, with a word, and with nothing half-done or left running."""

import signal
import subprocess
from pathlib import Path

from place import Place

from cli.sample import Sample


def until_said(process: subprocess.Popen[str], words: str) -> None:
    """Reads standard error up to a line with these words."""
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            return
    raise AssertionError("".join(said))


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
