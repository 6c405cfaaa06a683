"""Deletion that leaves nothing behind: a subject, a gallery or a job with its photos and faces."""

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import GalleryNotFoundError, SubjectNotFoundError
from db.jobs import cancel_job, finish_if_complete
from db.models import (
    OPEN_ITEM_STATES,
    OPEN_JOB_STATES,
    DoomedObject,
    Embedding,
    Extraction,
    Face,
    Gallery,
    Item,
    ItemState,
    Job,
    JobKind,
    Photo,
    Subject,
    Template,
    Upload,
)
from db.storage import ObjectStore
from db.subjects import get_subject


def delete_subject(
    session: Session, tenant_id: int, gallery_id: uuid.UUID, subject_id: uuid.UUID
) -> None:
    """Deletes the subject, its templates, its place in all results, and its enrolment photos.

    A photo stays where another subject or another job refers to it. Enrolments of the subject
    that are under way are cancelled. Raises `SubjectNotFoundError`.
    """
    get_subject(session, tenant_id, gallery_id, subject_id)
    _cancel_enrolments(session, subject_id)
    photos = _templates_photos(session, subject_id) | _release_enrolments(session, subject_id)
    statement = delete(Subject).where(
        Subject.tenant_id == tenant_id,
        Subject.gallery_id == gallery_id,
        Subject.id == subject_id,
    )
    if not session.scalars(statement.returning(Subject.id)).all():
        raise SubjectNotFoundError("there is no such subject in the gallery")
    _delete_unused_photos(session, tenant_id, photos)


def delete_gallery(session: Session, tenant_id: int, gallery_id: uuid.UUID) -> None:
    """Deletes the gallery, its subjects, its jobs and every photo that nothing else refers to.

    Raises `GalleryNotFoundError`.
    """
    jobs = session.scalars(
        select(Job.id).where(Job.tenant_id == tenant_id, Job.gallery_id == gallery_id)
    ).all()
    photos = _photos_of_jobs(session, jobs)
    for job_id in jobs:
        _delete_job_rows(session, tenant_id, job_id)
    statement = delete(Gallery).where(Gallery.tenant_id == tenant_id, Gallery.id == gallery_id)
    if not session.scalars(statement.returning(Gallery.id)).all():
        raise GalleryNotFoundError("there is no such gallery")
    _delete_unused_photos(session, tenant_id, photos)


def delete_job(session: Session, tenant_id: int, job_id: uuid.UUID) -> None:
    """Deletes the job with its results and every photo that nothing else refers to.

    A job that is under way is cancelled first. Templates that it enrolled stay, with their photos.
    Raises `JobNotFoundError`.
    """
    photos = _photos_of_jobs(session, [job_id])
    _delete_job_rows(session, tenant_id, job_id)
    _delete_unused_photos(session, tenant_id, photos)


def doomed_objects(session: Session, *, limit: int = 100) -> list[str]:
    """Keys of objects whose photos are gone, locked for this transaction."""
    query = select(DoomedObject.object_key).limit(limit).with_for_update(skip_locked=True)
    return list(session.scalars(query))


def forget_objects(session: Session, keys: Iterable[str]) -> None:
    """Notes that the objects are gone from the bucket."""
    session.execute(delete(DoomedObject).where(DoomedObject.object_key.in_(list(keys))))


def abandoned_uploads(
    session: Session, older_than: dt.timedelta, *, limit: int = 10
) -> list[uuid.UUID]:
    """Uploads that never committed; they are deleted here, so that they no longer can."""
    old = (
        select(Upload.id)
        .where(Upload.created_at < func.now() - older_than)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(delete(Upload).where(Upload.id.in_(old)).returning(Upload.id)))


def sweep_upload(session: Session, store: ObjectStore, upload_id: uuid.UUID) -> None:
    """Deletes what an abandoned upload left in the bucket."""
    prefix = f"{upload_id}/"
    store.abort_uploads(prefix)
    keys = list(store.keys(prefix))
    used = set(session.scalars(select(Photo.object_key).where(Photo.object_key.in_(keys))))
    store.delete(key for key in keys if key not in used)


def _cancel_enrolments(session: Session, subject_id: uuid.UUID) -> None:
    """Ends the open enrolments of the subject, items before jobs as workers lock them."""
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
        session.execute(
            update(Job)
            .where(Job.id == job_id, Job.state.in_(OPEN_JOB_STATES))
            .values(n_cancelled=Job.n_cancelled + cancelled.count(job_id))
        )
    finish_if_complete(session, sorted(set(cancelled)))


def _templates_photos(session: Session, subject_id: uuid.UUID) -> set[uuid.UUID]:
    """The photos from which the subject's templates were made."""
    query = (
        select(Extraction.photo_id)
        .join(Face, Face.extraction_id == Extraction.id)
        .join(Embedding, Embedding.face_id == Face.id)
        .join(Template, Template.embedding_id == Embedding.id)
        .where(Template.subject_id == subject_id)
    )
    return set(session.scalars(query))


def _release_enrolments(session: Session, subject_id: uuid.UUID) -> set[uuid.UUID]:
    """Parts the subject's enrolment items from their photos, and returns the photos.

    Photos that were verified against the subject show who they show, and stay with their job.
    """
    enrolments = (
        select(Item.id)
        .join(Job, Job.id == Item.job_id)
        .where(Item.subject_id == subject_id, Job.kind == JobKind.ENROL)
    )
    photos = set(session.scalars(select(Item.photo_id).where(Item.id.in_(enrolments))))
    session.execute(
        update(Item)
        .where(Item.id.in_(enrolments))
        .values(photo_id=None, extraction_id=None)
        .execution_options(synchronize_session=False)
    )
    return {photo_id for photo_id in photos if photo_id is not None}


def _photos_of_jobs(session: Session, job_ids: Sequence[uuid.UUID]) -> set[uuid.UUID]:
    query = select(Item.photo_id).where(Item.job_id.in_(job_ids), Item.photo_id.is_not(None))
    return {photo_id for photo_id in session.scalars(query) if photo_id is not None}


def _delete_job_rows(session: Session, tenant_id: int, job_id: uuid.UUID) -> None:
    """Cancels and deletes one job; raises `JobNotFoundError`."""
    cancel_job(session, tenant_id, job_id)
    session.execute(delete(Job).where(Job.tenant_id == tenant_id, Job.id == job_id))


def _delete_unused_photos(session: Session, tenant_id: int, photo_ids: Iterable[uuid.UUID]) -> None:
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
    # Locked first, in order: whoever adds an item for one of these photos waits or is seen.
    locked = (
        select(Photo.id)
        .where(Photo.tenant_id == tenant_id, Photo.id.in_(list(photo_ids)))
        .order_by(Photo.id)
        .with_for_update()
    )
    ids = session.scalars(locked).all()
    keys = session.scalars(
        delete(Photo)
        .where(Photo.id.in_(ids), ~in_item, ~in_template)
        .returning(Photo.object_key)
        .execution_options(synchronize_session=False)
    ).all()
    if keys:
        rows = [{"object_key": key, "tenant_id": tenant_id} for key in keys]
        session.execute(insert(DoomedObject).on_conflict_do_nothing(), rows)
