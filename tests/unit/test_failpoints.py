"""Failpoints: who comes to one that is armed obeys, once; nobody else notices."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from db.failpoints import HALTS, Failpoint, allow_failpoints, file_name, reached
from db.settings import load_settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "guarantees.md"
PASSES = """
import sys
from db.failpoints import Failpoint, allow_failpoints, reached
from db.settings import load_settings
allow_failpoints(load_settings({"FACEBATCH_FAILPOINTS": sys.argv[1]}, dotenv=None))
reached(Failpoint.CHUNK_CLAIMED)
print("went on")
"""


def passing(folder: Path) -> subprocess.Popen[str]:
    """A process that comes to a failpoint and says when it has passed it."""
    return subprocess.Popen(
        [sys.executable, "-c", PASSES, str(folder)], stdout=subprocess.PIPE, text=True
    )


def test_the_first_who_comes_dies_and_the_next_goes_on(tmp_path: Path) -> None:
    order = tmp_path / file_name(Failpoint.CHUNK_CLAIMED)
    order.write_text("kill")
    first = passing(tmp_path)
    assert first.communicate(timeout=60) == ("", None)
    assert first.returncode == -signal.SIGKILL
    assert not order.exists()
    assert passing(tmp_path).communicate(timeout=60)[0] == "went on\n"


def test_another_point_concerns_nobody(tmp_path: Path) -> None:
    (tmp_path / file_name(Failpoint.CHUNK_COMPUTED)).write_text("kill")
    (tmp_path / file_name(Failpoint.CHUNK_CLAIMED, "detail")).write_text("kill")
    assert passing(tmp_path).communicate(timeout=60)[0] == "went on\n"


def test_one_that_halts_goes_on_when_it_is_told_to(tmp_path: Path) -> None:
    order = tmp_path / file_name(Failpoint.CHUNK_CLAIMED)
    order.write_text(HALTS)
    process = passing(tmp_path)
    watched = psutil.Process(process.pid)
    while watched.status() != psutil.STATUS_STOPPED:
        assert process.poll() is None
    assert not order.exists()
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=60)[0] == "went on\n"


def test_without_the_setting_nothing_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(file_name(Failpoint.CHUNK_CLAIMED)).write_text("kill")
    allow_failpoints(load_settings({}, dotenv=None))
    reached(Failpoint.CHUNK_CLAIMED)


def test_the_reference_lists_every_failpoint() -> None:
    page = REFERENCE.read_text(encoding="utf-8").partition("## Failpoints")[2].partition("##")[0]
    listed = re.findall(r"^\| `(\w+)", page, re.MULTILINE)
    assert sorted(listed) == sorted(Failpoint)
