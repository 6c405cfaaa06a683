"""Watches over items whose worker was killed, until each is in other hands or has ended."""

import contextlib
import threading
import time
from dataclasses import dataclass

import psycopg2

from bench.soak import tables
from bench.soak.stack import SoakError, SoakStack

LOOK_EVERY_S = 0.25


@dataclass(slots=True, kw_only=True)
class _Watched:
    since_s: float
    fault: str
    fences: dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """How long an item lay there after its worker was killed."""

    fault: str
    began_s: float
    waited_s: float
    items: int


class Watch:
    """A thread that looks into the ledger a few times a second."""

    def __init__(self, stack: SoakStack) -> None:
        self._stack = stack
        self._open: list[_Watched] = []
        self._reruns: list[Rerun] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> list[Rerun]:
        """How long each killed worker's items waited; those that still do, until now."""
        self._over.set()
        self._thread.join()
        self._look()
        with self._lock:
            for one in self._open:
                self._end(one, len(one.fences))
            return self._reruns

    def over(self, fault: str, fences: dict[int, int]) -> None:
        """Workers held these items, under these fences, and one of them was killed."""
        if fences:
            with self._lock:
                self._open.append(
                    _Watched(since_s=time.monotonic(), fault=fault, fences=dict(fences))
                )

    def _work(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self._look()

    def _look(self) -> None:
        with self._lock:
            watched = [*self._open]
        ids = sorted({item_id for one in watched for item_id in one.fences})
        if not ids:
            return
        with contextlib.suppress(psycopg2.Error, SoakError):
            now = tables.states_of(self._stack.database_url, ids)
            with self._lock:
                for one in watched:
                    self._sift(one, now)

    def _sift(self, one: _Watched, now: dict[int, tuple[str, int]]) -> None:
        before = len(one.fences)
        one.fences = {
            item_id: fence for item_id, fence in one.fences.items() if _waits(now[item_id], fence)
        }
        if len(one.fences) < before:
            self._end(one, before - len(one.fences))
        if not one.fences:
            self._open.remove(one)

    def _end(self, one: _Watched, items: int) -> None:
        waited_s = time.monotonic() - one.since_s
        self._reruns.append(
            Rerun(fault=one.fault, began_s=one.since_s, waited_s=waited_s, items=items)
        )


def _waits(now: tuple[str, int], fence: int) -> bool:
    """Whether nobody has claimed the item since, and it has not ended."""
    state, latest = now
    return state not in tables.FINAL and latest <= fence
