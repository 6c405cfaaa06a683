"""How far jobs are: counting what has ended, with its rate, and ending what is complete."""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import fields

from sqlalchemy import Case, bindparam, case, func, literal, select, text, update
from sqlalchemy.orm import Session

from db import nudge
from db.models import Job, Source
from db.states import OPEN_JOB_STATES, JobState, SourceState
from db.webhooks.events import JobThen, job_ended, job_progressed

SAMPLE_AGE = dt.timedelta(seconds=30)
"""Two samples of a job's progress are at least so far apart."""

# The rate is taken since the sample before the last: over half a minute at least, a minute at most
# while photos end, and longer where none does.
_COUNT = text("""
    UPDATE job
    SET n_done = job.n_done + :done, n_no_face = job.n_no_face + :no_face,
        n_failed = job.n_failed + :failed, n_cancelled = job.n_cancelled + :cancelled,
        before_at = CASE WHEN mark_at IS NULL THEN coalesce(started_at, now())
                         WHEN at.is_due THEN mark_at ELSE before_at END,
        before_ended = CASE WHEN mark_at IS NULL THEN at.ended
                            WHEN at.is_due THEN mark_ended ELSE before_ended END,
        mark_at = CASE WHEN at.is_due THEN now() ELSE mark_at END,
        mark_ended = CASE WHEN at.is_due THEN at.ended + :more ELSE mark_ended END
    FROM (
        SELECT id, n_done + n_no_face + n_failed + n_cancelled AS ended,
               mark_at IS NULL OR mark_at <= now() - :age AS is_due
        FROM job WHERE id = :job_id FOR NO KEY UPDATE
    ) AS at
    WHERE job.id = at.id
    RETURNING at.is_due AND NOT job.is_quiet
        AND job.n_items > job.n_done + job.n_no_face + job.n_failed + job.n_cancelled AS is_told
""")
_BEGIN_SAMPLES = text("""
    UPDATE job
    SET mark_at = now(), mark_ended = n_done + n_no_face + n_failed + n_cancelled,
        before_at = now(), before_ended = n_done + n_no_face + n_failed + n_cancelled
    WHERE id = :job_id
""")


def count_ended(
    session: Session,
    job_id: uuid.UUID,
    *,
    done: int = 0,
    no_face: int = 0,
    failed: int = 0,
    cancelled: int = 0,
) -> None:
    """Adds items that have ended to their job's counters, and moves the samples of its rate.

    Where a sample is due, whoever wants to hear of the job's progress does, unless this is its end.
    """
    ended = {"done": done, "no_face": no_face, "failed": failed, "cancelled": cancelled}
    if not (more := sum(ended.values())):
        return
    counted = {"job_id": job_id, "age": SAMPLE_AGE, "more": more, **ended}
    if session.scalars(_COUNT, counted).one_or_none():
        job_progressed(session, job_id)


def begin_samples(session: Session, job_id: uuid.UUID) -> None:
    """Begins the rate anew: what was before, a pause say, is no part of it."""
    session.execute(_BEGIN_SAMPLES, {"job_id": job_id})


def finish_if_complete(session: Session, job_ids: Sequence[uuid.UUID]) -> None:
    """Ends those of the jobs that are sealed, whose sources are listed and whose photos have ended.

    Each is ended once in its round, with its event.
    """
    for row in session.execute(_FINISH, {"job_ids": job_ids}).all():
        if job_ended(session, JobThen(**{name: getattr(row, name) for name in _TOLD})):
            nudge.notify_events(session)
    session.flush()


def _end_state() -> Case[str]:
    source_failed = (
        select(Source.id)
        .where(Source.job_id == Job.id, Source.state == SourceState.FAILED)
        .exists()
    )
    return case(
        (Job.cancel_requested_at.is_not(None), literal(JobState.CANCELLED.value)),
        ((Job.n_items == 0) & source_failed, literal(JobState.FAILED.value)),
        ((Job.n_items > 0) & (Job.n_failed == Job.n_items), literal(JobState.FAILED.value)),
        ((Job.n_failed > 0) | source_failed, literal(JobState.PARTIALLY_FAILED.value)),
        else_=literal(JobState.SUCCEEDED.value),
    )


_TOLD = [one.name for one in fields(JobThen)]
"""What a job's last event tells of it."""
_FINISH = (
    update(Job)
    .where(
        Job.id.in_(bindparam("job_ids", expanding=True)),
        Job.state.in_(OPEN_JOB_STATES),
        Job.sealed_at.is_not(None),
        Job.n_sources_open == 0,
        Job.n_items == Job.n_done + Job.n_no_face + Job.n_failed + Job.n_cancelled,
    )
    .values(state=_end_state(), finished_at=func.now(), paused_at=None)
    .returning(
        Job.id.label("job_id"),
        *(getattr(Job, name) for name in _TOLD if name != "job_id"),
        nudge.notifying_ended(Job.id),
    )
    .execution_options(synchronize_session=False)
)
"""Made once: most jobs are of few photos, and making it takes as long as running it."""
