"""Deletion that leaves nothing behind: a subject, a gallery or a job with its photos and faces."""

import contextlib
import datetime as dt
import uuid
from collections.abc import Callable, Iterable, Sequence

from sqlalchemy import ColumnElement, Select, delete, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.archives import archives_with_copies
from db.control import cancel_job
from db.errors import GalleryNotFoundError, JobNotFoundError, SubjectNotFoundError
from db.exports.removal import drop_exports_of_gallery, drop_exports_of_job
from db.models import (
    Archive,
    DoomedObject,
    Embedding,
    Extraction,
    Face,
    Gallery,
    Item,
    Job,
    JobGallery,
    Photo,
    Source,
    Subject,
    Template,
    Upload,
)
from db.progress import count_ended, finish_if_complete
from db.source_ends import end_sources
from db.states import (
    OPEN_ITEM_STATES,
    OPEN_JOB_STATES,
    OPEN_SOURCE_STATES,
    ItemState,
    JobKind,
    SourceState,
)
from db.subjects import get_subject
from db.uploads import REQUEST_AGE

FOLDER = "/"
"""The end of a doomed key that stands for everything below it."""


def delete_subject(
    session: Session,
    tenant_id: int,
    gallery_id: uuid.UUID,
    subject_id: uuid.UUID,
    *,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Deletes the subject, its templates, its place in all results, and its enrolment photos.

    `check` is called once it is locked, and may raise.

    A photo stays where another subject or another job refers to it. Enrolments of the subject
    that are under way are cancelled, and their sources listed no further.
    Raises `SubjectNotFoundError`.
    """
    get_subject(session, tenant_id, gallery_id, subject_id)
    _cancel_enrolments(session, subject_id)
    photos = _templates_photos(session, subject_id) | _photos_of_enrolments(session, subject_id)
    # Photos before the subject: the same order in which all others lock them.
    _lock_photos(session, tenant_id, photos)
    found = select(Subject.id).where(
        Subject.tenant_id == tenant_id,
        Subject.gallery_id == gallery_id,
        Subject.id == subject_id,
    )
    if session.scalars(found.with_for_update()).one_or_none() is None:
        raise SubjectNotFoundError("there is no such subject in the gallery")
    check()
    # What was added before the subject was locked; from here on nothing is.
    _cancel_enrolments(session, subject_id)
    photos |= _templates_photos(session, subject_id) | _release_enrolments(session, subject_id)
    drop_exports_of_gallery(session, gallery_id)
    session.execute(delete(Subject).where(Subject.id == subject_id))
    delete_unused_photos(session, tenant_id, photos)


def delete_gallery(
    session: Session,
    tenant_id: int,
    gallery_id: uuid.UUID,
    *,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Deletes the gallery, its subjects, its jobs and every photo that nothing else refers to.

    Jobs that search other galleries too keep what they have found there. `check` is called once
    it is locked, and may raise.
    Raises `GalleryNotFoundError`.
    """
    _leave_to_others(session, gallery_id)
    photos = _delete_jobs_of(session, tenant_id, gallery_id)
    # The jobs that enrolled them may be long deleted.
    photos |= _photos_of_templates(session, Template.gallery_id == gallery_id)
    # Photos before the gallery: the same order in which all others lock them.
    _lock_photos(session, tenant_id, photos)
    found = select(Gallery.id).where(Gallery.tenant_id == tenant_id, Gallery.id == gallery_id)
    if session.scalars(found.with_for_update()).one_or_none() is None:
        raise GalleryNotFoundError("there is no such gallery")
    check()
    # Jobs that were made before the gallery was locked; from here on none is, and no template.
    _leave_to_others(session, gallery_id)
    photos |= _delete_jobs_of(session, tenant_id, gallery_id)
    photos |= _photos_of_templates(session, Template.gallery_id == gallery_id)
    # Jobs that search it beside another stay, without what they found in it.
    drop_exports_of_gallery(session, gallery_id)
    session.execute(delete(Gallery).where(Gallery.id == gallery_id))
    delete_unused_photos(session, tenant_id, photos)


def delete_job(
    session: Session, tenant_id: int, job_id: uuid.UUID, *, cancelled: bool = False
) -> None:
    """Deletes the job with its results and every photo that nothing else refers to.

    A job that is under way is cancelled first, unless this very transaction has done so. Templates
    that it enrolled stay, with their photos. Raises `JobNotFoundError`.
    """
    photos = _photos_of_jobs(session, [job_id])
    if not cancelled:
        cancel_job(session, tenant_id, job_id)
    _delete_job_rows(session, tenant_id, job_id)
    delete_unused_photos(session, tenant_id, photos)


def jobs_of_gallery(session: Session, tenant_id: int, gallery_id: uuid.UUID) -> list[uuid.UUID]:
    """Jobs that go with the gallery: those that have no other to search."""
    further = select(JobGallery.job_id).where(JobGallery.job_id == Job.id).exists()
    query = select(Job.id).where(Job.tenant_id == tenant_id, Job.gallery_id == gallery_id, ~further)
    return list(session.scalars(query))


def doomed_objects(session: Session, *, limit: int = 1000) -> list[str]:
    """Keys of objects whose photos are gone, at most `limit`, in order.

    Nobody needs to lock them: no photo is made of a key that is doomed, so deleting its object
    twice does no harm.
    """
    query = (
        select(DoomedObject.object_key)
        .where(
            ~DoomedObject.object_key.endswith(FOLDER),
            ~exists().where(Archive.object_key == DoomedObject.object_key),
            # A manifest that was sent to us may be listed for several jobs.
            ~exists().where(
                Source.object_key == DoomedObject.object_key,
                Source.bucket.is_(None),
                Source.state.in_(OPEN_SOURCE_STATES),
            ),
        )
        .order_by(DoomedObject.object_key)
        .limit(limit)
    )
    return list(session.scalars(query))


def give_up_uploads(session: Session) -> int:
    """Dooms uploads whose time is up, with all that no photo was made of; returns how many.

    Their rows go, so that they can commit no longer; the folders of their objects take their
    place in the same transaction, so that no fault loses sight of them.
    """
    expired = func.coalesce(Upload.expires_at, Upload.created_at + REQUEST_AGE) < func.now()
    old = delete(Upload).where(expired)
    given_up = session.execute(old.returning(Upload.tenant_id, Upload.id)).all()
    rows = [{"object_key": f"{one.id}{FOLDER}", "tenant_id": one.tenant_id} for one in given_up]
    if rows:
        session.execute(insert(DoomedObject).on_conflict_do_nothing(), rows)
    return len(rows)


def doomed_folders(session: Session, older_than: dt.timedelta, *, limit: int = 100) -> list[str]:
    """Folders of uploads that were given up so long ago that surely nothing more comes."""
    query = (
        select(DoomedObject.object_key)
        .where(
            DoomedObject.object_key.endswith(FOLDER),
            DoomedObject.created_at < func.now() - older_than,
        )
        .limit(limit)
    )
    return list(session.scalars(query))


def forget_objects(session: Session, keys: Iterable[str]) -> None:
    """Notes that the objects, or all of the folders, are gone from the bucket."""
    # In order, so that two who forget the same ones do not wait in a ring.
    query = select(DoomedObject.object_key).where(DoomedObject.object_key.in_(list(keys)))
    gone = session.scalars(query.order_by(DoomedObject.object_key).with_for_update()).all()
    session.execute(delete(DoomedObject).where(DoomedObject.object_key.in_(gone)))


def unused_keys(session: Session, keys: Iterable[str]) -> list[str]:
    """Those of the keys that no photo, no archive and no manifest to be listed has."""
    wanted = list(keys)
    photos = select(Photo.object_key).where(Photo.bucket.is_(None), Photo.archive_id.is_(None))
    used: set[str | None] = set(session.scalars(photos.where(Photo.object_key.in_(wanted))))
    for column in (Archive.object_key, Source.object_key):
        used |= set(session.scalars(select(column).where(column.in_(wanted))))
    return [key for key in wanted if key not in used]


def doom_unused(session: Session, tenant_id: int, keys: Iterable[str]) -> None:
    """Dooms those of the objects that nothing was made of, once it is sure that nothing will be."""
    rows = [{"object_key": key, "tenant_id": tenant_id} for key in unused_keys(session, keys)]
    if rows:
        session.execute(insert(DoomedObject).on_conflict_do_nothing(), rows)


def _cancel_enrolments(session: Session, subject_id: uuid.UUID) -> None:
    _cancel_open_items(session, subject_id)
    _end_sources(session, subject_id)


def _end_sources(session: Session, subject_id: uuid.UUID) -> None:
    """Ends what is still listed to be enrolled for the subject: no further page becomes items."""
    # All that are open are locked: a source may just be added to one that has none.
    listing = (
        select(Job.id)
        .where(
            Job.subject_id == subject_id,
            Job.kind == JobKind.ENROL,
            Job.state.in_(OPEN_JOB_STATES),
        )
        .order_by(Job.id)
        .with_for_update()
    )
    job_ids = session.scalars(listing).all()
    gone = SubjectNotFoundError("the subject was deleted before the source was listed to its end")
    for job_id in job_ids:
        end_sources(session, job_id, SourceState.FAILED, gone)
    finish_if_complete(session, job_ids)


def _cancel_open_items(session: Session, subject_id: uuid.UUID) -> None:
    """Ends what is under way for the subject, items before jobs as workers lock them."""
    open_items = (
        select(Item.id)
        .where(Item.subject_id == subject_id, Item.state.in_(OPEN_ITEM_STATES))
        .order_by(Item.id)
        .with_for_update()
    )
    ids = session.scalars(open_items).all()
    if not ids:
        return
    cancelled = session.scalars(
        update(Item)
        .where(Item.id.in_(ids))
        .values(state=ItemState.CANCELLED, lease_until=None, finished_at=func.now())
        .returning(Item.job_id)
    ).all()
    for job_id in sorted(set(cancelled)):
        count_ended(session, job_id, cancelled=cancelled.count(job_id))
    finish_if_complete(session, sorted(set(cancelled)))


def _templates_photos(session: Session, subject_id: uuid.UUID) -> set[uuid.UUID]:
    """The photos from which the subject's templates were made."""
    return _photos_of_templates(session, Template.subject_id == subject_id)


def _photos_of_templates(session: Session, which: ColumnElement[bool]) -> set[uuid.UUID]:
    query = (
        select(Extraction.photo_id)
        .join(Face, Face.extraction_id == Extraction.id)
        .join(Embedding, Embedding.face_id == Face.id)
        .join(Template, Template.embedding_id == Embedding.id)
        .where(which)
    )
    return set(session.scalars(query))


def _enrolments(subject_id: uuid.UUID) -> Select[int]:
    """Items that enrol for the subject.

    Photos that were verified against it show who they show, and stay with their job.
    """
    return (
        select(Item.id)
        .join(Job, Job.id == Item.job_id)
        .where(Item.subject_id == subject_id, Job.kind == JobKind.ENROL)
    )


def _photos_of_enrolments(session: Session, subject_id: uuid.UUID) -> set[uuid.UUID]:
    query = select(Item.photo_id).where(Item.id.in_(_enrolments(subject_id)))
    return {photo_id for photo_id in session.scalars(query) if photo_id is not None}


def _release_enrolments(session: Session, subject_id: uuid.UUID) -> set[uuid.UUID]:
    """Parts the subject's enrolment items from their photos, and returns the photos."""
    photos = _photos_of_enrolments(session, subject_id)
    session.execute(
        update(Item)
        .where(Item.id.in_(_enrolments(subject_id)))
        .values(photo_id=None, extraction_id=None)
        .execution_options(synchronize_session=False)
    )
    return photos


_LEAVE_TO_OTHERS = text("""
    WITH other AS (
        SELECT DISTINCT ON (job.id) job.id, further.gallery_id
        FROM job JOIN job_gallery further ON further.job_id = job.id
        WHERE job.gallery_id = :gallery_id
        ORDER BY job.id, further.gallery_id
    ), left_out AS (
        DELETE FROM job_gallery USING other
        WHERE job_gallery.job_id = other.id AND job_gallery.gallery_id = other.gallery_id
    )
    UPDATE job SET gallery_id = other.gallery_id FROM other WHERE job.id = other.id
""")


def _leave_to_others(session: Session, gallery_id: uuid.UUID) -> None:
    """Jobs that name the gallery first of several name another one first.

    From then on they cannot be told from others, so their exports go before.
    """
    drop_exports_of_gallery(session, gallery_id)
    session.execute(_LEAVE_TO_OTHERS, {"gallery_id": gallery_id})


def _delete_jobs_of(session: Session, tenant_id: int, gallery_id: uuid.UUID) -> set[uuid.UUID]:
    """Deletes the gallery's jobs; returns their photos."""
    jobs = jobs_of_gallery(session, tenant_id, gallery_id)
    photos = _photos_of_jobs(session, jobs)
    for job_id in jobs:
        # One that somebody else has deleted meanwhile leaves nothing to do.
        with contextlib.suppress(JobNotFoundError):
            cancel_job(session, tenant_id, job_id)
            _delete_job_rows(session, tenant_id, job_id)
    return photos


def _photos_of_jobs(session: Session, job_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    query = select(Item.photo_id).where(Item.job_id.in_(job_ids), Item.photo_id.is_not(None))
    return {photo_id for photo_id in session.scalars(query) if photo_id is not None}


def _delete_job_rows(session: Session, tenant_id: int, job_id: uuid.UUID) -> None:
    """Deletes one job, which was cancelled or has ended."""
    drop_exports_of_job(session, job_id)
    session.execute(delete(Job).where(Job.tenant_id == tenant_id, Job.id == job_id))


def delete_unused_photos(session: Session, tenant_id: int, photo_ids: Iterable[uuid.UUID]) -> None:
    """Deletes those of the photos that no item and no template uses, and dooms their objects."""
    in_item = exists().where(Item.photo_id == Photo.id)
    in_template = (
        select(Template.id)
        .join(Embedding, Embedding.id == Template.embedding_id)
        .join(Face, Face.id == Embedding.face_id)
        .join(Extraction, Extraction.id == Face.extraction_id)
        .where(Extraction.photo_id == Photo.id)
        .exists()
    )
    ids = _lock_photos(session, tenant_id, photo_ids)
    copies = archives_with_copies(session, ids)
    gone = session.execute(
        delete(Photo)
        .where(Photo.id.in_(ids), ~in_item, ~in_template)
        .returning(Photo.id, Photo.object_key, Photo.bucket)
        .execution_options(synchronize_session=False)
    ).all()
    # An object in a bucket with a name is its owner's. An archive is doomed with the first of its
    # photos, or with one whose bytes it holds as well, and deleted when the others are moved out.
    keys = {one.object_key for one in gone if one.bucket is None}
    keys |= {key for one in gone for key in copies.get(one.id, ())}
    if keys:
        rows = [{"object_key": key, "tenant_id": tenant_id} for key in sorted(keys)]
        session.execute(insert(DoomedObject).on_conflict_do_nothing(), rows)


def _lock_photos(
    session: Session, tenant_id: int, photo_ids: Iterable[uuid.UUID]
) -> Sequence[uuid.UUID]:
    """Locks those of the photos that are there, in order.

    Whoever adds an item for one of them waits, or was before us and is seen.
    """
    query = (
        select(Photo.id)
        .where(Photo.tenant_id == tenant_id, Photo.id.in_(list(photo_ids)))
        .order_by(Photo.id)
        .with_for_update()
    )
    return session.scalars(query).all()
