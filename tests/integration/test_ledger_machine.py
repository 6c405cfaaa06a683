"""Whatever happens to the ledger, in whichever order: its invariants hold after every step."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from ledger_kit import LEASE_S, Kit, as_owner, done, failed, item, photo_of
from sqlalchemy import event, text

from db import accept, control, erase_jobs, jobs, ledger
from db.dispatch import Lane, Room, dispatch
from db.errors import (
    EmptyJobError,
    JobCancelledError,
    JobEndedError,
    JobNotFoundError,
    JobSealedError,
)
from db.ledger import Claim
from db.session import transaction
from db.states import JobPriority
from db.tenants import ensure_tenant

MAX_ATTEMPTS = 2
ROOM = Room(items=8, chunk_items=3, workers=2)
ROOMS = {Lane.BULK: ROOM, Lane.URGENT: Room(items=4, chunk_items=2, workers=1)}
PAST_THE_DOOR = (JobNotFoundError, JobSealedError, EmptyJobError, JobEndedError, JobCancelledError)
"""What a client that is too late is told."""
ENDED = "('done', 'no_face', 'failed', 'cancelled')"

# Each finds what breaks a promise; the first column is the row at fault.
BROKEN = {
    "counters equal rows": """
        SELECT job.id FROM job LEFT JOIN item ON item.job_id = job.id
        WHERE job.delete_after IS NULL
        GROUP BY job.id
        HAVING (n_items, n_done, n_no_face, n_failed, n_cancelled) IS DISTINCT FROM (
            count(item.id), count(*) FILTER (WHERE item.state = 'done'),
            count(*) FILTER (WHERE item.state = 'no_face'),
            count(*) FILTER (WHERE item.state = 'failed'),
            count(*) FILTER (WHERE item.state = 'cancelled'))
    """,
    "a job has ended when, and only when, it is sealed and all its items have": f"""
        SELECT job.id FROM job
        WHERE delete_after IS NULL AND (finished_at IS NOT NULL) IS DISTINCT FROM (
            sealed_at IS NOT NULL AND NOT EXISTS (
                SELECT FROM item WHERE job_id = job.id AND state NOT IN {ENDED}))
    """,
    "its state says so": """
        SELECT id FROM job
        WHERE (finished_at IS NULL) IS DISTINCT FROM (state IN ('queued', 'running'))
           OR (state = 'cancelled') IS DISTINCT FROM
              (finished_at IS NOT NULL AND cancel_requested_at IS NOT NULL)
           OR (state = 'succeeded' AND n_failed > 0)
    """,
    "one completion event for each round that has ended": """
        SELECT job.id FROM job LEFT JOIN event ON event.job_id = job.id AND type = 'job.completed'
        WHERE job.delete_after IS NULL
        GROUP BY job.id
        HAVING count(event.id) <> job.round - CASE WHEN finished_at IS NULL THEN 1 ELSE 0 END
    """,
    "what is done has one extraction": """
        SELECT id FROM item WHERE state = 'done' AND extraction_id IS NULL AND photo_id IS NOT NULL
    """,
    "nothing is on its way for a job that is paused": """
        SELECT item.id FROM item JOIN job ON job.id = item.job_id
        WHERE item.state = 'queued' AND item.dispatched_at IS NOT NULL
          AND job.paused_at IS NOT NULL
    """,
    "nobody sees a job whose end was asked for and whose photos still run": """
        SELECT item.id FROM item JOIN job ON job.id = item.job_id
        WHERE item.state = 'running' AND job.cancel_requested_at IS NOT NULL
    """,
    "what is tried again leaves no trace of its failure": """
        SELECT id FROM item WHERE state IN ('queued', 'running') AND finished_at IS NOT NULL
    """,
    "no photo stays that nobody refers to": """
        SELECT photo.id FROM photo
        WHERE NOT EXISTS (SELECT FROM item WHERE item.photo_id = photo.id)
    """,
}

picks = st.integers(min_value=0, max_value=1000)
photo_names = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True)
has_jobs = precondition(lambda self: self.jobs)


class Ledger(RuleBasedStateMachine):
    """Clients, dispatchers, workers and reconcilers, one step at a time."""

    def __init__(self, kit: Kit) -> None:
        super().__init__()
        with transaction(kit.database) as session:
            as_owner(session)
            session.execute(text("TRUNCATE tenant CASCADE"))
        with transaction(kit.database) as session:
            mine = ensure_tenant(session, "owner"), ensure_tenant(session, "stranger")
        self.kits = [Kit(database=kit.database, tenant_id=one) for one in mine]
        self.jobs: list[tuple[Kit, uuid.UUID]] = []
        self.sent: list[tuple[int, ...]] = []
        self.claims: list[Claim] = []
        self.turns: dict[Lane, int] = {}
        self.fences: dict[int, int] = {}
        self.finals: dict[int, str] = {}
        self.deleting: list[uuid.UUID] = []

    def _rows(self, query: str) -> list[tuple]:
        with transaction(self.kits[0].database) as session:
            return [tuple(row) for row in session.execute(text(query))]

    def _job(self, pick: int) -> tuple[Kit, uuid.UUID]:
        return self.jobs[pick % len(self.jobs)]

    def _control(self, pick: int, change: Callable[..., object]) -> None:
        kit, job_id = self._job(pick)
        try:
            with transaction(kit.database) as session:
                change(session, kit.tenant_id, job_id)
        except PAST_THE_DOOR:
            pass

    @initialize(photos=photo_names)
    def begin(self, photos: list[str]) -> None:
        """Two tenants have a job of the same photos each."""
        for whose in range(2):
            self.submit(whose, photos, seal=True, priority=JobPriority.NORMAL)

    @rule(
        whose=st.integers(min_value=0, max_value=1),
        photos=photo_names,
        seal=st.booleans(),
        priority=st.sampled_from(JobPriority),
    )
    def submit(self, whose: int, photos: list[str], *, seal: bool, priority: JobPriority) -> None:
        kit = self.kits[whose]
        made = kit.job(*map(item, photos), seal=seal, priority=priority)
        self.jobs.append((kit, made))

    @rule(pick=picks, photo=st.sampled_from("abcdefgh"))
    @has_jobs
    def add(self, pick: int, photo: str) -> None:
        self._control(pick, lambda *job: accept.add_items(*job, [item(photo)]))

    @rule(pick=picks)
    @has_jobs
    def seal(self, pick: int) -> None:
        self._control(pick, jobs.seal_job)

    @rule()
    def send(self) -> None:
        with transaction(self.kits[0].database) as session:
            found = dispatch(session, ROOMS, self.turns)
        self.sent += [chunk.item_ids for chunk in found.chunks]
        in_flight = self._rows("""
            SELECT count(*) FROM item
            WHERE state = 'running' OR (state = 'queued' AND dispatched_at IS NOT NULL)
        """)
        assert in_flight[0][0] <= sum(room.items for room in ROOMS.values())

    @rule(pick=picks, again=st.booleans())
    def take(self, pick: int, *, again: bool) -> None:
        """A worker takes a message, which may come to another one as well."""
        if not self.sent:
            self.send()
        if not self.sent:
            return
        chunk = self.sent[pick % len(self.sent)]
        if not again:
            self.sent.remove(chunk)
        self._claim(chunk)

    def _claim(self, item_ids: Sequence[int]) -> None:
        with transaction(self.kits[0].database) as session:
            self.claims += ledger.claim(
                session, item_ids, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS
            )

    def _some_claim(self, pick: int) -> int | None:
        """The place of a claim, lost or not, of a worker that has one; else a worker takes some."""
        if not self.claims:
            self.take(pick, again=False)
        return pick % len(self.claims) if self.claims else None

    @rule()
    def lose_messages(self) -> None:
        self.sent.clear()

    @rule(pick=picks, fails=st.booleans())
    def overtake(self, pick: int, *, fails: bool) -> None:
        """A worker stands still, another one is given what it had, and the first wakes up."""
        place = self._some_claim(pick)
        if place is not None:
            stale = self.claims[place]
            self._expire(stale.item_id)
            self._claim([stale.item_id])
            self._record([stale], fails=fails)

    @rule(fails=st.booleans())
    def work(self, *, fails: bool) -> None:
        """Nothing is in the way of what is due."""
        self.send()
        while self.sent:
            first = len(self.claims)
            self._claim(self.sent.pop())
            self._record(self.claims[first:], fails=fails)
            del self.claims[first:]

    @rule(
        pick=picks,
        number=st.integers(min_value=1, max_value=3),
        fails=st.booleans(),
        twice=st.booleans(),
    )
    def record(self, pick: int, number: int, *, fails: bool, twice: bool) -> None:
        place = self._some_claim(pick)
        if place is None:
            return
        some = self.claims[place : place + number]
        if not twice:
            del self.claims[place : place + number]
        self._record(some, fails=fails)

    def _record(self, some: Sequence[Claim], *, fails: bool) -> None:
        """Of a claim that is lost nothing is written."""
        holding = dict(self._rows("SELECT id, fence FROM item WHERE state = 'running'"))
        outcomes = [failed(one) if fails else done(one, photo_of(1)) for one in some]
        # Two claims of one item are two workers' business.
        by_item = {one.claim.item_id: one for one in outcomes}
        held = self.kits[0].record(*by_item.values())
        expected = {
            one.claim.item_id
            for one in by_item.values()
            if holding.get(one.claim.item_id) == one.claim.fence
        }
        assert held == expected

    @rule(pick=picks)
    def hand_back(self, pick: int) -> None:
        place = self._some_claim(pick)
        if place is not None:
            with transaction(self.kits[0].database) as session:
                ledger.release(session, [self.claims.pop(place)], delay_s=0)

    @rule(pick=picks)
    def expire(self, pick: int) -> None:
        if (place := self._some_claim(pick)) is not None:
            self._expire(self.claims[place].item_id)

    def _expire(self, item_id: int) -> None:
        with transaction(self.kits[0].database) as session:
            session.execute(
                text("""
                    UPDATE item SET lease_until = now() - interval '1 s'
                    WHERE id = :id AND state = 'running'
                """),
                {"id": item_id},
            )

    @rule()
    def reconcile(self) -> None:
        with transaction(self.kits[0].database) as session:
            ledger.set_aside(session, max_attempts=MAX_ATTEMPTS)
            ledger.requeue_expired(session, max_attempts=MAX_ATTEMPTS)
            ledger.resend_stale(session, after_s=0)

    @rule(pick=picks)
    @has_jobs
    def pause(self, pick: int) -> None:
        self._control(pick, control.pause_job)

    @rule(pick=picks)
    @has_jobs
    def resume(self, pick: int) -> None:
        self._control(pick, control.resume_job)

    @rule(pick=picks)
    @has_jobs
    def retry(self, pick: int) -> None:
        self._control(pick, control.retry_job)
        for item_id, state in list(self.finals.items()):
            if state == "failed":
                del self.finals[item_id]

    @rule(pick=picks)
    @has_jobs
    def begin_cancel(self, pick: int) -> None:
        self._control(pick, control.begin_cancel)

    @rule()
    def go_on_cancelling(self) -> None:
        with transaction(self.kits[0].database) as session:
            for job_id in control.cancelling_jobs(session):
                control.cancel_some(session, job_id)

    @rule(pick=picks)
    @has_jobs
    def begin_delete(self, pick: int) -> None:
        kit, job_id = self._job(pick)
        self._control(pick, erase_jobs.begin_delete)
        self.jobs.remove((kit, job_id))
        self.deleting.append(job_id)
        with pytest.raises(JobNotFoundError):
            kit.view(job_id)

    @rule()
    @precondition(lambda self: self.deleting)
    def go_on_deleting(self) -> None:
        with transaction(self.kits[0].database) as session:
            if erase_jobs.delete_some(session, self.deleting[0]) is None:
                del self.deleting[0]

    @invariant()
    def no_promise_is_broken(self) -> None:
        with transaction(self.kits[0].database) as session:
            found = {
                promise: [tuple(row) for row in session.execute(text(query))]
                for promise, query in BROKEN.items()
            }
        broken = {promise: rows for promise, rows in found.items() if rows}
        assert broken == {}

    @invariant()
    def no_claim_is_taken_back_and_no_end_undone(self) -> None:
        rows = self._rows("SELECT id, fence, state FROM item")
        for item_id, fence, state in rows:
            assert fence >= self.fences.get(item_id, 0)
            assert self.finals.get(item_id, state) == state
        self.fences = {item_id: fence for item_id, fence, _ in rows}
        self.finals = {one: state for one, _, state in rows if state not in {"queued", "running"}}

    def teardown(self) -> None:
        """After the last fault everything that was accepted ends."""
        while self.deleting:
            self.go_on_deleting()
        for pick in range(len(self.jobs)):
            self._control(pick, control.resume_job)
            self._control(pick, jobs.seal_job)
        for _ in range(100):
            if not self._rows("SELECT id FROM job WHERE finished_at IS NULL"):
                break
            with transaction(self.kits[0].database) as session:
                session.execute(
                    text("""
                        UPDATE item SET lease_until = now() - interval '1 s'
                        WHERE state = 'running'
                    """)
                )
            self.reconcile()
            self.go_on_cancelling()
            self.sent.clear()
            self.send()
            for chunk in self.sent:
                for one in self.kits[0].claim(chunk):
                    self.kits[0].record(done(one, photo_of(1)))
        assert self._rows("SELECT id FROM job WHERE finished_at IS NULL") == []
        assert self._rows(f"SELECT id FROM item WHERE state NOT IN {ENDED}") == []
        self.no_promise_is_broken()


def _without_waiting_for_the_disk(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
    connection.commit()


def test_the_ledger_keeps_its_promises_whatever_happens(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that a job of a few photos takes several batches.
    monkeypatch.setattr(control, "BATCH_ITEMS", 2)
    monkeypatch.setattr(erase_jobs, "BATCH_ITEMS", 2)
    # Nothing crashes here, so nothing need be on the disk.
    event.listen(kit.database, "connect", _without_waiting_for_the_disk)
    kit.database.dispose()
    run_state_machine_as_test(
        lambda: Ledger(kit),
        settings=settings(
            max_examples=25,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
