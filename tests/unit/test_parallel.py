"""Work of several threads comes in order, is bounded, and stops where something fails."""

import itertools
import threading
from collections.abc import Iterator

import pytest

from cli.parallel import AHEAD, in_order

THREADS = 3


def test_results_come_in_the_order_of_the_tasks_and_all_threads_work() -> None:
    together = threading.Barrier(THREADS, timeout=10)

    def work(task: int) -> int:
        if task < THREADS:
            together.wait()
        return -task

    assert list(in_order(work, range(50), threads=THREADS)) == [-n for n in range(50)]


def test_no_more_tasks_are_taken_than_are_soon_needed() -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for n in itertools.count():
            taken.append(n)
            yield n

    results = in_order(lambda n: n, tasks(), threads=THREADS)
    assert [next(results) for _ in range(20)] == list(range(20))
    results.close()
    assert len(taken) <= 20 + THREADS * AHEAD


def test_what_the_work_raises_is_raised_and_nothing_further_is_begun() -> None:
    begun: list[int] = []

    def work(task: int) -> int:
        begun.append(task)
        if task == 5:
            raise ValueError("five")
        return task

    results = in_order(work, itertools.count(), threads=1)
    with pytest.raises(ValueError, match="five"):
        list(results)
    assert max(begun) <= 5 + AHEAD


def test_what_waits_is_not_begun_once_nobody_reads_on() -> None:
    begun: list[int] = []
    threads: set[threading.Thread] = set()
    let_go = threading.Event()

    def work(task: int) -> int:
        begun.append(task)
        threads.add(threading.current_thread())
        if task:
            let_go.wait(10)
        return task

    results = in_order(work, itertools.count(), threads=THREADS)
    assert next(results) == 0
    results.close()
    let_go.set()
    for thread in list(threads):
        thread.join(10)
        assert not thread.is_alive()
    assert max(begun) <= THREADS


def test_no_tasks_are_no_results() -> None:
    assert list(in_order(lambda n: n, [], threads=THREADS)) == []
