"""A run may clear up after earlier ones, and never under one that is still at work."""

import multiprocessing
import signal
from collections.abc import Callable
from pathlib import Path

from cli.sharing import in_use


def alone(folder: Path, inside: Callable[[], None] = lambda: None) -> bool:
    calls: list[int] = []
    with in_use(folder, lambda: calls.append(1)):
        inside()
    return bool(calls)


def test_one_run_after_the_other_is_alone(tmp_path: Path) -> None:
    assert alone(tmp_path)
    assert alone(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_is_not_alone_and_does_not_wait(tmp_path: Path) -> None:
    found: list[bool] = []
    assert alone(tmp_path, lambda: found.append(alone(tmp_path, lambda: None)))
    assert found == [False]


def test_runs_on_other_folders_do_not_count(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    found: list[bool] = []
    alone(tmp_path / "a", lambda: found.append(alone(tmp_path / "b")))
    assert found == [True]


def test_a_run_that_was_killed_is_forgotten(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    begun = context.Event()

    def hold() -> None:
        with in_use(tmp_path, lambda: None):
            begun.set()
            signal.pause()

    process = context.Process(target=hold)
    process.start()
    assert begun.wait(30)
    assert not alone(tmp_path)
    process.kill()
    process.join()
    assert alone(tmp_path)
