"""Hands photos to processes, one a core, and loses none when a process dies."""

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, Pipe, wait
from typing import Self

import numpy as np

from cli.embedding.messages import Done, Orders, Ready, Task
from cli.embedding.rows import row_type
from cli.threads import ONE_THREAD
from pipeline.errors import FaceBatchError
from pipeline.specs import engine_spec

TASK_PHOTOS = 16
"""Photos of a task at the most. Their faces are embedded together; 8 at once are enough for that to
be fast."""
TASKS_AHEAD = 2
"""Tasks that a process has at once, so that it need not wait for the next."""
MAX_FAILED_STARTS = 3
STOP_LIMIT_S = 5.0
WORKER_LOST = "worker_lost"
"""The code of a photo that took two processes down."""


class EngineNotStartedError(FaceBatchError):
    """The processes that compute end before they begin."""

    code = "engine_not_started"


@dataclass(slots=True, kw_only=True, eq=False)
class _Process:
    """A process, and the tasks that it has; the first of them runs."""

    popen: subprocess.Popen[bytes]
    connection: Connection
    ready: bool = False
    tasks: deque[Task] = field(default_factory=deque)

    @classmethod
    def started(cls, orders: Orders) -> Self:
        ours, theirs = Pipe()
        # Ctrl-C goes to every process of a terminal; ours are told to end by their parent alone.
        # Held back while the process starts, it never reaches it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            popen = subprocess.Popen(
                # -P: no module may come from the folder that the command happens to run in.
                [sys.executable, "-P", "-m", "cli.embedding.worker", str(theirs.fileno())],
                env=os.environ | ONE_THREAD,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        process = cls(popen=popen, connection=ours)
        process.send(orders)
        return process

    def send(self, message: Orders | Task) -> None:
        with contextlib.suppress(OSError):  # It is gone; the end of what it says will tell.
            self.connection.send(message)

    def give(self, task: Task) -> None:
        self.tasks.append(task)
        self.send(task)


class Pool:
    """Runs `photos` through processes; a context that ends them."""

    def __init__(self, orders: Orders, photos: Sequence[str], processes: int) -> None:
        self._orders = orders
        self._waiting = deque(_tasks(photos, processes))
        self._wanted = min(processes, len(photos))
        self._processes: dict[Connection, _Process] = {}
        self._failed_starts = 0
        self._unfinished = len(photos)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        processes = [*self._processes.values()]
        for process in processes:
            process.connection.close()
            process.popen.terminate()
        for process in processes:
            try:
                process.popen.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()

    def start(self) -> None:
        """Starts the processes that are missing. They load the engine meanwhile."""
        while self._waiting and len(self._processes) < self._wanted:
            process = _Process.started(self._orders)
            self._processes[process.connection] = process

    def results(self) -> Iterator[Done]:
        """How every photo ended, in the order in which that happens.

        Raises what loading the engine raises, and `EngineNotStartedError`.
        """
        while self._unfinished:
            self.start()
            heard = wait([*self._processes])
            for process in [one for it, one in self._processes.items() if it in heard]:
                for done in self._heard(process):
                    self._unfinished -= done.photo_count
                    yield done

    def _heard(self, process: _Process) -> Iterator[Done]:
        try:
            message = process.connection.recv()
        except (EOFError, OSError):
            yield from self._lost(process)
            return
        if isinstance(message, FaceBatchError):
            raise message
        if isinstance(message, Ready):
            process.ready, self._failed_starts = True, 0
        else:
            process.tasks.popleft()
        # The next task first: whoever takes the result may take a while with it.
        self._hand_out()
        if isinstance(message, Done):
            yield message

    def _hand_out(self) -> None:
        for _ in range(TASKS_AHEAD):
            for process in self._processes.values():
                if self._waiting and process.ready and len(process.tasks) < TASKS_AHEAD:
                    process.give(self._waiting.popleft())

    def _lost(self, process: _Process) -> Iterator[Done]:
        """Its photos run again, each alone; one that takes a second process down is given up."""
        del self._processes[process.connection]
        process.connection.close()
        process.popen.wait()
        if not process.ready:
            self._failed_starts += 1
            if self._failed_starts == MAX_FAILED_STARTS:
                raise EngineNotStartedError(
                    f"the engine {self._orders.engine} does not start; if a reason was given, it "
                    "stands above"
                )
        if not process.tasks:
            return
        running, *others = process.tasks
        self._waiting.extendleft(reversed(others))
        if running.again:
            yield self._given_up(running)
        else:
            self._waiting.extendleft(reversed([*_alone(running)]))
        self._hand_out()

    def _given_up(self, task: Task) -> Done:
        rows = np.zeros(0, dtype=row_type(engine_spec(self._orders.engine).dimension))
        return Done(first=task.first, photo_count=1, rows=rows, failed=[(task.first, WORKER_LOST)])


def in_order(results: Iterator[Done]) -> Iterator[Done]:
    """The results in the order of their photos. What came too early waits."""
    early: dict[int, Done] = {}
    following = 0
    for done in results:
        early[done.first] = done
        while following in early:
            ready = early.pop(following)
            yield ready
            following += ready.photo_count


def _tasks(photos: Sequence[str], processes: int) -> Iterator[Task]:
    """Tasks that become smaller, so that all processes end at about the same time."""
    first = 0
    while left := len(photos) - first:
        count = max(1, min(TASK_PHOTOS, left // (2 * TASKS_AHEAD * processes)))
        yield Task(first=first, photos=tuple(photos[first : first + count]))
        first += count


def _alone(task: Task) -> Iterator[Task]:
    for number, photo in enumerate(task.photos, task.first):
        yield replace(task, first=number, photos=(photo,), again=True)
