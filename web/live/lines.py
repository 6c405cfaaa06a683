"""All live streams of this process: how many there may be, and their end with the process's."""

import contextlib
import threading
from collections.abc import Iterator

from web.errors import TooBusyError
from web.live.closing import ServerClosingError
from web.live.line import Line

_lock = threading.Lock()
_open: set[Line] = set()
_admitted = 0


@contextlib.contextmanager
def admitted(most: int) -> Iterator[None]:
    """A stream lives in here; raises `TooBusyError` where there are as many as there may be."""
    global _admitted  # noqa: PLW0603 - one count for the process.
    with _lock:
        if _admitted >= most:
            raise TooBusyError("there are as many live streams as this server takes; try later")
        _admitted += 1
    try:
        yield
    finally:
        with _lock:
            _admitted -= 1


@contextlib.contextmanager
def listed(line: Line) -> Iterator[None]:
    """The line ends with the process while it is in here."""
    with _lock:
        _open.add(line)
    try:
        yield
    finally:
        with _lock:
            _open.discard(line)


def hang_up() -> None:
    """Ends all lines, because the process does."""
    with _lock:
        for line in _open:
            line.end(ServerClosingError("the server stops; open another stream in a moment"))
