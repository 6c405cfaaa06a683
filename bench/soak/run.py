"""One soak from the first photo to the last verdict."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import psycopg2

from bench.soak import invariants, tables
from bench.soak.acts import Act
from bench.soak.clients import Clients
from bench.soak.disk import SmallDisk
from bench.soak.hand import Hand
from bench.soak.invariants import Verdict
from bench.soak.journal import Journal, read_journal
from bench.soak.nemesis import Nemesis, Struck
from bench.soak.pace import Pace
from bench.soak.photos import SoakPhoto, undisturbed
from bench.soak.plan import planned
from bench.soak.stack import SoakError, SoakStack, wait_for
from bench.soak.watch import Rerun, Watch
from db.errors import UnavailableError

BUCKET_LIMIT_S = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a soak."""

    struck: tuple[Struck, ...]
    verdicts: tuple[Verdict, ...]
    accepted: int
    jobs: int
    settled_s: float
    """From the last fault to the end of the last item."""
    rerun_s: float
    """How long the items of a killed worker waited, at the most, other faults not counted."""


@dataclass(slots=True, kw_only=True)
class Soak:
    """What one run needs."""

    stack: SoakStack
    photos: Sequence[SoakPhoto]
    acts: Sequence[Act]
    rng: Random
    disk: SmallDisk | str
    folder: Path
    """For the journal and the log of faults."""
    within_s: float
    """All must have ended so long after the last fault."""
    say: Callable[[str], None]

    def run(self) -> Outcome:
        """Submits, strikes, heals, judges; raises `SoakError` where the stack cannot be had."""
        plan = planned(self.photos, self.rng)
        pace = Pace(jobs=len(plan), faults=sum(len(act.faults) for act in self.acts))
        hand = self._hand(pace)
        nemesis = Nemesis(hand, self.folder / "faults.jsonl")
        with self._served(), Journal(self._journal) as journal:
            clients = Clients(self.stack, journal, plan, pace)
            clients.start()
            hand.watch.start()
            self._strike(nemesis, hand)
            pace.finish()
            clients.join()
            late = self._settle(nemesis.last_s)
            settled_s = time.monotonic() - nemesis.last_s
            reruns = hand.watch.stop()
            verdicts = [*late, *self._verdicts(nemesis, hand, reruns)]
        verdicts.append(self._stopped())
        return self._outcome(nemesis, verdicts, settled_s, reruns)

    @property
    def _journal(self) -> Path:
        return self.folder / "journal.jsonl"

    def _hand(self, pace: Pace) -> Hand:
        return Hand(
            stack=self.stack,
            rng=self.rng,
            watch=Watch(self.stack),
            pace=pace,
            disk=self.disk,
            beyond_lease_s=self.acts[0].beyond_lease_s,
        )

    def _outcome(
        self,
        nemesis: Nemesis,
        verdicts: Sequence[Verdict],
        settled_s: float,
        reruns: Sequence[Rerun],
    ) -> Outcome:
        accepted, _ = read_journal(self._journal)
        return Outcome(
            struck=tuple(nemesis.struck),
            verdicts=tuple(verdicts),
            accepted=len(accepted),
            jobs=len({one.job_id for one in accepted}),
            settled_s=settled_s,
            rerun_s=invariants.longest_rerun_s(reruns, nemesis.struck),
        )

    @contextmanager
    def _served(self) -> Iterator[None]:
        self.say(f"act 1: {self.acts[0].name}")
        try:
            self.stack.up(**self.acts[0].settings)
            yield
        finally:
            self.stack.down()

    def _strike(self, nemesis: Nemesis, hand: Hand) -> None:
        for number, act in enumerate(self.acts, start=1):
            if number > 1:
                self.say(f"act {number}: {act.name}")
                began_s = time.monotonic()
                self.stack.down()
                self.stack.up(**act.settings)
                nemesis.note("stack restarted", f"with {act.name}", began_s)
            hand.beyond_lease_s = act.beyond_lease_s
            nemesis.run(act.faults, act.pauses_s)

    def _settle(self, last_s: float) -> list[Verdict]:
        """Waits for the end of all that was accepted; a verdict where it does not come."""
        left_s = self.within_s - (time.monotonic() - last_s)
        try:
            wait_for(self._all_ended, "everything ends", limit_s=max(left_s, 1.0))
        except SoakError as exc:
            return [Verdict(name="it comes to rest", wrong=(str(exc),))]
        return []

    def _all_ended(self) -> bool:
        try:
            return self.stack.all_run() and tables.unfinished(self.stack.database_url) == 0
        except psycopg2.Error:
            return False

    def _verdicts(self, nemesis: Nemesis, hand: Hand, reruns: Sequence[Rerun]) -> Iterator[Verdict]:
        self._sweep()
        accepted, sealed = read_journal(self._journal)
        read = tables.read_tables(self.stack.database_url)
        self.say("what the bare engine finds in the same photos, for comparison")
        expected = undisturbed(self.photos, self.stack.home.path / "models")
        yield invariants.accepted_items_end_once(accepted, read)
        yield invariants.one_result_set(read)
        yield invariants.one_completion_event(sealed, read)
        yield invariants.rerun_in_time(reruns, nemesis.struck)
        yield invariants.lost_claims_record_nothing(hand.overtaken, hand.usurped)
        yield invariants.flush_lost_nothing(hand.flushed, read)
        yield invariants.as_undisturbed(expected, read)
        yield self._orphans()

    def _orphans(self) -> Verdict:
        """The bucket beside the tables of the same moment, once the reconciler has nothing to do.

        Zips that held nothing new go soon after the last photo has ended.
        """

        def verdict() -> Verdict:
            keys = [*self.stack.store().keys("")]
            return invariants.no_orphans(keys, tables.read_tables(self.stack.database_url))

        with suppress(SoakError):
            wait_for(lambda: verdict().holds, "the bucket is as it must be", limit_s=BUCKET_LIMIT_S)
        return verdict()

    def _sweep(self) -> None:
        """Waits until the reconciler has swept what requests that died had left."""

        def swept() -> bool:
            try:
                return tables.age_uploads(self.stack.database_url) == 0
            except (psycopg2.Error, UnavailableError):
                return False

        try:
            wait_for(swept, "the bucket is swept", limit_s=BUCKET_LIMIT_S)
        except SoakError as exc:
            self.say(str(exc))  # The verdict on orphans says what is left.

    def _stopped(self) -> Verdict:
        left = self.stack.leftovers()
        return Verdict(
            name="nothing runs after the stop", wrong=tuple(f"{one} still runs" for one in left)
        )
