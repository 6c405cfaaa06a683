"""What is remembered of a submission is that of this target, this server and these options."""

import stat
from pathlib import Path

import pytest

from cli.stack.home import Home, open_home
from cli.submitting.memory import Remembered, SubmissionBusyError, memory_of

WANTED = {"kind": "detect"}
JOB = Remembered(job_id="1", content=None)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(tmp_path / "home")


def test_a_submission_is_recalled_by_target_server_and_options(home: Home) -> None:
    with memory_of(home, "/photos", None) as memory:
        assert memory.recall(WANTED) is None
        memory.keep(WANTED, JOB)
        memory.keep(WANTED | {"top_k": 1}, Remembered(job_id="2", content="whole"))
    with memory_of(home, "/photos", None) as memory:
        assert memory.recall(WANTED) == JOB
        assert memory.recall({"top_k": 1} | WANTED) == Remembered(job_id="2", content="whole")
        assert memory.recall({"kind": "enrol"}) is None
    with memory_of(home, "/photos", "http://127.0.0.1:1") as memory:
        assert memory.recall(WANTED) is None
    with memory_of(home, "/others", None) as memory:
        assert memory.recall(WANTED) is None


def test_a_damaged_note_is_none(home: Home) -> None:
    with memory_of(home, "/photos", None) as memory:
        memory.keep(WANTED, JOB)
        (file,) = memory.folder.glob("*.json")
        file.write_text('{"job_id": "1"')
        assert memory.recall(WANTED) is None


def test_two_processes_do_not_submit_the_same_at_once(home: Home) -> None:
    with (
        memory_of(home, "/photos", None),
        memory_of(home, "/others", None),
        pytest.raises(SubmissionBusyError, match="/photos is being submitted"),
        memory_of(home, "/photos", None),
    ):
        raise AssertionError("two at once")


def test_nobody_else_can_read_it(home: Home) -> None:
    with memory_of(home, "/photos", None) as memory:
        memory.keep(WANTED, JOB)
    for path in (home.submissions, memory.folder, *memory.folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
