"""The worker's app with a decoder that obeys photos: what they order stands at their end."""

import ctypes
import os
import signal
import time
from typing import Any

from worker_kit import SLOW_S

from pipeline.engine import Engine
from workers.app import app

__all__ = ["app"]

FOR_EVER_S = 3600
ORDERS = {
    b"!slow": lambda: time.sleep(SLOW_S),
    # Python's lock is held meanwhile: no thread of the process does anything.
    b"!stuck": lambda: ctypes.PyDLL(None).sleep(FOR_EVER_S),
    b"!abort": os.abort,
    b"!segfault": lambda: ctypes.string_at(0),
    # What the kernel does to a process that takes all memory.
    b"!killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    b"!stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}
_open = Engine.open


def _obey(self: Engine, data: bytes, **more: Any) -> Any:
    for order, do in ORDERS.items():
        if data.endswith(order):
            do()
    return _open(self, data, **more)


Engine.open = _obey
