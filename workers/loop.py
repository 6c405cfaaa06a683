"""What dispatcher and reconciler have in common: a loop that ends at a signal."""

import signal
import threading
from types import FrameType


class StopSignal:
    """Set by SIGINT or SIGTERM; waiting on it ends early when it is set."""

    def __init__(self) -> None:
        self._event = threading.Event()
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)

    def __bool__(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float) -> None:
        """Sleeps, at most until the signal comes."""
        self._event.wait(timeout_s)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._event.set()
