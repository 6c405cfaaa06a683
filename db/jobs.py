"""Jobs: making one, reading where it stands, ending it."""

import contextlib
import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, case, exists, func, literal, or_, select, update
from sqlalchemy.orm import Session

from db.errors import EmptyJobError, JobNotFoundError
from db.galleries import gallery_model
from db.ids import new_id
from db.models import Event, Item, Job, Model, Source
from db.source_ends import cancel_sources
from db.states import (
    OPEN_ITEM_STATES,
    OPEN_JOB_STATES,
    ItemState,
    JobKind,
    JobState,
    SourceState,
)
from db.subjects import count_subjects, require_subjects
from db.tenants import ensure_model
from db.views import JobView, NewJob
from pipeline.specs import DEFAULT_ENGINE, EngineSpec, engine_spec
from pipeline.thresholds import Threshold, decided

COMPLETED = "job.completed"
"""The event that a job has ended, in whichever way."""


def create_job(session: Session, tenant_id: int, new: NewJob) -> uuid.UUID:
    """Makes an open job without photos, and sets its threshold for good.

    Raises `GalleryNotFoundError`, `SubjectNotFoundError`, `EngineUnknownError`,
    `ThresholdRangeError` and `TargetUnknownError`.
    """
    model_id, spec = _model_of(session, tenant_id, new)
    if new.subject_id is not None:
        require_subjects(session, tenant_id, new.gallery_id, {new.subject_id})
    threshold = _threshold(session, tenant_id, new, spec)
    job = Job(
        id=new_id(),
        tenant_id=tenant_id,
        kind=new.kind,
        model_id=model_id,
        gallery_id=new.gallery_id,
        subject_id=new.subject_id,
        threshold_distance=threshold.distance,
        target_fmr=threshold.target_fmr,
        target_fpir=threshold.target_fpir,
        gallery_subjects=threshold.subjects,
        top_k=new.top_k,
        multiple_faces=new.multiple_faces,
        min_face_px=new.limits.min_face_px,
        min_quality=new.limits.min_quality,
        delete_after=None if new.keep_for is None else func.now() + new.keep_for,
    )
    session.add(job)
    session.flush()
    return job.id


def seal_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> None:
    """Says that no further photos come; sealing twice is no error. Raises `EmptyJobError`."""
    job = lock_job(session, tenant_id, job_id)
    if job.sealed_at is not None:
        return
    if job.n_items == 0 and not _has_sources(session, job_id):
        raise EmptyJobError("the job has no photos; add some before you seal it")
    session.execute(update(Job).where(Job.id == job.id).values(sealed_at=func.now()))
    finish_if_complete(session, [job.id])


def _has_sources(session: Session, job_id: uuid.UUID) -> bool:
    return bool(session.scalar(select(exists().where(Source.job_id == job_id))))


def cancel_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> bool:
    """Ends the job now; photos that have ended keep their results. False where it had ended."""
    get_job(session, tenant_id, job_id)
    # Items before their job: the same order in which workers lock, so that nobody waits in a ring.
    cancelled = _cancel_items(session, job_id)
    ended = session.scalars(
        update(Job)
        .where(Job.id == job_id, Job.state.in_(OPEN_JOB_STATES))
        .values(
            state=JobState.CANCELLED,
            sealed_at=func.coalesce(Job.sealed_at, func.now()),
            finished_at=func.now(),
        )
        .returning(Job.id)
    ).all()
    # Those that were added before the job was locked; from here on none is.
    cancelled += _cancel_items(session, job_id)
    cancel_sources(session, job_id)
    session.execute(
        update(Job).where(Job.id == job_id).values(n_cancelled=Job.n_cancelled + cancelled)
    )
    _write_completion(session, tenant_id, ended)
    return bool(ended)


def _cancel_items(session: Session, job_id: uuid.UUID) -> int:
    open_items = select(Item.id).where(Item.job_id == job_id, Item.state.in_(OPEN_ITEM_STATES))
    ids = session.scalars(open_items.order_by(Item.id).with_for_update()).all()
    cancelled = session.scalars(
        update(Item)
        .where(Item.id.in_(ids))
        .values(state=ItemState.CANCELLED, lease_until=None, finished_at=func.now())
        .returning(Item.id)
    ).all()
    return len(cancelled)


def get_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> JobView:
    """The job with its counts; raises `JobNotFoundError`."""
    row = session.execute(_jobs(tenant_id).where(Job.id == job_id)).one_or_none()
    if row is None:
        raise JobNotFoundError("there is no such job")
    return JobView(**row._mapping)


def list_jobs(
    session: Session, tenant_id: int, *, before: uuid.UUID | None = None, limit: int = 100
) -> list[JobView]:
    """Jobs, the latest first, those older than `before`, at most `limit`."""
    query = _jobs(tenant_id).order_by(Job.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Job.id < before)
    return [JobView(**row._mapping) for row in session.execute(query)]


def finish_if_complete(session: Session, job_ids: Sequence[uuid.UUID]) -> None:
    """Ends those of the jobs that are sealed, listed and done with all photos, each once.

    One of whose sources failed has not succeeded, and failed where it has no photos.
    """
    short_of_photos = exists().where(Source.job_id == Job.id, Source.state == SourceState.FAILED)
    statement = (
        update(Job)
        .where(
            Job.id.in_(job_ids),
            Job.state.in_(OPEN_JOB_STATES),
            Job.sealed_at.is_not(None),
            Job.n_sources_open == 0,
            Job.n_items == Job.n_done + Job.n_no_face + Job.n_failed + Job.n_cancelled,
        )
        .values(
            state=case(
                (Job.n_failed == Job.n_items, literal(JobState.FAILED.value)),
                (
                    or_(Job.n_failed > 0, short_of_photos),
                    literal(JobState.PARTIALLY_FAILED.value),
                ),
                else_=literal(JobState.SUCCEEDED.value),
            ),
            finished_at=func.now(),
        )
        .returning(Job.tenant_id, Job.id)
    )
    for tenant_id, job_id in session.execute(statement).all():
        _write_completion(session, tenant_id, [job_id])


def cancel_abandoned(session: Session, older_than: dt.timedelta) -> list[uuid.UUID]:
    """Cancels jobs that were never sealed and got no photo for so long; returns their ids."""
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
            if cancel_job(session, tenant_id, job_id):
                cancelled.append(job_id)
    return cancelled


def _write_completion(session: Session, tenant_id: int, job_ids: Sequence[uuid.UUID]) -> None:
    for job_id in job_ids:
        session.add(Event(id=new_id(), tenant_id=tenant_id, job_id=job_id, type=COMPLETED))
    session.flush()


def _model_of(session: Session, tenant_id: int, new: NewJob) -> tuple[int, EngineSpec]:
    if new.gallery_id is None:
        spec = engine_spec(new.engine) if new.engine else DEFAULT_ENGINE
        return ensure_model(session, spec), spec
    model_id = gallery_model(session, tenant_id, new.gallery_id)
    engine = session.scalars(select(Model.engine).where(Model.id == model_id)).one()
    return model_id, engine_spec(engine)


def _threshold(session: Session, tenant_id: int, new: NewJob, spec: EngineSpec) -> Threshold:
    """The job's threshold; an identification's follows from how many subjects there are now.

    Those without a template count as well: they may get one before the photos are searched.
    """
    subjects = None
    if new.kind is JobKind.IDENTIFY and new.gallery_id is not None:
        subjects = count_subjects(session, tenant_id, new.gallery_id)
    return decided(spec, new.threshold, subjects=subjects)


def lock_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> Job:
    """The job, locked until the commit: nobody adds photos to it or ends it meanwhile.

    Raises `JobNotFoundError`.
    """
    query = select(Job).where(Job.tenant_id == tenant_id, Job.id == job_id)
    job = session.scalars(
        query.with_for_update(key_share=True).execution_options(populate_existing=True)
    ).one_or_none()
    if job is None:
        raise JobNotFoundError("there is no such job")
    return job


def _jobs(tenant_id: int) -> Select[*tuple[Any, ...]]:
    running = (
        select(func.count())
        .where(Item.job_id == Job.id, Item.state == ItemState.RUNNING)
        .scalar_subquery()
        .label("n_running")
    )
    ended = Job.n_done + Job.n_no_face + Job.n_failed + Job.n_cancelled
    return (
        select(
            Job.id,
            Job.kind,
            Job.state,
            Model.engine,
            Model.version.label("engine_version"),
            Job.gallery_id,
            Job.subject_id,
            Job.threshold_distance,
            Job.target_fmr,
            Job.target_fpir,
            Job.gallery_subjects,
            Job.top_k,
            Job.multiple_faces,
            Job.min_face_px,
            Job.min_quality,
            Job.created_at,
            Job.sealed_at,
            Job.started_at,
            Job.finished_at,
            Job.n_items,
            (Job.n_items - ended - running).label("n_queued"),
            running,
            Job.n_done,
            Job.n_no_face,
            Job.n_failed,
            Job.n_cancelled,
        )
        .join(Model, Model.id == Job.model_id)
        .where(Job.tenant_id == tenant_id)
    )
