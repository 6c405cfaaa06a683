"""Locks on files of a home. The kernel takes them back when their process dies, however it dies."""

import fcntl
import os
import time
from pathlib import Path
from typing import Self

LOOK_EVERY_S = 0.05


class FileLock:
    """A lock that many may share, or one may have alone. Closing it gives it up."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def exclusive(self, *, for_s: float = 0.0) -> bool:
        """Whether it could be had alone within `for_s`. A lock that was shared may be lost."""
        return self._take(fcntl.LOCK_EX, for_s)

    def shared(self, *, for_s: float = 0.0) -> bool:
        """Whether it could be shared within `for_s`."""
        return self._take(fcntl.LOCK_SH, for_s)

    def _take(self, kind: int, for_s: float) -> bool:
        give_up_at = time.monotonic() + for_s
        while True:
            try:
                fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= give_up_at:
                    return False
                time.sleep(LOOK_EVERY_S)
            else:
                return True
