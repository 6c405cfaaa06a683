"""Whether the parts answer that a request needs, and soon enough to be of use."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

import redis

from db.errors import UnavailableError

CONNECTED = "connected"
DISCONNECTED = "disconnected"
LIMIT_S = 3.0
"""A part that takes longer serves no request either. Who asks has little patience, too."""


class Health:
    """Asks all parts at once.

    A part that hangs keeps one thread, however often it is asked for: whoever asks next waits for
    the same answer, up to the limit.
    """

    def __init__(self, checks: Mapping[str, Callable[[], object]]) -> None:
        self._checks = checks
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[str]] = {}

    def parts(self) -> dict[str, str]:
        """`connected` or `disconnected` for each part, in `LIMIT_S` at the most."""
        give_up_at = time.monotonic() + LIMIT_S
        asked = {name: self._ask(name, check) for name, check in self._checks.items()}
        return {name: _state(one, give_up_at) for name, one in asked.items()}

    def _ask(self, name: str, check: Callable[[], object]) -> "Future[str]":
        with self._lock:
            under_way = self._under_way.get(name)
            if under_way is None or under_way.done():
                under_way = self._under_way[name] = Future()
                # A daemon: a process must be able to end while a part hangs.
                threading.Thread(target=_check, args=(check, under_way), daemon=True).start()
            return under_way


def _check(check: Callable[[], object], answer: "Future[str]") -> None:
    try:
        check()
    except (UnavailableError, redis.RedisError, OSError):
        answer.set_result(DISCONNECTED)
    except BaseException as exc:  # noqa: BLE001 - whoever asked raises it.
        answer.set_exception(exc)
    else:
        answer.set_result(CONNECTED)


def _state(answer: "Future[str]", give_up_at: float) -> str:
    try:
        return answer.result(timeout=max(0.0, give_up_at - time.monotonic()))
    except FutureTimeoutError:
        return DISCONNECTED
