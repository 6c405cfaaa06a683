"""Runs that look for the people of one folder at the same time, and must not disturb each other."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def in_use(folder: Path, when_alone: Callable[[], None]) -> Iterator[None]:
    """Marks the folder as in use; calls `when_alone` at the end where no other run uses it.

    It is not called where the run breaks off. The mark is a lock on the folder itself: it leaves
    no file, and goes with the process however that ends.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, fcntl.LOCK_SH)  # Waits for one that is clearing up, and for no other.
        yield
        if _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
            when_alone()
    finally:
        os.close(handle)


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind)
    except OSError:
        return False  # In use, or on a file system without locks: then nobody is ever alone.
    return True
