"""Memory given back to the system, so that one large photo does not stay with a worker for good."""

import contextlib
import ctypes

_M_MMAP_THRESHOLD = -3
"""A parameter of glibc's `mallopt`."""
LARGE_BYTES = 8_000_000
"""Blocks from here on are mapped one by one and go back when they are freed.

glibc raises its own threshold with each block that is freed, up to 32 MB, and keeps what lies below
it: the pixels of a photo, in blocks of 16 MB.
"""


def return_large_blocks() -> None:
    """To be called once in a process, before it reads photos. Without glibc it does nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def return_free_memory() -> None:
    """Gives back what is free now. Without glibc it does nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
