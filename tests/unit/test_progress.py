"""Progress: lines now and then where nobody watches, a bar on a terminal."""

import io
import os
import pty
import re
import select
from collections.abc import Iterator

import pytest

import cli.progress
from cli.progress import BarSteps, LineSteps, Step, steps_for


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(cli.progress, "time", clock)
    return clock


def test_lines_come_at_the_beginning_every_few_seconds_and_at_the_end(clock: Clock) -> None:
    stream = io.StringIO()
    with Step(LineSteps(stream), "matching photos", 90) as step:
        for done in range(10, 91, 10):
            clock.now += 1
            step.at(done)
    assert stream.getvalue().splitlines() == [
        "matching photos: 90",
        "matching photos: 50 of 90, 10.0/s, 4 s left",
        "matching photos: 90 done in 9.0 s, 10.0/s",
    ]


def test_a_step_that_does_not_move_still_says_so(clock: Clock) -> None:
    stream = io.StringIO()
    with Step(LineSteps(stream), "matching photos", 3) as step:
        clock.now += 6
        step.at(0)
    assert stream.getvalue().splitlines()[1] == "matching photos: 0 of 3, 0.0/s"


def test_a_step_of_nothing_and_no_time_divides_by_nothing(clock: Clock) -> None:
    stream = io.StringIO()
    with Step(LineSteps(stream), "matching photos", 0):
        pass
    assert stream.getvalue().splitlines()[-1] == "matching photos: 0 done in 0.0 s, 0.0/s"


def test_a_second_step_starts_from_nothing(clock: Clock) -> None:
    stream = io.StringIO()
    steps = LineSteps(stream)
    with Step(steps, "first", 5) as step:
        step.at(5)
    clock.now += 100
    with Step(steps, "second", 5):
        clock.now += 1
    assert stream.getvalue().splitlines()[-1] == "second: 0 done in 1.0 s, 0.0/s"


def test_a_step_ends_when_an_error_leaves_it() -> None:
    stream = io.StringIO()
    with pytest.raises(ZeroDivisionError), Step(LineSteps(stream), "matching", 5):
        raise ZeroDivisionError
    assert "done in" in stream.getvalue()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[io.TextIOWrapper, int]]:
    """A stream to a terminal, and the end at which its screen can be read."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    screen, inner = pty.openpty()
    with os.fdopen(inner, "w") as stream:
        yield stream, screen
    os.close(screen)


def read_all(screen: int) -> str:
    """What stands on the screen: a terminal hands it over piece by piece."""
    pieces = []
    while select.select([screen], [], [], 0.5)[0]:
        pieces.append(os.read(screen, 100_000))
    return b"".join(pieces).decode()


def test_a_terminal_gets_a_bar_with_count_and_rate(
    terminal: tuple[io.TextIOWrapper, int],
) -> None:
    stream, screen = terminal
    steps = steps_for(stream)
    assert isinstance(steps, BarSteps)
    for title in ("enrolling photos", "matching photos"):
        with Step(steps, title, 7) as step:
            step.at(7)
    stream.flush()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", read_all(screen))
    lines = [line.split("\r")[-1] for line in shown.split("\r\n")]
    assert [line.split()[0] for line in lines if line] == ["enrolling", "matching"]
    for line in filter(None, lines):
        assert re.search(r"7/7 [0-9.]+/s 0:00:00$", line)


def test_a_dumb_terminal_and_a_file_get_lines(
    terminal: tuple[io.TextIOWrapper, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(steps_for(io.StringIO()), LineSteps)
    assert isinstance(steps_for(terminal[0]), LineSteps)
