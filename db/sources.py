"""Sources of a job: many photos at once. Adding them, and reading how far they are listed."""

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import nudge
from db.accept import check_who, lock_open_job
from db.errors import (
    JobNotFoundError,
    JobUnfinishedError,
    SubjectNotAllowedError,
    UploadNotFoundError,
)
from db.ids import new_id
from db.jobs import is_kept
from db.models import Archive, DoomedObject, Job, Source
from db.states import OPEN_JOB_STATES, OPEN_SOURCE_STATES, SourceKind, SourceState
from db.uploaded import going
from db.uploads import expect_less, hold_upload


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSource:
    """What is to be listed. The caller has seen to it that the tenant may name it."""

    kind: SourceKind
    bucket: str | None = None
    """None: the zip or the manifest was sent to us."""
    object_key: str | None = None
    archive: "NewArchive | None" = None
    from_job_id: uuid.UUID | None = None
    upload_id: uuid.UUID | None = None
    """Of the client's, by which the zip or the manifest was sent past us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewArchive:
    """A zip that was sent to us."""

    object_key: str
    size_bytes: int
    sha256: bytes | None = None
    """None where it was sent past us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """A source, and how far it is listed."""

    id: uuid.UUID
    kind: SourceKind
    state: SourceState
    bucket: str | None
    object_key: str | None
    from_job_id: uuid.UUID | None
    n_items: int
    n_skipped: int
    error_code: str | None
    error_detail: str | None
    created_at: dt.datetime
    finished_at: dt.datetime | None


def add_source(
    session: Session,
    tenant_id: int,
    job_id: uuid.UUID,
    new: NewSource,
    *,
    subject_id: uuid.UUID | None = None,
) -> uuid.UUID:
    """Adds a source to an open job, to be listed soon; returns its id.

    One that the job has already is not added again: an archive of the same bytes, or whatever is
    still to be listed. Nor is a file that was sent to us, once more.
    Raises `JobNotFoundError`, for the other job of a source too, `JobSealedError`;
    `SubjectNotAllowedError` where a `subject_id` is named that is not the job's own,
    `SubjectRequiredError` where photos are to be enrolled and the job names nobody;
    `JobUnfinishedError` where the other job has not ended, `UploadNotFoundError`.
    """
    job = lock_open_job(session, tenant_id, job_id)
    # A source enrols all of its photos for the job's subject.
    if subject_id not in {None, job.subject_id}:
        raise SubjectNotAllowedError(
            "photos of a zip are enrolled for the subject that the job itself names; leave it out "
            "here, and name it in the job"
        )
    check_who(job, [None])
    if new.upload_id is not None:
        hold_upload(session, tenant_id, new.upload_id)
    if new.from_job_id is not None:
        _require_finished(session, tenant_id, new.from_job_id)
    known = _known_source(session, job, new)
    if known is not None:
        return known
    if new.upload_id is not None and new.object_key and going(session, [new.object_key]):
        raise UploadNotFoundError("the upload's file was listed and is not kept; send it again")
    return _insert_source(session, job, new)


def get_source(
    session: Session, tenant_id: int, job_id: uuid.UUID, source_id: uuid.UUID
) -> SourceView:
    """A source that was just added."""
    query = _sources(tenant_id, job_id).where(Source.id == source_id)
    return SourceView(**session.execute(query).one()._mapping)


def list_sources(
    session: Session,
    tenant_id: int,
    job_id: uuid.UUID,
    *,
    after: uuid.UUID | None = None,
    limit: int = 100,
) -> list[SourceView]:
    """The job's sources in the order in which they were added, those behind `after`.

    Raises `JobNotFoundError`.
    """
    _require_job(session, tenant_id, job_id)
    query = _sources(tenant_id, job_id).order_by(Source.id).limit(limit)
    if after is not None:
        query = query.where(Source.id > after)
    return [SourceView(**row._mapping) for row in session.execute(query)]


def _known_source(session: Session, job: Job, new: NewSource) -> uuid.UUID | None:
    """The job's source that is the same; an archive that was sent once more is doomed."""
    query = select(Source.id).where(Source.job_id == job.id, Source.kind == new.kind)
    if new.archive is None:
        query = query.where(
            Source.bucket.is_not_distinct_from(new.bucket),
            Source.object_key.is_not_distinct_from(new.object_key),
            Source.from_job_id.is_not_distinct_from(new.from_job_id),
            Source.archive_id.is_(None),
            # A file that was sent to us is the same for good; what lies elsewhere may change.
            Source.state != SourceState.FAILED
            if new.upload_id is not None
            else Source.state.in_(OPEN_SOURCE_STATES),
        )
    else:
        # Without a hash, only the very same upload is known to be the same.
        alike = (
            Archive.object_key == new.archive.object_key
            if new.archive.sha256 is None
            else or_(
                Archive.object_key == new.archive.object_key,
                Archive.sha256 == new.archive.sha256,
            )
        )
        query = query.join(Archive, Archive.id == Source.archive_id).where(
            Source.state != SourceState.FAILED, alike
        )
    known = session.scalars(query.order_by(Source.id).limit(1)).one_or_none()
    if known is not None and new.archive is not None and new.archive.sha256 is not None:
        session.add(DoomedObject(object_key=new.archive.object_key, tenant_id=job.tenant_id))
    return known


def _insert_source(session: Session, job: Job, new: NewSource) -> uuid.UUID:
    source = Source(
        id=new_id(),
        tenant_id=job.tenant_id,
        job_id=job.id,
        kind=new.kind,
        bucket=new.bucket,
        object_key=new.object_key,
        archive_id=_archive(session, job.tenant_id, new),
        from_job_id=new.from_job_id,
    )
    session.add(source)
    session.flush()
    session.execute(
        update(Job)
        .where(Job.id == job.id)
        .values(n_sources_open=Job.n_sources_open + 1, changed_at=func.now())
    )
    nudge.notify(session)
    return source.id


def _archive(session: Session, tenant_id: int, source: NewSource) -> uuid.UUID | None:
    """The archive's id; one that an upload brought may be another job's already."""
    if (new := source.archive) is None:
        return None
    made = session.scalars(
        insert(Archive)
        .values(
            id=new_id(),
            tenant_id=tenant_id,
            object_key=new.object_key,
            size_bytes=new.size_bytes,
            sha256=new.sha256,
        )
        .on_conflict_do_nothing(index_elements=["object_key"])
        .returning(Archive.id)
    ).one_or_none()
    if made is not None:
        if source.upload_id is not None:
            expect_less(session, source.upload_id, new.size_bytes)
        return made
    known = select(Archive.id).where(
        Archive.tenant_id == tenant_id, Archive.object_key == new.object_key
    )
    held = session.scalars(known.with_for_update(read=True, key_share=True)).one_or_none()
    if held is None:
        # None of its photos was needed any more, at this very moment.
        raise UploadNotFoundError("the upload's archive was deleted; send it again")
    return held


def _require_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> Job:
    query = select(Job).where(Job.tenant_id == tenant_id, Job.id == job_id, is_kept())
    if (job := session.scalars(query).one_or_none()) is None:
        raise JobNotFoundError("there is no such job")
    return job


def _require_finished(session: Session, tenant_id: int, job_id: uuid.UUID) -> None:
    if _require_job(session, tenant_id, job_id).state in OPEN_JOB_STATES:
        raise JobUnfinishedError("the other job has not ended; wait for it, or cancel it")


def _sources(tenant_id: int, job_id: uuid.UUID) -> Select[*tuple[Any, ...]]:
    return select(
        Source.id,
        Source.kind,
        Source.state,
        Source.bucket,
        Source.object_key,
        Source.from_job_id,
        Source.n_items,
        Source.n_skipped,
        Source.error_code,
        Source.error_detail,
        Source.created_at,
        Source.finished_at,
    ).where(Source.tenant_id == tenant_id, Source.job_id == job_id)
