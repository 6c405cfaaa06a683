"""The fault that a fence is for: a worker that has lost what it holds, and does not know it.

One worker halts with its outcomes in hand. Another, which has claimed the same items since, halts
before it has any. Then the first goes on: whatever ends now, it has ended under a lost claim.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import psutil
import psycopg2

from bench.soak import tables
from bench.soak.hand import Effect, Hand, NothingThereError
from bench.soak.stack import LOOK_EVERY_S
from db.failpoints import Failpoint

HALT_LIMIT_S = 5.0
"""A worker that works comes to each failpoint sooner."""
RECORD_S = 1.0
"""A worker that goes on has recorded its outcomes by then, if it may."""


def worker_overtaken(hand: Hand) -> Effect:
    """Raises `NothingThereError` where the workers do not meet over the same items."""
    with _halted_at(hand, Failpoint.CHUNK_COMPUTED) as first:
        held = hand.claims()
        with _taken_over(hand, held, first) as taken:
            _go_on(first)
            time.sleep(RECORD_S)
            usurped = _usurped(hand, taken)
    hand.overtaken += len(taken)
    hand.usurped += usurped
    return Effect(said=f"process {first}; {len(taken)} of its items were in other hands")


@contextlib.contextmanager
def _halted_at(hand: Hand, point: Failpoint, *, but: int = 0) -> Iterator[int]:
    """The worker process that halts at `point`; it goes on at the end."""
    others = {but, *_halted(hand)}
    order = hand.stack.arm(point, halts=True)
    hand.pace.want_work()
    give_up_at = time.monotonic() + HALT_LIMIT_S
    while order.exists() or not (fresh := _halted(hand) - others):
        if time.monotonic() > give_up_at:
            order.unlink(missing_ok=True)
            raise NothingThereError(f"no worker came to {point}")
        time.sleep(LOOK_EVERY_S)
    try:
        yield min(fresh)
    finally:
        for pid in fresh:
            _go_on(pid)


@contextlib.contextmanager
def _taken_over(hand: Hand, held: dict[int, int], first: int) -> Iterator[dict[int, int]]:
    """Items of `held` with the new fences under which another process has them, and halts."""
    give_up_at = time.monotonic() + 3 * hand.beyond_lease_s
    while time.monotonic() < give_up_at:
        with _halted_at(hand, Failpoint.CHUNK_CLAIMED, but=first):
            now = hand.claims()
            taken = {one: now[one] for one in held.keys() & now if now[one] > held[one]}
            if taken:
                yield taken
                return
    raise NothingThereError("nobody took over what a halted worker held")


def _usurped(hand: Hand, taken: dict[int, int]) -> list[str]:
    """Items that have ended although the one worker that holds them is halted."""
    with contextlib.suppress(psycopg2.Error):
        now = tables.states_of(hand.stack.database_url, [*taken])
        return [
            f"item {item_id} is {state} while the worker that has claimed it is halted"
            for item_id, (state, fence) in now.items()
            if state in tables.FINAL and fence == taken[item_id]
        ]
    return []


def _halted(hand: Hand) -> set[int]:
    halted = set()
    for pid in hand.stack.children("worker"):
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() == psutil.STATUS_STOPPED:
                halted.add(pid)
    return halted


def _go_on(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
