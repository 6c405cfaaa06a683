"""The queue of sources to be listed: what the reconciler puts right in it."""

import uuid

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.errors import JobNotFoundError, SourceLostError
from db.jobs import lock_job
from db.progress import finish_if_complete
from db.source_ends import end_source
from db.states import SourceState

_WAITING = "state = 'queued' AND dispatched_at IS NOT NULL"
_REQUEUE_EXPIRED = text("""
    WITH expired AS (
        SELECT id FROM source
        WHERE state = 'running' AND lease_until < now() AND attempt < :max_attempts
        ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    UPDATE source
    SET state = 'queued', lease_until = NULL, dispatched_at = NULL, due_at = now()
    FROM expired WHERE source.id = expired.id
    RETURNING source.id
""")
_IS_LOST = f"""
    ((state = 'running' AND lease_until < now()) OR ({_WAITING})) AND attempt >= :max_attempts
"""
_LOST = text(f"""
    SELECT id, tenant_id, job_id FROM source WHERE {_IS_LOST} ORDER BY id LIMIT 100
""")  # noqa: S608 - likewise.
_LOST_STILL = text(f"""
    SELECT id FROM source WHERE id = :id AND {_IS_LOST} FOR UPDATE
""")  # noqa: S608 - likewise.
_RESEND = text(f"""
    WITH stale AS (
        SELECT id FROM source
        WHERE {_WAITING} AND dispatched_at < now() - make_interval(secs => :after_s)
        ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    UPDATE source SET dispatched_at = NULL
    FROM stale WHERE source.id = stale.id
    RETURNING source.id
""")  # noqa: S608 - likewise.


def requeue_expired_sources(session: Session, *, max_attempts: int) -> int:
    """Queues sources whose lease has run out; returns how many."""
    return len(session.scalars(_REQUEUE_EXPIRED, {"max_attempts": max_attempts}).all())


def resend_stale_sources(session: Session, *, after_s: float) -> int:
    """Makes sources due again that were sent `after_s` ago and never claimed; how many."""
    return len(session.scalars(_RESEND, {"after_s": after_s}).all())


def set_aside_sources(session: Session, *, max_attempts: int) -> int:
    """Fails sources that took their worker down `max_attempts` times; returns how many.

    What was listed of them stays.
    """
    lost = session.execute(_LOST, {"max_attempts": max_attempts}).all()
    return sum(_set_aside(session, one.tenant_id, one.job_id, one.id, max_attempts) for one in lost)


def _set_aside(
    session: Session, tenant_id: int, job_id: uuid.UUID, source_id: uuid.UUID, max_attempts: int
) -> bool:
    try:
        # The job before its sources, as whoever lists or deletes them locks them.
        lock_job(session, tenant_id, job_id)
    except JobNotFoundError:
        return False
    found = session.execute(_LOST_STILL, {"id": source_id, "max_attempts": max_attempts})
    if found.one_or_none() is None:
        return False  # Somebody has got it meanwhile.
    times = "once" if max_attempts == 1 else f"{max_attempts} times"
    error = SourceLostError(f"the listing was given up: its worker died {times} over it")
    ended = end_source(session, source_id, SourceState.FAILED, error)
    finish_if_complete(session, [job_id])
    return ended
