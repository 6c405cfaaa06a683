"""Accepting: photos on their way into an open job."""

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import nudge
from db.errors import (
    DuplicateItemError,
    JobSealedError,
    SubjectNotAllowedError,
    SubjectRequiredError,
)
from db.ids import new_id
from db.jobs import lock_job
from db.models import DoomedObject, Item, Job, Photo
from db.moving import move_in
from db.states import OPEN_JOB_STATES, ItemState, JobKind, JobPriority
from db.subjects import require_subjects
from db.views import NewItem, NewJob


def add_items(session: Session, tenant_id: int, job_id: uuid.UUID, items: Sequence[NewItem]) -> int:
    """Adds photos to an open job and returns how many are new.

    A photo whose `client_id` the job has already is no new one; with other bytes it raises
    `DuplicateItemError`. Raises `JobNotFoundError`, `JobSealedError`, `SubjectNotFoundError`;
    `SubjectRequiredError` where a photo is to be enrolled for nobody; `SubjectNotAllowedError`
    where it names a subject that its job is not about.
    Objects that turn out not to be needed are doomed in the same transaction.
    """
    job = lock_open_job(session, tenant_id, job_id)
    # One that makes its subject is of somebody who has no id yet.
    check_who(job, (one.subject_id for one in items if one.new_subject is None))
    # Photos before subjects, as workers lock them when they record.
    photos = _photo_ids(session, tenant_id, items)
    wanted = {item.subject_id for item in items if item.subject_id is not None}
    require_subjects(session, tenant_id, job.gallery_id, wanted)
    added = _new_items(session, job, items, photos)
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
    nudge.notify(session, urgent=job.priority == JobPriority.INTERACTIVE)
    return len(added)


def lock_open_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> Job:
    """A job that takes photos, locked; raises `JobNotFoundError`, `JobSealedError`."""
    job = lock_job(session, tenant_id, job_id)
    if (
        job.sealed_at is not None
        or job.cancel_requested_at is not None
        or job.state not in OPEN_JOB_STATES
    ):
        raise JobSealedError("the job takes no further photos; submit a new job")
    return job


def add_known_items(
    session: Session, tenant_id: int, job_id: uuid.UUID, items: Sequence[NewItem]
) -> list[NewItem]:
    """Adds those of the photos whose bytes lie with us; returns the others, to be sent.

    Raises what `add_items` raises.
    """
    # The job before the photos, as whoever deletes a job with its photos locks them.
    lock_job(session, tenant_id, job_id)
    held = hold_known_photos(session, tenant_id, items)
    # What we have only read in a bucket with a name is its owner's, and may be gone.
    foreign = select(Photo.sha256).where(
        Photo.tenant_id == tenant_id, Photo.sha256.in_(held), Photo.bucket.is_not(None)
    )
    known = held.difference(session.scalars(foreign))
    add_items(session, tenant_id, job_id, [item for item in items if item.sha256 in known])
    return [item for item in items if item.sha256 not in known]


def hold_known_photos(session: Session, tenant_id: int, items: Sequence[NewItem]) -> set[bytes]:
    """The hashes of those photos that the tenant has; none is deleted before the commit.

    Whoever makes a job with photos calls this first: the job holds its gallery and its subject,
    and all others lock photos before those.
    """
    return {*_known_photos(session, tenant_id, {one.sha256 for one in items if one.sha256})}


def check_who(job: Job | NewJob, subject_ids: Iterable[uuid.UUID | None]) -> None:
    """That photos of these subjects, or of none, are of somebody whom the job is about.

    Raises `SubjectNotAllowedError` and `SubjectRequiredError`.
    """
    wanted = set(subject_ids)
    if wanted - {None, job.subject_id} and (
        job.kind is not JobKind.ENROL or job.subject_id is not None
    ):
        raise SubjectNotAllowedError(
            "photos name a subject only in a job that enrols and names none itself; leave it out"
        )
    if job.kind is JobKind.ENROL and job.subject_id is None and None in wanted:
        raise SubjectRequiredError("name the subject for whom the photo is to be enrolled")


def _photo_ids(
    session: Session, tenant_id: int, items: Sequence[NewItem]
) -> dict[bytes, uuid.UUID]:
    """Rows for the stored photos: those of bytes that we know already keep their old one.

    Where that lies in a bucket with a name, it moves to the object that was sent. An object that
    was sent once more is doomed.
    """
    stored = [item for item in items if item.object_key is not None]
    first = {item.sha256: item for item in reversed(stored) if item.sha256 is not None}
    fresh = _insert_photos(session, tenant_id, [first[sha256] for sha256 in sorted(first)])
    wanted = {item.sha256 for item in items if item.sha256 is not None}
    known = _known_photos(session, tenant_id, wanted - fresh.keys())
    needed = {first[sha256].object_key for sha256 in fresh}
    objects = {known[sha256]: one.object_key for sha256, one in first.items() if sha256 in known}
    needed |= move_in(session, {one: key for one, key in objects.items() if key is not None})
    doomed = [
        {"object_key": item.object_key, "tenant_id": tenant_id}
        for item in stored
        if item.object_key not in needed
    ]
    if doomed:
        session.execute(insert(DoomedObject).on_conflict_do_nothing(), doomed)
    return fresh | known


def _insert_photos(
    session: Session, tenant_id: int, items: Sequence[NewItem]
) -> dict[bytes, uuid.UUID]:
    """The new photos' ids by their hashes, without those whose bytes the tenant has already.

    The items come in order of the hash, so that two submissions of the same photos do not wait in
    a ring.
    """
    if not items:
        return {}
    rows = [
        {
            "id": new_id(),
            "tenant_id": tenant_id,
            "sha256": item.sha256,
            "size_bytes": item.size_bytes,
            "object_key": item.object_key,
        }
        for item in items
    ]
    statement = insert(Photo).values(rows)
    made = session.execute(
        statement.on_conflict_do_nothing(index_elements=["tenant_id", "sha256"]).returning(
            Photo.sha256, Photo.id
        )
    )
    return {sha256: photo_id for sha256, photo_id in made if sha256 is not None}


def _known_photos(session: Session, tenant_id: int, hashes: set[bytes]) -> dict[bytes, uuid.UUID]:
    """The ids of the tenant's photos of these hashes; none is deleted before the commit."""
    if not hashes:
        return {}
    query = (
        select(Photo.sha256, Photo.id)
        .where(Photo.tenant_id == tenant_id, Photo.sha256.in_(hashes))
        # In order, as whoever deletes them locks them.
        .order_by(Photo.id)
        .with_for_update(read=True, key_share=True)
    )
    rows = session.execute(query)
    return {sha256: photo_id for sha256, photo_id in rows if sha256 is not None}


def _new_items(
    session: Session, job: Job, items: Sequence[NewItem], photos: dict[bytes, uuid.UUID]
) -> list[NewItem]:
    """Those of the items that the job does not have; raises `DuplicateItemError`.

    The job is locked, so nobody adds any meanwhile. Its items are read and not locked: a worker
    that is claiming some holds them and waits for the job.
    """
    wanted = {item.client_id for item in items if item.client_id is not None}
    rows = session.execute(
        select(Item.client_id, Item.photo_id, Item.error_code).where(
            Item.tenant_id == job.tenant_id, Item.job_id == job.id, Item.client_id.in_(wanted)
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
