"""Trying again while a store is away."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from db.errors import UnavailableError

T = TypeVar("T")
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


def retrying(
    call: Callable[[], T], *, for_s: float, give_up: Callable[[], bool] = lambda: False
) -> T:
    """The result of `call`, which is tried again while it raises `UnavailableError`.

    Pauses double up to two seconds, with jitter; the error is raised once `for_s` have passed, or
    `give_up` says so.
    """
    give_up_at = time.monotonic() + for_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return call()
        except UnavailableError:
            if give_up() or time.monotonic() + pause_s > give_up_at:
                raise
        time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter is no secret.
        pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
