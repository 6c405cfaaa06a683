"""How many requests may be slow at once, so that the others always find a thread."""

import contextlib
import threading
from collections.abc import Iterator

from db.settings import MAX_LIVE_STREAMS
from web.errors import TooBusyError

REQUESTS = 64
"""That each process of the web server answers at once."""
THREADS = REQUESTS + MAX_LIVE_STREAMS
"""Of each process of the web server. A live stream holds one for minutes."""
MOST_WAITING = REQUESTS // 2
"""Requests that wait for a job."""
MOST_SENDING = REQUESTS // 2 - 8
"""Requests whose body is still on its way. What is left answers all that takes no time."""
_waiting = threading.BoundedSemaphore(MOST_WAITING)
MOST_STREAMING = 8
"""Exports that are being read."""
_streaming = threading.BoundedSemaphore(MOST_STREAMING)
MOST_SEARCHING = 4
"""Searches in a job, each of which may take a core of the database for seconds."""
_searching = threading.BoundedSemaphore(MOST_SEARCHING)
_sending = threading.BoundedSemaphore(MOST_SENDING)


@contextlib.contextmanager
def patience(wait_s: int) -> Iterator[int]:
    """The seconds that a request may wait: what it wishes, or 0 where too many wait already."""
    if wait_s <= 0 or not _waiting.acquire(blocking=False):
        yield 0
        return
    try:
        yield wait_s
    finally:
        _waiting.release()


@contextlib.contextmanager
def sending() -> Iterator[None]:
    """A body is read in here; raises `TooBusyError` where too many are being read already."""
    if not _sending.acquire(blocking=False):
        raise TooBusyError("too many requests are being sent right now; send this one again")
    try:
        yield
    finally:
        _sending.release()


@contextlib.contextmanager
def streaming() -> Iterator[None]:
    """An export is read in here; raises `TooBusyError` where too many are being read already."""
    if not _streaming.acquire(blocking=False):
        raise TooBusyError("too many exports are being read right now; ask for this one again")
    try:
        yield
    finally:
        _streaming.release()


@contextlib.contextmanager
def searching() -> Iterator[None]:
    """A job is searched in here; raises `TooBusyError` where too many are searched already."""
    if not _searching.acquire(blocking=False):
        raise TooBusyError("too many jobs are being searched right now; search this one again")
    try:
        yield
    finally:
        _searching.release()
