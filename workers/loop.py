"""What dispatcher, reconciler and courier have in common: a loop that ends at a signal."""

import gc
import os
import select
import signal
import sys
from collections.abc import Callable
from types import FrameType

from db.failpoints import allow_failpoints
from db.logs import configure_logs
from db.settings import Settings, SettingsError, load_settings
from workers.ticking import heartbeat, tick


class StopSignal:
    """Set by SIGINT or SIGTERM; waiting on it ends early when it is set.

    A pipe and no `threading.Event`: its lock can be held by the very wait that the signal's handler
    interrupts, and both would wait for ever.
    """

    def __init__(self) -> None:
        self._stopped = False
        self._readable, self._writable = os.pipe()
        signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)

    def __bool__(self) -> bool:
        return self._stopped

    def wait(self, timeout_s: float) -> None:
        """Sleeps, at most until the signal comes."""
        select.select([self._readable], [], [], timeout_s)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._stopped:
            self._stopped = True
            os.write(self._writable, b"\0")


def run_with_settings(run: Callable[[Settings], None]) -> int:
    """Runs with the settings of the environment; 2 with a line on stderr where those are bad."""
    gc.freeze()  # The code stays to the end: nobody need look through it for garbage.
    try:
        settings = load_settings().require_stores()
        configure_logs(settings.log_level)
        allow_failpoints(settings)
        tick(heartbeat(settings.heartbeat_file))
        run(settings)
    except SettingsError as exc:
        sys.stderr.write(f"facebatch: {exc}\n")
        return 2
    return 0
