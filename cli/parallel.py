"""Work done by several threads at once, a bounded part of it ahead of its reader."""

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
AHEAD = 2
"""Tasks under way or waiting for each thread."""


def in_order(
    work: Callable[[Task], Result], tasks: Iterable[Task], *, threads: int
) -> Iterator[Result]:
    """The results of `work` in the order of the tasks, which are taken as they are needed.

    What `work` raises is raised here, and nothing further is begun. The threads do not keep the
    process from ending: whoever was interrupted need not wait for a server.
    """
    waiting: queue.SimpleQueue[tuple[Task, Future[Result]] | None] = queue.SimpleQueue()
    stopped = threading.Event()

    def run() -> None:
        while (given := waiting.get()) is not None and not stopped.is_set():
            task, future = given
            try:
                future.set_result(work(task))
            except BaseException as exc:  # noqa: BLE001 - it is raised where the result is read.
                future.set_exception(exc)

    for _ in range(threads):
        threading.Thread(target=run, daemon=True).start()
    under_way: deque[Future[Result]] = deque()
    rest = iter(tasks)
    try:
        while True:
            for task in itertools.islice(rest, threads * AHEAD - len(under_way)):
                under_way.append(Future())
                waiting.put((task, under_way[-1]))
            if not under_way:
                return
            yield under_way.popleft().result()
    finally:
        stopped.set()
        for _ in range(threads):
            waiting.put(None)
