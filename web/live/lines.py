"""All live streams of this process: how many there may be, and their end with the process's."""

import contextlib
import threading
from collections.abc import Iterator

from web.errors import TooBusyError
from web.live.closing import ServerClosingError
from web.live.line import Line

_lock = threading.Lock()
_open: set[Line] = set()
_admitted: list[int] = []
"""The tenant of each stream."""


@contextlib.contextmanager
def admitted(most: int, *, tenant_id: int) -> Iterator[None]:
    """A stream lives in here; raises `TooBusyError` where there are as many as there may be.

    A tenant has at most half of them: who leaves cameras on keeps nobody else out.
    """
    with _lock:
        if len(_admitted) >= most:
            raise TooBusyError("there are as many live streams as this server takes; try later")
        if _admitted.count(tenant_id) >= max(1, most // 2):
            raise TooBusyError("you have as many live streams as one tenant may; end one of them")
        _admitted.append(tenant_id)
    try:
        yield
    finally:
        with _lock:
            _admitted.remove(tenant_id)


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
