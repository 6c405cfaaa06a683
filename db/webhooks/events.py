"""Events: each is written in the transaction that causes it, and given out after that.

Giving out makes a delivery for everybody who wants the event, and numbers it. That is done behind
the commits and by one at a time, so a tenant's numbers follow each other in the order in which its
events became true, and no transaction that causes one waits for another.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Text, bindparam, text
from sqlalchemy.orm import Session

from db import nudge
from db.holding import hold
from db.ids import new_id
from db.models import Event
from db.states import DisabledReason, EventType, JobKind, JobState

_LOCK_KEY = 0x6576656E  # Any number; it says "even".
BATCH_EVENTS = 1000
"""Events that one transaction gives out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobThen:
    """A job as an event tells of it."""

    tenant_id: int
    job_id: uuid.UUID
    kind: JobKind
    state: JobState
    round: int
    callback_url: str | None
    is_quiet: bool
    n_items: int
    n_done: int
    n_no_face: int
    n_failed: int
    n_cancelled: int

    @property
    def data(self) -> dict[str, Any]:
        """What the event says."""
        return {
            "kind": self.kind.value,
            "state": self.state.value,
            "round": self.round,
            "counts": {
                "total": self.n_items,
                "done": self.n_done,
                "no_face": self.n_no_face,
                "failed": self.n_failed,
                "cancelled": self.n_cancelled,
            },
        }


def job_ended(session: Session, job: JobThen) -> bool:
    """Says that a job has ended, and beside that, where it has, that it failed.

    False for a quiet one, of which nothing is said.
    """
    if job.is_quiet:
        return False
    types = [EventType.JOB_COMPLETED]
    if job.state is JobState.FAILED:
        types.append(EventType.JOB_FAILED)
    session.add_all(
        Event(
            id=new_id(),
            tenant_id=job.tenant_id,
            type=event_type,
            job_id=job.job_id,
            round=job.round,
            # One call for one end.
            callback_url=job.callback_url if event_type is EventType.JOB_COMPLETED else None,
            data=job.data,
        )
        for event_type in types
    )
    return True


# A job that ends with these very photos says so itself.
_PROGRESS = text("""
    INSERT INTO event (id, tenant_id, type, job_id, round, data)
    SELECT :id, tenant_id, 'job.progress', id, round, jsonb_build_object(
        'kind', kind, 'state', state, 'round', round,
        'counts', jsonb_build_object(
            'total', n_items, 'done', n_done, 'no_face', n_no_face, 'failed', n_failed,
            'cancelled', n_cancelled))
    FROM job
    WHERE id = :job_id AND state = 'running' AND cancel_requested_at IS NULL AND NOT is_quiet
      AND n_items > n_done + n_no_face + n_failed + n_cancelled
      AND EXISTS (
          SELECT FROM webhook_endpoint
          WHERE webhook_endpoint.tenant_id = job.tenant_id AND is_enabled
            AND 'job.progress' = ANY(event_types)
      )
""")


def job_progressed(session: Session, job_id: uuid.UUID) -> None:
    """Says how far a job is, where anybody wants to know. The caller sees to it that it is rare."""
    session.execute(_PROGRESS, {"id": new_id(), "job_id": job_id})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Whom a face of an item shows."""

    job_id: uuid.UUID
    item_id: int
    subject_id: uuid.UUID


# Most jobs show nobody who is watched: then this looks subjects up in an index, and that is all.
_MATCHES = text("""
    INSERT INTO event (id, tenant_id, type, job_id, round, item_id, subject_id, data)
    SELECT DISTINCT ON (shown.item_id, subject.id)
           shown.id, job.tenant_id, 'match.found', job.id, job.round, shown.item_id,
           subject.id, jsonb_build_object('gallery', subject.gallery_id, 'round', job.round)
    FROM unnest(CAST(:ids AS uuid[]), CAST(:jobs AS uuid[]), :items, CAST(:subjects AS uuid[]))
         AS shown (id, job_id, item_id, subject_id)
    JOIN subject ON subject.id = shown.subject_id
    JOIN job ON job.id = shown.job_id
    WHERE NOT job.is_quiet AND EXISTS (
        SELECT FROM webhook_watch
        JOIN webhook_endpoint ON webhook_endpoint.id = endpoint_id AND is_enabled
        WHERE webhook_watch.subject_id = subject.id
    )
    ORDER BY shown.item_id, subject.id
    ON CONFLICT (item_id, subject_id) WHERE type = 'match.found' DO NOTHING
""").bindparams(
    *(bindparam(name, type_=ARRAY(Text)) for name in ("ids", "jobs", "subjects")),
    bindparam("items", type_=ARRAY(BigInteger)),
)


def matches_found(session: Session, shown: Sequence[Shown]) -> None:
    """Says of items whom they show, once for each subject, where an endpoint watches it."""
    if not shown:
        return
    values = {
        "ids": [str(new_id()) for _ in shown],
        "jobs": [str(one.job_id) for one in shown],
        "items": [one.item_id for one in shown],
        "subjects": [str(one.subject_id) for one in shown],
    }
    session.execute(_MATCHES, values)


def endpoint_disabled(
    session: Session, tenant_id: int, endpoint_id: uuid.UUID, reason: DisabledReason
) -> None:
    """Says to the other endpoints that one gets no events any more."""
    data = {"endpoint": str(endpoint_id), "reason": reason.value}
    session.add(
        Event(id=new_id(), tenant_id=tenant_id, type=EventType.ENDPOINT_DISABLED, data=data)
    )
    session.flush()


def endpoint_tested(session: Session, tenant_id: int, endpoint_id: uuid.UUID) -> uuid.UUID:
    """An event for this endpoint alone; its id."""
    event = Event(
        id=new_id(),
        tenant_id=tenant_id,
        type=EventType.ENDPOINT_TEST,
        endpoint_id=endpoint_id,
        data={"endpoint": str(endpoint_id)},
    )
    session.add(event)
    session.flush()
    nudge.notify_events(session)
    return event.id


# Who deletes or disables one of them is waited for, and comes before; or waits, and comes after.
_HOLD_ENDPOINTS = text("""
    SELECT endpoint.id FROM webhook_endpoint AS endpoint
    WHERE endpoint.tenant_id IN (
        SELECT tenant_id FROM event WHERE sequence IS NULL ORDER BY number LIMIT :limit
    )
    ORDER BY endpoint.id FOR SHARE
""")
_NUMBER = text("""
    WITH new AS (
        SELECT id, tenant_id, number FROM event
        WHERE sequence IS NULL ORDER BY number LIMIT :limit
    ), numbered AS (
        SELECT new.id, tenant.event_sequence
               + row_number() OVER (PARTITION BY new.tenant_id ORDER BY new.number) AS sequence
        FROM new JOIN tenant ON tenant.id = new.tenant_id
    )
    UPDATE event SET sequence = numbered.sequence FROM numbered WHERE event.id = numbered.id
    RETURNING event.id, event.tenant_id, event.sequence
""")
_COUNT_ON = text("""
    UPDATE tenant SET event_sequence = latest.sequence
    FROM unnest(:tenants, :sequences) AS latest (id, sequence) WHERE tenant.id = latest.id
""").bindparams(*(bindparam(name, type_=ARRAY(BigInteger)) for name in ("tenants", "sequences")))
# UUIDs of version 7, so that later deliveries have greater ids.
NEW_ID = """
    CAST(lpad(to_hex(CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)), 12, '0')
         || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14) AS uuid)
"""
WANTS = """
    CASE event.type
        WHEN 'endpoint.test' THEN event.endpoint_id = endpoint.id
        WHEN 'match.found' THEN 'match.found' = ANY(endpoint.event_types) AND EXISTS (
            SELECT FROM webhook_watch AS watch
            WHERE watch.endpoint_id = endpoint.id AND watch.subject_id = event.subject_id)
        ELSE event.type = ANY(endpoint.event_types)
    END
"""
"""Whether an `endpoint` is to get an `event` of its tenant."""
_GIVE_OUT = text(f"""
    INSERT INTO webhook_delivery (id, tenant_id, event_id, endpoint_id, callback_url, lane, state)
    SELECT {NEW_ID}, event.tenant_id, event.id, endpoint.id, NULL, endpoint.id::text, 'waiting'
    FROM event
    JOIN webhook_endpoint AS endpoint
      ON endpoint.tenant_id = event.tenant_id AND endpoint.is_enabled AND {WANTS}
    WHERE event.id = ANY(CAST(:ids AS uuid[]))
    UNION ALL
    SELECT {NEW_ID}, tenant_id, id, NULL, callback_url,
           'callback ' || coalesce(substring(lower(callback_url) FROM '^[a-z]+://[^/?#]+'), ''),
           'waiting'
    FROM event
    WHERE id = ANY(CAST(:ids AS uuid[])) AND callback_url IS NOT NULL
    ON CONFLICT DO NOTHING
""").bindparams(bindparam("ids", type_=ARRAY(Text)))  # noqa: S608 - put together from constants.


# Of a job that is there an event can be replayed to an endpoint that is made later.
_DROP_UNWANTED = text("""
    DELETE FROM event
    WHERE id = ANY(CAST(:ids AS uuid[])) AND job_id IS NOT NULL
      AND NOT EXISTS (SELECT FROM webhook_delivery WHERE event_id = event.id)
      AND NOT EXISTS (SELECT FROM job WHERE job.id = event.job_id)
""").bindparams(bindparam("ids", type_=ARRAY(Text)))


def give_out(session: Session) -> int:
    """Numbers events that are new and makes their deliveries; how many events that were.

    One at a time does it: what it cannot see yet is committed later, and numbered later. An
    endpoint that is disabled gets nothing of what is given out after that.
    """
    hold(session, _LOCK_KEY)
    session.execute(_HOLD_ENDPOINTS, {"limit": BATCH_EVENTS})
    rows = session.execute(_NUMBER, {"limit": BATCH_EVENTS}).all()
    if not rows:
        return 0
    latest: dict[int, int] = {}
    for row in rows:
        latest[row.tenant_id] = max(row.sequence, latest.get(row.tenant_id, 0))
    session.execute(_COUNT_ON, {"tenants": list(latest), "sequences": list(latest.values())})
    ids = [str(row.id) for row in rows]
    session.execute(_GIVE_OUT, {"ids": ids})
    session.execute(_DROP_UNWANTED, {"ids": ids})
    return len(rows)


_FORGET = text("""
    WITH old AS (
        SELECT id FROM event WHERE created_at < now() - make_interval(days => :days)
        ORDER BY created_at LIMIT :limit
    )
    DELETE FROM event USING old WHERE event.id = old.id
""")


def forget_events(session: Session, *, days: int) -> int:
    """Deletes some of the events that are so old, with their deliveries; how many."""
    deleted = session.execute(_FORGET, {"days": days, "limit": BATCH_EVENTS})
    return int(deleted.rowcount)  # type: ignore[attr-defined]


_FORGET_MATCHES = text("DELETE FROM event WHERE job_id = :job_id AND type = 'match.found'")


def forget_matches(session: Session, job_id: uuid.UUID) -> None:
    """Deletes what is told of whom a job's photos show: it goes with the job's results."""
    session.execute(_FORGET_MATCHES, {"job_id": job_id})
