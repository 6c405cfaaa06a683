"""What a process does every second, wherever its main thread is, as long as it runs Python."""

import atexit
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType

TICK_S = 1.0


def tick(*on_tick: Callable[[], None]) -> None:
    """Calls each of them every second from now on, between two lines of the main thread.

    They must be short and must not log: a line may just be being written. No thread does it: one
    would go on while the main thread hangs, and must not be there when a process forks. Children
    do not inherit the timer.
    """

    def handle(_signal: int, _frame: FrameType | None) -> None:
        for call in on_tick:
            call()

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)
    # Python lets go of its handlers when it ends, and the signal would kill it.
    atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)


def heartbeat(file: Path | None) -> Callable[[], None]:
    """What touches `file`, for whoever watches this process from outside."""

    def beat() -> None:
        if file is not None:
            # A full disk takes no new file, and the old one's time well.
            with contextlib.suppress(OSError):
                file.touch()

    return beat
