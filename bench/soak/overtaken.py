"""The fault that a fence is for: a worker that has lost what it holds, and does not know it.

A worker on another machine falls asleep with its outcomes in hand. Ours claim the same items when
their lease has run out, and halt. Then the first wakes up: whatever ends now, it has ended under a
claim that does not hold.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import psycopg2

from bench.soak import tables
from bench.soak.guest import Guest, guest
from bench.soak.hand import Effect, Hand, NothingThereError
from bench.soak.stack import LOOK_EVERY_S
from db.failpoints import Failpoint

BUSY_LIMIT_S = 6.0
"""A worker that is there gets something to do, and has done it, sooner."""
ASK_EVERY_S = 0.5
QUEUE_S = 60.0
"""What waited before the items that are to be taken over has been claimed by then."""
COMMIT_S = 0.3
"""What a worker that is halted had asked of the database is done by then."""
RECORD_S = 1.0
"""A worker that wakes up has recorded its outcomes by then, if it may."""


def worker_overtaken(hand: Hand) -> Effect:
    """Raises `NothingThereError` where the workers do not meet over the same items."""
    with guest(hand) as sleeper:
        held = _asleep_with_outcomes(hand, sleeper)
        with _taken_over(hand, held) as taken:
            sleeper.wake()
            time.sleep(RECORD_S)
            usurped = _usurped(hand, taken)
    hand.overtaken += len(taken)
    hand.usurped += usurped
    return Effect(said=f"{len(taken)} items were in other hands when their worker woke up")


def _asleep_with_outcomes(hand: Hand, sleeper: Guest) -> dict[int, int]:
    """Puts the guest to sleep before it records; returns what is claimed then."""
    order = sleeper.halts_at(Failpoint.CHUNK_COMPUTED)
    # What comes while ours are halted comes to the guest.
    with _ours_halted(hand):
        give_up_at = time.monotonic() + BUSY_LIMIT_S
        while order.exists():
            if time.monotonic() > give_up_at:
                raise NothingThereError("the second worker gets nothing to do")
            if not hand.sent():
                hand.pace.want_work()
            time.sleep(ASK_EVERY_S)
        held = hand.claims()
        sleeper.sleep()
    return held


@contextlib.contextmanager
def _taken_over(hand: Hand, held: dict[int, int]) -> Iterator[dict[int, int]]:
    """Items of `held` with the new fences under which ours have them, and halt."""
    order = hand.stack.arm(Failpoint.CHUNK_CLAIMED, halts=True)
    give_up_at = time.monotonic() + hand.beyond_lease_s + QUEUE_S
    try:
        while time.monotonic() < give_up_at:
            if order.exists():
                time.sleep(LOOK_EVERY_S / 5)
                continue
            with _ours_halted(hand):
                time.sleep(COMMIT_S)
                now = hand.claims()
                taken = {one: now[one] for one in held.keys() & now if now[one] > held[one]}
                if taken:
                    yield taken
                    return
                # Before they go on: what they claim next may be it.
                order = hand.stack.arm(Failpoint.CHUNK_CLAIMED, halts=True)
    finally:
        order.unlink(missing_ok=True)
    raise NothingThereError("nobody took over what a sleeping worker held")


@contextlib.contextmanager
def _ours_halted(hand: Hand) -> Iterator[None]:
    """All of the stack's own workers stand still, those at a failpoint too, and then go on."""
    pid = hand.pid("worker")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGCONT)


def _usurped(hand: Hand, taken: dict[int, int]) -> list[str]:
    """Items that have ended although all who may hold them are halted."""
    with contextlib.suppress(psycopg2.Error):
        now = tables.states_of(hand.stack.database_url, [*taken])
        return [
            f"item {item_id} is {state} while the worker that has claimed it is halted"
            for item_id, (state, fence) in now.items()
            if state in tables.FINAL and fence == taken[item_id]
        ]
    return []
