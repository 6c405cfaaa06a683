"""Memory given back to the system, so that one large photo does not stay with a worker for good."""

import contextlib
import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
"""Parameters of glibc's `mallopt`."""
LARGE_BYTES = 8_000_000
"""Blocks from here on are mapped one by one and go back when they are freed.

glibc raises its own threshold with each block that is freed, up to 32 MB, and keeps what lies below
it: the pixels of a photo, in blocks of 16 MB.
"""


KEPT_BYTES = 32_000_000
"""What is kept of freed memory for the next photo: with a first threshold set, glibc would give
back all but 128 KB after each photo, and have it back page by page, twice the cost of a fetch."""


def return_large_blocks() -> None:
    """To be called once in a process, before it reads photos. Without glibc it does nothing."""
    with contextlib.suppress(OSError, AttributeError):
        glibc = ctypes.CDLL(None)
        glibc.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
        glibc.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        glibc.mallopt(_M_TOP_PAD, KEPT_BYTES // 4)
        # Threads that fetch and decode come and go; each would keep a heap of its own.
        glibc.mallopt(_M_ARENA_MAX, 1)


def return_free_memory() -> None:
    """Gives back what is free now. Without glibc it does nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
