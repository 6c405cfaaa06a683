"""Control of jobs that are under way or have ended: cancel, pause, resume, try again.

What touches the items of a large job does so in batches. The caller commits after each, so that no
transaction is long and nothing is held in memory. Items are locked before their job, and a job
before its sources: the order in which workers lock them.
"""

import contextlib
import datetime as dt
import uuid

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from db import nudge
from db.dispatch import hold_dispatch
from db.errors import JobCancelledError, JobEndedError, JobNotFoundError
from db.jobs import get_job, is_kept
from db.models import Job
from db.progress import begin_samples, count_ended, finish_if_complete
from db.source_ends import end_sources
from db.states import OPEN_JOB_STATES, SourceState

BATCH_ITEMS = 2000
"""Items that one transaction ends: about 50 ms of work."""

# By the index of what runs, which has no more than that in it.
_CANCEL_RUNNING = text("""
    WITH begun AS (
        SELECT id FROM item WHERE job_id = :job_id AND state = 'running' ORDER BY id FOR UPDATE
    ), ended AS (
        UPDATE item SET state = 'cancelled', lease_until = NULL, finished_at = now()
        FROM begun WHERE item.id = begun.id
        RETURNING item.id
    )
    SELECT count(*) FROM ended
""")
_CANCEL_SOME = text("""
    WITH open AS (
        SELECT id FROM item
        WHERE job_id = :job_id AND id > :after AND state IN ('queued', 'running')
        ORDER BY id LIMIT :limit FOR UPDATE
    ), ended AS (
        UPDATE item SET state = 'cancelled', lease_until = NULL, finished_at = now()
        FROM open WHERE item.id = open.id
        RETURNING item.id
    )
    SELECT count(*) AS n, max(id) AS last FROM ended
""")
_UNSEND_JOB = text("""
    UPDATE item SET dispatched_at = NULL
    WHERE state = 'queued' AND dispatched_at IS NOT NULL AND job_id = :job_id
""")
_RETRY = text("""
    WITH failed AS (
        SELECT id FROM item
        WHERE job_id = :job_id AND state = 'failed' AND photo_id IS NOT NULL
        ORDER BY id FOR UPDATE
    ), queued AS (
        UPDATE item
        SET state = 'queued', attempt = 0, due_at = now(), dispatched_at = NULL,
            error_code = NULL, error_detail = NULL, last_fault = NULL, extraction_id = NULL,
            finished_at = NULL
        FROM failed WHERE item.id = failed.id
        RETURNING item.id
    )
    SELECT count(*) FROM queued
""")
_RUN_AGAIN = text("""
    UPDATE job
    SET n_failed = n_failed - :queued,
        round = CASE WHEN finished_at IS NULL OR :queued = 0 THEN round ELSE round + 1 END,
        state = CASE WHEN finished_at IS NULL OR :queued = 0 THEN state ELSE 'running' END,
        finished_at = CASE WHEN :queued = 0 THEN finished_at END
    WHERE id = :job_id AND state <> 'cancelled' AND cancel_requested_at IS NULL
    RETURNING id
""")


def begin_cancel(session: Session, tenant_id: int, job_id: uuid.UUID) -> bool:
    """Asks for the job's end: nothing further of it begins, and what runs records nothing.

    What is queued is ended by `cancel_some`. False where the job had ended. Raises
    `JobNotFoundError`.
    """
    get_job(session, tenant_id, job_id)
    return ask_to_end(session, job_id)


def ask_to_end(session: Session, job_id: uuid.UUID) -> bool:
    """As `begin_cancel`, for a job that its owner cannot see any more."""
    begun = session.scalars(_CANCEL_RUNNING, {"job_id": job_id}).one()
    asked = session.scalars(
        update(Job)
        .where(Job.id == job_id, Job.state.in_(OPEN_JOB_STATES))
        .values(
            cancel_requested_at=func.coalesce(Job.cancel_requested_at, func.now()),
            sealed_at=func.coalesce(Job.sealed_at, func.now()),
            paused_at=None,
        )
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).all()
    count_ended(session, job_id, cancelled=begun)
    if not asked:
        return False
    end_sources(session, job_id, SourceState.CANCELLED)
    finish_if_complete(session, [job_id])
    return True


def cancel_some(session: Session, job_id: uuid.UUID, after: int = 0) -> int | None:
    """Ends some open items, behind the id `after`, of a job whose end was asked for.

    Returns the id behind which to go on; None where none is left, and the job has ended.
    """
    row = session.execute(
        _CANCEL_SOME, {"job_id": job_id, "after": after, "limit": BATCH_ITEMS}
    ).one()
    count_ended(session, job_id, cancelled=row.n)
    finish_if_complete(session, [job_id])
    return int(row.last) if row.n == BATCH_ITEMS else None


def cancel_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> bool:
    """Ends the job now, in one transaction; photos that have ended keep their results.

    For jobs of few photos. False where it had ended. Raises `JobNotFoundError`.
    """
    if not begin_cancel(session, tenant_id, job_id):
        return False
    after: int | None = 0
    while after is not None:
        after = cancel_some(session, job_id, after)
    return True


def cancelling_jobs(session: Session, *, limit: int = 100) -> list[uuid.UUID]:
    """Jobs whose end was asked for and has not come, the longest first."""
    query = (
        select(Job.id)
        .where(Job.cancel_requested_at.is_not(None), Job.state.in_(OPEN_JOB_STATES), is_kept())
        .order_by(Job.cancel_requested_at)
        .limit(limit)
    )
    return list(session.scalars(query))


def cancel_abandoned(session: Session, older_than: dt.timedelta) -> list[uuid.UUID]:
    """Begins to cancel jobs that were never sealed and got no photo for so long; their ids."""
    rows = session.execute(
        select(Job.tenant_id, Job.id)
        .where(
            Job.sealed_at.is_(None),
            Job.state.in_(OPEN_JOB_STATES),
            Job.changed_at < func.now() - older_than,
        )
        .limit(100)
    ).all()
    cancelled = []
    for tenant_id, job_id in rows:
        with contextlib.suppress(JobNotFoundError):  # Its owner was just deleting it.
            if begin_cancel(session, tenant_id, job_id):
                cancelled.append(job_id)
    return cancelled


def pause_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> None:
    """Lets no further photo of the job begin; those that run end. Pausing again changes nothing.

    Raises `JobNotFoundError`, and `JobEndedError` where it has ended or is being cancelled.
    """
    get_job(session, tenant_id, job_id)
    # No dispatcher sends any of it between the two statements, which none would take back.
    hold_dispatch(session)
    session.execute(_UNSEND_JOB, {"job_id": job_id})
    _change_open(session, job_id, paused_at=func.coalesce(Job.paused_at, func.now()))


def resume_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> None:
    """Lets the job go on. Where it is not paused nothing changes.

    Raises `JobNotFoundError`, and `JobEndedError` where it has ended or is being cancelled.
    """
    was_paused = get_job(session, tenant_id, job_id).paused
    _change_open(session, job_id, paused_at=None)
    if was_paused:
        begin_samples(session, job_id)
        nudge.notify(session)


def retry_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> int:
    """Queues the job's failed photos anew, as if they had never been tried; returns how many.

    Those that were refused, or whose photo was deleted, stay as they are. A job that had ended runs
    again, and ends with another event. Raises `JobNotFoundError`, and `JobCancelledError` where it
    was cancelled.
    """
    get_job(session, tenant_id, job_id)
    queued = int(session.scalars(_RETRY, {"job_id": job_id}).one())
    again = session.execute(_RUN_AGAIN, {"job_id": job_id, "queued": queued}).all()
    if not again:
        raise JobCancelledError("the job was cancelled; submit its photos in a new one")
    if queued:
        begin_samples(session, job_id)
        nudge.notify(session)
    return queued


def _change_open(session: Session, job_id: uuid.UUID, **values: object) -> None:
    changed = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state.in_(OPEN_JOB_STATES), Job.cancel_requested_at.is_(None))
        .values(**values)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).all()
    if not changed:
        raise JobEndedError("the job has ended, or is being cancelled")
