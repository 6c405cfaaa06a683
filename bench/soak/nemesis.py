"""The nemesis: strikes in an order drawn from the seed, and writes down when it did what."""

import datetime as dt
import heapq
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.soak.faults import DISK_FULL, FAULTS
from bench.soak.hand import Effect, Hand, NothingThereError
from bench.soak.stack import SoakError

LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """A fault that was injected, or found nothing to strike."""

    at: str
    """UTC."""
    began_s: float
    """By the clock that only goes forward."""
    after_s: float
    """Since the first fault could come."""
    name: str
    said: str
    missed: bool
    ended_s: float
    """When it was undone."""


class Nemesis:
    """One sequence of faults."""

    def __init__(self, hand: Hand, log: Path) -> None:
        self._hand = hand
        self._log = log
        self._began_s = time.monotonic()
        self._undos: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.struck: list[Struck] = []

    def run(self, names: Sequence[str], pauses_s: tuple[float, float]) -> None:
        """Injects the faults one after the other, and undoes what lasts when its time has come.

        Those that found nothing to strike come once more at the end.
        """
        before = len(self.struck)
        try:
            self._inject(names, pauses_s)
            missed = [one.name for one in self.struck[before:] if one.missed]
            self._inject([name for name in missed if name != DISK_FULL], pauses_s)
        finally:
            self._heal()

    def _inject(self, names: Sequence[str], pauses_s: tuple[float, float]) -> None:
        for name in names:
            self._pause(self._hand.rng.uniform(*pauses_s))
            self._strike(name)
            self._hand.pace.fault_done()
        while self._undos:
            self._pause(LOOK_EVERY_S)

    @property
    def last_s(self) -> float:
        """When the last fault was over."""
        return max((one.ended_s for one in self.struck), default=self._began_s)

    def _strike(self, name: str) -> None:
        began_s = time.monotonic()
        missed = False
        try:
            effect = FAULTS[name](self._hand)
        except (NothingThereError, SoakError, ProcessLookupError) as exc:
            effect, missed = Effect(said=f"missed: {exc}"), True
        undo_s = time.monotonic() + effect.lasts_s
        heapq.heappush(self._undos, (undo_s, next(self._numbers), effect.undo))
        self._write(name, effect, began_s, missed=missed)

    def note(self, name: str, said: str, began_s: float) -> None:
        """Writes down what somebody else has done, up to now."""
        self._write(name, Effect(said=said), began_s, missed=False)

    def _write(self, name: str, effect: Effect, began_s: float, *, missed: bool) -> None:
        now_s, now = time.monotonic(), dt.datetime.now(dt.UTC)
        at = now - dt.timedelta(seconds=now_s - began_s)
        one = Struck(
            at=at.isoformat(timespec="milliseconds"),
            began_s=began_s,
            after_s=round(began_s - self._began_s, 1),
            name=name,
            said=effect.said,
            missed=missed,
            ended_s=now_s + effect.lasts_s,
        )
        self.struck.append(one)
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(one)) + "\n")
        print(f"  {one.at[11:23]}  {one.name:32}  {one.said}", flush=True)

    def _pause(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while (now := time.monotonic()) < until_s:
            self._undo_due(now)
            time.sleep(min(LOOK_EVERY_S, until_s - now))
        self._undo_due(time.monotonic())

    def _undo_due(self, now: float) -> None:
        while self._undos and self._undos[0][0] <= now:
            heapq.heappop(self._undos)[2]()

    def _heal(self) -> None:
        while self._undos:
            heapq.heappop(self._undos)[2]()
