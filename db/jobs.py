"""Jobs: accepting photos into the ledger, reading where a job stands, ending it."""

import contextlib
import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, case, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import nudge
from db.errors import (
    DuplicateItemError,
    EmptyJobError,
    JobNotFoundError,
    JobSealedError,
    SubjectNotAllowedError,
    SubjectNotFoundError,
    SubjectRequiredError,
)
from db.galleries import gallery_model
from db.ids import new_id
from db.models import (
    OPEN_ITEM_STATES,
    OPEN_JOB_STATES,
    DoomedObject,
    Event,
    Item,
    ItemState,
    Job,
    JobKind,
    JobState,
    Model,
    Photo,
    Subject,
)
from db.subjects import count_subjects
from db.tenants import ensure_model
from db.views import JobView, NewItem, NewJob
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
        _require_subjects(session, tenant_id, new.gallery_id, {new.subject_id})
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


def add_items(session: Session, tenant_id: int, job_id: uuid.UUID, items: Sequence[NewItem]) -> int:
    """Adds photos to an open job and returns how many are new.

    A photo whose `client_id` the job has already is no new one; with other bytes it raises
    `DuplicateItemError`. Raises `JobNotFoundError`, `JobSealedError`, `SubjectNotFoundError`;
    `SubjectRequiredError` where a photo is to be enrolled for nobody; `SubjectNotAllowedError`
    where it names a subject that its job is not about.
    Objects that turn out not to be needed are doomed in the same transaction.
    """
    job = _lock_job(session, tenant_id, job_id)
    if job.sealed_at is not None or job.state not in OPEN_JOB_STATES:
        raise JobSealedError("the job takes no further photos; submit a new job")
    _check_who(job, items)
    # Photos before subjects, as workers lock them when they record.
    photos = _photo_ids(session, tenant_id, items)
    wanted = {item.subject_id for item in items if item.subject_id is not None}
    _require_subjects(session, tenant_id, job.gallery_id, wanted)
    added = _new_items(session, job.id, items, photos)
    _insert_items(session, job, added, photos)
    failed = sum(item.error_code is not None for item in added)
    session.execute(
        update(Job)
        .where(Job.id == job.id)
        .values(
            n_items=Job.n_items + len(added),
            n_failed=Job.n_failed + failed,
            changed_at=func.now(),
        )
    )
    nudge.notify(session)
    return len(added)


def add_known_items(
    session: Session, tenant_id: int, job_id: uuid.UUID, items: Sequence[NewItem]
) -> list[NewItem]:
    """Adds those of the photos whose bytes the tenant has; returns the others, to be sent.

    Raises what `add_items` raises.
    """
    # The job before the photos, as whoever deletes a job with its photos locks them.
    _lock_job(session, tenant_id, job_id)
    known = hold_known_photos(session, tenant_id, items)
    add_items(session, tenant_id, job_id, [item for item in items if item.sha256 in known])
    return [item for item in items if item.sha256 not in known]


def hold_known_photos(session: Session, tenant_id: int, items: Sequence[NewItem]) -> set[bytes]:
    """The hashes of those photos that the tenant has; none is deleted before the commit.

    Whoever makes a job with photos calls this first: the job holds its gallery and its subject,
    and all others lock photos before those.
    """
    query = (
        select(Photo.sha256)
        .where(Photo.tenant_id == tenant_id, Photo.sha256.in_({item.sha256 for item in items}))
        # In order, as whoever deletes them locks them.
        .order_by(Photo.id)
    )
    return set(session.scalars(query.with_for_update(read=True, key_share=True)))


def seal_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> None:
    """Says that no further photos come; sealing twice is no error. Raises `EmptyJobError`."""
    job = _lock_job(session, tenant_id, job_id)
    if job.sealed_at is not None:
        return
    if job.n_items == 0:
        raise EmptyJobError("the job has no photos; add some before you seal it")
    session.execute(update(Job).where(Job.id == job.id).values(sealed_at=func.now()))
    finish_if_complete(session, [job.id])


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
    """Ends those of the jobs that are sealed and whose photos have all ended, each once."""
    statement = (
        update(Job)
        .where(
            Job.id.in_(job_ids),
            Job.state.in_(OPEN_JOB_STATES),
            Job.sealed_at.is_not(None),
            Job.n_items == Job.n_done + Job.n_no_face + Job.n_failed + Job.n_cancelled,
        )
        .values(
            state=case(
                (Job.n_failed == Job.n_items, literal(JobState.FAILED.value)),
                (Job.n_failed > 0, literal(JobState.PARTIALLY_FAILED.value)),
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


def _check_who(job: Job, items: Sequence[NewItem]) -> None:
    """That each photo is enrolled for somebody, and names nobody but whom its job is about."""
    named = {item.subject_id for item in items} - {None, job.subject_id}
    if named and (job.kind is not JobKind.ENROL or job.subject_id is not None):
        raise SubjectNotAllowedError(
            "photos name a subject only in a job that enrols and names none itself; leave it out"
        )
    if job.kind is JobKind.ENROL and job.subject_id is None:
        _require_someone(items)


def _require_someone(items: Sequence[NewItem]) -> None:
    if any(item.subject_id is None and item.new_subject is None for item in items):
        raise SubjectRequiredError("name the subject for whom the photo is to be enrolled")


def _require_subjects(
    session: Session, tenant_id: int, gallery_id: uuid.UUID | None, wanted: set[uuid.UUID]
) -> None:
    if not wanted:
        return
    # KEY SHARE: they may be renamed meanwhile, not deleted.
    query = select(Subject.id).where(
        Subject.tenant_id == tenant_id, Subject.gallery_id == gallery_id, Subject.id.in_(wanted)
    )
    if len(session.scalars(query.with_for_update(read=True, key_share=True)).all()) < len(wanted):
        raise SubjectNotFoundError("there is no such subject in the gallery")


def _lock_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> Job:
    query = select(Job).where(Job.tenant_id == tenant_id, Job.id == job_id)
    job = session.scalars(
        query.with_for_update(key_share=True).execution_options(populate_existing=True)
    ).one_or_none()
    if job is None:
        raise JobNotFoundError("there is no such job")
    return job


def _photo_ids(
    session: Session, tenant_id: int, items: Sequence[NewItem]
) -> dict[bytes, uuid.UUID]:
    """Rows for the stored photos: those of bytes that we know already keep their old one."""
    photos: dict[bytes, uuid.UUID] = {}
    # In order of the hash, so that two submissions of the same photos do not wait in a ring.
    for item in sorted(items, key=lambda item: item.sha256 or b""):
        if item.sha256 is None:
            continue
        made = None if item.object_key is None else _insert_photo(session, tenant_id, item)
        if made is None:
            made = _known_photo(session, tenant_id, item)
        photos[item.sha256] = made
    session.flush()
    return photos


def _insert_photo(session: Session, tenant_id: int, item: NewItem) -> uuid.UUID | None:
    """The new photo's id; None where the tenant has these bytes already."""
    return session.scalars(
        insert(Photo)
        .values(
            id=new_id(),
            tenant_id=tenant_id,
            sha256=item.sha256,
            size_bytes=item.size_bytes,
            object_key=item.object_key,
        )
        .on_conflict_do_nothing(index_elements=["tenant_id", "sha256"])
        .returning(Photo.id)
    ).one_or_none()


def _known_photo(session: Session, tenant_id: int, item: NewItem) -> uuid.UUID:
    """The id of the photo with these bytes; an object that was sent once more is doomed."""
    if item.object_key is not None:
        session.add(DoomedObject(object_key=item.object_key, tenant_id=tenant_id))
    query = select(Photo.id).where(Photo.tenant_id == tenant_id, Photo.sha256 == item.sha256)
    return session.scalars(query.with_for_update(read=True, key_share=True)).one()


def _new_items(
    session: Session, job_id: uuid.UUID, items: Sequence[NewItem], photos: dict[bytes, uuid.UUID]
) -> list[NewItem]:
    """Those of the items that the job does not have; raises `DuplicateItemError`.

    The job is locked, so nobody adds any meanwhile. Its items are read and not locked: a worker
    that is claiming some holds them and waits for the job.
    """
    wanted = {item.client_id for item in items if item.client_id is not None}
    rows = session.execute(
        select(Item.client_id, Item.photo_id, Item.error_code).where(
            Item.job_id == job_id, Item.client_id.in_(wanted)
        )
    )
    # What an item was made of: its photo, or the error with which it was refused. The error that
    # a photo got since from a worker does not count, or one sent twice would not be the same.
    known = {row.client_id: row.photo_id or row.error_code for row in rows}
    new = []
    for item in items:
        content = _photo_of(item, photos) or item.error_code
        if item.client_id is None or item.client_id not in known:
            new.append(item)
        elif known[item.client_id] not in {None, content}:  # None: its photo was deleted.
            raise DuplicateItemError(
                "the job has another photo under this id; give each photo an id of its own"
            )
        if item.client_id is not None:
            known[item.client_id] = content
    return new


def _photo_of(item: NewItem, photos: dict[bytes, uuid.UUID]) -> uuid.UUID | None:
    return None if item.sha256 is None else photos[item.sha256]


def _insert_items(
    session: Session, job: Job, items: Sequence[NewItem], photos: dict[bytes, uuid.UUID]
) -> None:
    if not items:
        return
    rows = [
        {
            "tenant_id": job.tenant_id,
            "job_id": job.id,
            "photo_id": _photo_of(item, photos),
            "name": item.name,
            "client_id": item.client_id,
            "subject_id": item.subject_id or (None if item.new_subject else job.subject_id),
            "new_subject": item.new_subject,
            "state": ItemState.FAILED if item.error_code else ItemState.QUEUED,
            "error_code": item.error_code,
            "error_detail": item.error_detail,
            "finished_at": dt.datetime.now(dt.UTC) if item.error_code else None,
        }
        for item in items
    ]
    session.execute(insert(Item), rows)


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
