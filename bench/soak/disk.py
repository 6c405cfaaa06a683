"""A small disk of the soak's own, which can be filled without harm to anybody else's.

It is a tmpfs that only this process and those that it starts can see: the kernel takes it away
with the last of them.
"""

import contextlib
import ctypes
import errno
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000
MS_REC = 0x4000
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
BALLAST = "ballast"
FILL_BYTES = 1 << 16
_libc = ctypes.CDLL(None, use_errno=True)


class SmallDisk:
    """A folder with little room, filled by a file of nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ballast = folder / BALLAST

    def fill(self) -> int:
        """Takes all room that is left, and returns how many bytes that was."""
        status = os.statvfs(self._ballast.parent)
        with self._ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, status.f_bavail * status.f_frsize))
        # What others freed meanwhile goes too.
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(FILL_BYTES))
        return self._ballast.stat().st_size

    def free(self) -> None:
        """Gives it back."""
        self._ballast.unlink(missing_ok=True)

    def remove(self) -> None:
        """Takes the disk away with all that is on it, so that its folder can be deleted."""
        _libc.umount2(os.fsencode(self._folder), MNT_DETACH)


def small_disk(folder: Path, size_bytes: int) -> SmallDisk | str:
    """A disk of this size at `folder`, or why there can be none here.

    Call it before threads are started: it moves this process into a mount namespace of its own.
    """
    try:
        _checked(_libc.unshare(CLONE_NEWNS))
        # Else the mount would show in the namespace that we came from.
        _checked(_libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None))
        options = f"size={size_bytes},mode=711".encode()
        _checked(_libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(0), options))
    except OSError as exc:
        if exc.errno == errno.EPERM:
            return "mounting a small disk takes root's rights"
        return f"no small disk can be mounted: {exc.strerror}"
    return SmallDisk(folder)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
