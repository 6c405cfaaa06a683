"""Jobs: making one, closing it for further photos, reading where it stands."""

import uuid
from dataclasses import fields
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, array
from sqlalchemy.orm import Session

from db.errors import EmptyJobError, GalleriesDifferError, JobNotFoundError
from db.galleries import gallery_models
from db.ids import new_id
from db.models import Item, Job, JobGallery, Model, Source
from db.prepared import Prepared
from db.progress import finish_if_complete
from db.states import ItemState, JobKind, JobPriority, SourceState
from db.subjects import require_subjects
from db.tallies import count_subjects
from db.tenants import ensure_model
from db.views import JobView, NewJob
from db.webhooks.endpoints import require_signable
from pipeline.specs import DEFAULT_ENGINE, EngineSpec, engine_spec
from pipeline.thresholds import Threshold, decided

GIVE_WAY_MS = 300
"""A third of the time after which PostgreSQL looks for deadlocks."""


def create_job(session: Session, tenant_id: int, new: NewJob) -> uuid.UUID:
    """Makes an open job without photos, and sets its threshold for good.

    Raises `GalleryNotFoundError`, `GalleriesDifferError`, `SubjectNotFoundError`,
    `EngineUnknownError`, `ThresholdRangeError`, `TargetUnknownError`; `CallbackSecretMissingError`
    where its callback could not be signed.
    """
    require_signable(session, tenant_id, new.callback_url)
    model_id, spec = model_of(session, tenant_id, new)
    if new.subject_id is not None:
        require_subjects(session, tenant_id, new.gallery_id, {new.subject_id})
    threshold = threshold_of(session, tenant_id, new, spec)
    job = Job(
        id=new_id(),
        tenant_id=tenant_id,
        kind=new.kind,
        priority=new.priority,
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
        callback_url=new.callback_url,
        is_quiet=new.keep_for is not None,
    )
    session.add(job)
    session.flush()
    session.add_all(
        JobGallery(job_id=job.id, gallery_id=gallery_id, tenant_id=tenant_id)
        for gallery_id in new.further_gallery_ids
    )
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


def get_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> JobView:
    """The job with its counts; raises `JobNotFoundError`."""
    row = ONE_JOB.execute(session, {"tenant_id": tenant_id, "job_id": job_id}).one_or_none()
    if row is None:
        raise JobNotFoundError("there is no such job")
    return _view(row)


def list_jobs(
    session: Session, tenant_id: int, *, before: uuid.UUID | None = None, limit: int = 100
) -> list[JobView]:
    """Jobs, the latest first, those older than `before`, at most `limit`."""
    query = _JOBS.order_by(Job.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Job.id < before)
    return [_view(row) for row in session.execute(query, {"tenant_id": tenant_id})]


def _view(row: Row[*tuple[Any, ...]]) -> JobView:
    values = dict(row._mapping)
    values["priority"] = JobPriority(values["priority"])
    under_way = row.n_items - row.n_done - row.n_no_face - row.n_failed - row.n_cancelled
    values["n_queued"] = under_way - row.n_running
    values["further_gallery_ids"] = tuple(values["further_gallery_ids"] or ())
    values["source_error"] = values["source_error"] and tuple(values["source_error"])
    return JobView(**values)


def model_of(session: Session, tenant_id: int, new: NewJob) -> tuple[int, EngineSpec]:
    """The id of the job's model, and its engine; raises what `engine_of` raises."""
    model_id, spec = engine_of(session, tenant_id, new)
    return ensure_model(session, spec) if model_id is None else model_id, spec


def engine_of(session: Session, tenant_id: int, new: NewJob) -> tuple[int | None, EngineSpec]:
    """The job's engine, and the id of its galleries' model; None without a gallery.

    Raises `GalleryNotFoundError`, `GalleriesDifferError`, `EngineUnknownError`.
    """
    if new.gallery_id is None:
        return None, engine_spec(new.engine) if new.engine else DEFAULT_ENGINE
    wanted = {new.gallery_id, *new.further_gallery_ids}
    models = gallery_models(session, tenant_id, wanted)
    if len(set(models.values())) > 1:
        raise GalleriesDifferError(
            "the galleries are of several engines, or versions of one, whose distances cannot "
            "be compared; submit a job for each"
        )
    model_id, engine = models[new.gallery_id]
    return model_id, engine_spec(engine)


def threshold_of(session: Session, tenant_id: int, new: NewJob, spec: EngineSpec) -> Threshold:
    """The job's threshold; an identification's follows from how many subjects there are now.

    Those without a template count as well: they may get one before the photos are searched.
    """
    subjects = None
    if new.kind is JobKind.IDENTIFY and new.gallery_id is not None:
        galleries = (new.gallery_id, *new.further_gallery_ids)
        subjects = count_subjects(session, tenant_id, galleries)
    return decided(spec, new.threshold, subjects=subjects)


def lock_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> Job:
    """The job, locked until the commit: nobody adds photos to it or ends it meanwhile.

    Raises `JobNotFoundError`.
    """
    query = select(Job).where(Job.tenant_id == tenant_id, Job.id == job_id, is_kept())
    job = session.scalars(
        query.with_for_update(key_share=True).execution_options(populate_existing=True)
    ).one_or_none()
    if job is None:
        raise JobNotFoundError("there is no such job")
    return job


def hold_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> JobView:
    """The job as it stands, which nobody changes before the commit; raises `JobNotFoundError`.

    All others lock a job's items before it. So whoever goes on to lock those gives way: a wait
    for them is given up before the server would look for a ring, and end somebody else.
    """
    lock_job(session, tenant_id, job_id)
    session.execute(text(f"SET LOCAL lock_timeout = {GIVE_WAY_MS}"))
    return get_job(session, tenant_id, job_id)


def is_kept() -> ColumnElement[bool]:
    """Of a job that is not being deleted, bit by bit: for its owner such a one is gone."""
    return or_(Job.delete_after.is_(None), Job.delete_after > func.now())


def _literal(state: StrEnum) -> ColumnElement[str]:
    """A state that stands in the statement itself."""
    return literal_column(f"'{state.value}'")


_RUNNING = (
    select(func.count())
    .where(Item.job_id == Job.id, Item.state == _literal(ItemState.RUNNING))
    .scalar_subquery()
)
_FURTHER_GALLERIES = (
    select(func.array_agg(aggregate_order_by(JobGallery.gallery_id, JobGallery.gallery_id)))
    .where(JobGallery.job_id == Job.id)
    .scalar_subquery()
)
_SOURCE_ERROR = (
    select(array([Source.error_code, Source.error_detail]))
    .where(Source.job_id == Job.id, Source.state == _literal(SourceState.FAILED))
    .order_by(Source.id)
    .limit(literal_column("1"))
    .scalar_subquery()
)
_AS_THEY_ARE = sorted(
    {one.name for one in fields(JobView)} & {column.key for column in Job.__table__.columns}
)
"""The members of a job's view that are columns of its table."""


_JOBS = (
    select(
        *(getattr(Job, name) for name in _AS_THEY_ARE),
        Model.engine,
        Model.version.label("engine_version"),
        _FURTHER_GALLERIES.label("further_gallery_ids"),
        _SOURCE_ERROR.label("source_error"),
        func.now().label("read_at"),
        _RUNNING.label("n_running"),
    )
    .join(Model, Model.id == Job.model_id)
    .where(Job.tenant_id == bindparam("tenant_id"), is_kept())
)
ONE_JOB = Prepared.of(
    "facebatch_job",
    _JOBS.where(Job.id == bindparam("job_id")),
    {"tenant_id": "bigint", "job_id": "uuid"},
)
"""Clients that poll ask for it all the time."""
