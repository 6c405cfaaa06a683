"""Work done ahead by threads, so that who computes need not wait for what is fetched."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Value = TypeVar("Value")
Made = TypeVar("Made")


def ahead(
    make: Callable[[Value], Made], values: Iterable[Value], *, depth: int
) -> Generator[tuple[Value, Future[Made]]]:
    """Each value with what `make` makes of it, in order; `depth` values ahead are in the making.

    The future is done or nearly so; its `result()` raises what `make` raised. Whoever stops early
    closes the iterator, which waits for what has been begun and begins nothing more.
    """
    waiting: deque[tuple[Value, Future[Made]]] = deque()
    pool = ThreadPoolExecutor(max_workers=depth, thread_name_prefix="ahead")
    try:
        for value in values:
            waiting.append((value, pool.submit(make, value)))
            if len(waiting) > depth:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        pool.shutdown(cancel_futures=True)
