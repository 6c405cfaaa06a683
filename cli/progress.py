"""Progress of a long step: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

PLAIN_EVERY_S = 5.0


class Steps(Protocol):
    """Shows steps one after the other."""

    def begin(self, title: str, total: int) -> None:
        """A new step of `total` units."""

    def at(self, done: int, total: int | None = None) -> None:
        """So many units of the step are done, which has `total` by now where that has grown."""

    def end(self) -> None:
        """The step is done."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f}/s")


class BarSteps:
    """For a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )
        self._task = self._progress.add_task("", total=None, visible=False)

    def begin(self, title: str, total: int) -> None:
        # What the last step showed stays on the screen; it must not be drawn once more.
        self._progress.remove_task(self._task)
        self._progress.start()
        self._task = self._progress.add_task(title, total=total)

    def at(self, done: int, total: int | None = None) -> None:
        self._progress.update(self._task, completed=done, total=total)

    def end(self) -> None:
        self._progress.stop()


class LineSteps:
    """For everything that is no terminal: lines at the beginning, every few seconds, at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._title = ""
        self._total = 0
        self._done = 0
        self._began_at = 0.0
        self._shown_at = 0.0

    def begin(self, title: str, total: int) -> None:
        self._title, self._total, self._done = title, total, 0
        self._began_at = self._shown_at = time.monotonic()
        self._print(f"{title}: {total}")

    def at(self, done: int, total: int | None = None) -> None:
        self._done = done
        self._total = self._total if total is None else total
        now = time.monotonic()
        if now - self._shown_at < PLAIN_EVERY_S:
            return
        self._shown_at = now
        rate = done / (now - self._began_at)
        left = f", {(self._total - done) / rate:.0f} s left" if rate else ""
        self._print(f"{self._title}: {done} of {self._total}, {rate:.1f}/s{left}")

    def end(self) -> None:
        took_s = time.monotonic() - self._began_at
        rate = self._done / took_s if took_s else 0.0
        self._print(f"{self._title}: {self._done} done in {took_s:.1f} s, {rate:.1f}/s")

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class Step:
    """One step as a context, which ends it whatever happens."""

    def __init__(self, steps: Steps, title: str, total: int) -> None:
        self._steps = steps
        self._title = title
        self._total = total

    def __enter__(self) -> Self:
        self._steps.begin(self._title, self._total)
        return self

    def __exit__(self, *_: object) -> None:
        self._steps.end()

    def at(self, done: int, total: int | None = None) -> None:
        """So many units are done, of `total` where that has grown."""
        self._steps.at(done, total)


def steps_for(stream: TextIO = sys.stderr) -> Steps:
    """The display that fits `stream`."""
    console = Console(file=stream)
    if stream.isatty() and console.is_terminal and not console.is_dumb_terminal:
        return BarSteps(stream)
    return LineSteps(stream)
