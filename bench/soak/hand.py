"""What faults act with: the stack's processes, the small disk, and a look into the ledger."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import psycopg2

from bench.soak import tables
from bench.soak.disk import SmallDisk
from bench.soak.pace import Pace
from bench.soak.stack import LOOK_EVERY_S, SoakStack
from bench.soak.watch import Watch

Found = TypeVar("Found")
BACK_LIMIT_S = 30.0
"""A part that was killed is given so long to be there for the next fault."""
BUSY_LIMIT_S = 1.0
"""A fault that hits hardest in the middle of work waits so long for some."""


class NothingThereError(RuntimeError):
    """The fault found nothing to strike; the next one comes."""


def nothing() -> None:
    """For faults that need no undoing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a fault did, and what ends it."""

    said: str
    lasts_s: float = 0.0
    undo: Callable[[], None] = nothing


@dataclass(slots=True, kw_only=True)
class Hand:
    """One nemesis's reach."""

    stack: SoakStack
    rng: Random
    watch: Watch
    pace: Pace
    disk: SmallDisk | str
    """Or why there is none."""
    beyond_lease_s: float
    """Whoever is stopped for so long has surely lost what it had claimed."""
    flushed: set[int] = field(default_factory=set)
    """Items that had been sent when the queue lost all that it had."""
    overtaken: int = 0
    """How many items a worker had lost, and went on with."""
    usurped: list[str] = field(default_factory=list)
    """Those of them that ended all the same, under a claim that did not hold."""

    def pid(self, part: str) -> int:
        """The process of a part, as soon as it runs; raises `NothingThereError`."""
        return self._there(lambda: self.stack.pid(part), part)

    def child(self, part: str) -> int:
        """One of the processes that the part has forked; raises `NothingThereError`."""
        children = self._there(lambda: self.stack.children(part), f"child of {part}")
        return self.rng.choice(children)

    def until_busy(self) -> None:
        """Asks for work, and waits a moment for a worker to hold some."""
        self.pace.want_work()
        give_up_at = time.monotonic() + BUSY_LIMIT_S
        with contextlib.suppress(psycopg2.Error):
            while not tables.open_claims(self.stack.database_url):
                if time.monotonic() > give_up_at:
                    return
                time.sleep(LOOK_EVERY_S / 5)

    def claims(self) -> dict[int, int]:
        """What workers hold; nothing where the database is away."""
        with contextlib.suppress(psycopg2.Error):
            return tables.open_claims(self.stack.database_url)
        return {}

    def sent(self) -> set[int]:
        """What has been sent and not been claimed; nothing where the database is away."""
        with contextlib.suppress(psycopg2.Error):
            return tables.open_items(self.stack.database_url)
        return set()

    def _there(self, find: Callable[[], Found | None], what: str) -> Found:
        give_up_at = time.monotonic() + BACK_LIMIT_S
        while not (found := find()):
            if time.monotonic() > give_up_at:
                raise NothingThereError(f"no {what} runs")
            time.sleep(LOOK_EVERY_S)
        return found


def kill(pid: int) -> None:
    """As `kill -9` does."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_group(pid: int) -> None:
    """With all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def halted(pid: int, lasts_s: float, said: str, *, group: bool = False) -> Effect:
    """Stops a process, or its group, until the effect is undone."""
    send = os.killpg if group else os.kill
    with contextlib.suppress(ProcessLookupError):
        send(pid, signal.SIGSTOP)

    def go_on() -> None:
        with contextlib.suppress(ProcessLookupError):
            send(pid, signal.SIGCONT)

    return Effect(said=f"{said} {pid} for {lasts_s:.1f} s", lasts_s=lasts_s, undo=go_on)
