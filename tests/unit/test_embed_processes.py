"""The processes of `facebatch embed` may die; no photo is lost by it, and none of them is left."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from embed_kit import COLOUR_ENGINE, COLOUR_SPEC, Tree, paint

PATIENCE_S = 60
pytestmark = pytest.mark.usefixtures("heeding_signals")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    tree = Tree.copied(tmp_path_factory.mktemp("tree"))
    tree.add_engine("colour", {"spec.py": COLOUR_SPEC, "engine.py": COLOUR_ENGINE})
    return tree


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for n in range(40):
        paint(tmp_path / "photos" / f"{n:02}.png", red=n)
    return tmp_path / "photos"


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(session: int) -> list[psutil.Process]:
    """The processes of a session, without those that nobody has waited for."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


class Run:
    """A run of two processes that has come to a photo which takes its time."""

    def __init__(self, tree: Tree, photos: Path) -> None:
        self.out = photos.parent / "out.npz"
        self.mark = photos.parent / "mark"
        paint(photos / "20.png", width=17, red=20)
        self.popen = subprocess.Popen(
            tree.command("embed", photos, "--engine", "colour", "--out", self.out, "--workers", 2),
            env=tree.environ(photos.parent / "home", COLOUR_MARK=str(self.mark)),
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        until(self.mark.exists)

    def ended(self) -> tuple[int, str]:
        _, told = self.popen.communicate(timeout=PATIENCE_S)
        return self.popen.returncode, told


@pytest.fixture
def run(tree: Tree, photos: Path) -> Iterator[Run]:
    run = Run(tree, photos)
    yield run
    for process in alive(run.popen.pid):
        process.kill()
    run.popen.wait()


def test_a_killed_process_costs_no_photo(run: Run) -> None:
    os.kill(int(run.mark.read_text()), signal.SIGKILL)
    status, told = run.ended()
    assert status == 0, told
    with np.load(run.out) as arrays:
        assert [round(red * 255) for red in arrays["embedding"][:, 0].tolist()] == [*range(40)]
        assert arrays["photo"].tolist() == [f"{n:02}.png" for n in range(40)]
        assert arrays["failed_photo"].shape == (0,)
    assert alive(run.popen.pid) == []


@pytest.mark.parametrize("processes", ["1", "3"])
def test_a_photo_that_kills_twice_is_given_up_and_its_neighbours_are_not(
    tree: Tree, photos: Path, processes: str
) -> None:
    for name in ("05", "06", "39"):
        paint(photos / f"{name}.png", width=13)
    out = photos.parent / "out.npz"
    arguments = ("embed", photos, "--engine", "colour", "--out", out, "--workers", processes)
    done = tree.run(*arguments, home=photos.parent / "home")
    assert done.returncode == 0, done.stderr
    with np.load(out) as arrays:
        assert arrays["failed_photo"].tolist() == ["05.png", "06.png", "39.png"]
        assert arrays["failed_code"].tolist() == ["worker_lost"] * 3
        expected = [n for n in range(40) if n not in {5, 6, 39}]
        assert arrays["photo"].tolist() == [f"{n:02}.png" for n in expected]
        assert [round(red * 255) for red in arrays["embedding"][:, 0].tolist()] == expected


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupt_leaves_no_file_and_no_process(
    run: Run, number: signal.Signals, status: int
) -> None:
    # As a terminal does at Ctrl-C: to everybody.
    os.killpg(run.popen.pid, number)
    ended, told = run.ended()
    assert ended == status
    assert "Traceback" not in told
    assert {path.name for path in run.out.parent.iterdir()} == {"mark", "photos"}
    assert alive(run.popen.pid) == []


def test_an_interrupt_of_the_command_alone_ends_its_processes(run: Run) -> None:
    run.out.write_text("before")
    run.popen.send_signal(signal.SIGINT)
    assert run.ended()[0] == 130
    assert run.out.read_text() == "before"
    assert alive(run.popen.pid) == []


def test_a_process_leaves_ctrl_c_to_its_command(run: Run) -> None:
    os.kill(int(run.mark.read_text()), signal.SIGINT)
    status, told = run.ended()
    assert status == 0
    assert "KeyboardInterrupt" not in told


def test_processes_end_with_a_command_that_was_killed(run: Run) -> None:
    run.popen.kill()
    until(lambda: alive(run.popen.pid) == [])
    assert not run.out.exists()


def test_an_engine_that_does_not_start_is_an_error_and_not_a_loop(tree: Tree, photos: Path) -> None:
    out = photos.parent / "out.npz"
    arguments = ("embed", photos, "--engine", "colour", "--out", out)
    done = tree.run(*arguments, home=photos.parent / "home", COLOUR_BREAKS="1")
    assert done.returncode == 1
    assert "facebatch: the engine colour does not start" in done.stderr
    assert done.stderr.count("cannot start") <= 5
    assert {path.name for path in photos.parent.iterdir()} == {"photos"}


def test_an_error_of_loading_is_told_as_it_is(tree: Tree, photos: Path) -> None:
    (photos.parent / "home").write_text("a file, where the folder of models should be")
    out = photos.parent / "out.npz"
    done = tree.run("embed", photos, "--engine", "dlib", "--out", out, home=photos.parent / "home")
    assert done.returncode == 1
    assert "facebatch: the folder of converted models" in done.stderr
    assert "Traceback" not in done.stderr
