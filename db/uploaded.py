"""Photos that clients sent past us, by forms of an upload, on their way into an open job."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.accept import check_who, lock_open_job
from db.models import DoomedObject, Item, Photo
from db.page import ListedEntry, Page, insert_page
from db.places import PhotoPlace
from db.subjects import require_subjects
from db.uploads import expect_less, hold_upload


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedPhoto:
    """A photo of an upload, and the object that the bucket has of it; None: it was not sent."""

    client_id: str
    place: PhotoPlace | None


def going(session: Session, keys: Collection[str]) -> set[str]:
    """Those of the keys whose objects are about to be deleted: none is a photo's any more."""
    query = select(DoomedObject.object_key).where(DoomedObject.object_key.in_(keys))
    return set(session.scalars(query))


def add_uploaded(
    session: Session,
    tenant_id: int,
    job_id: uuid.UUID,
    upload_id: uuid.UUID,
    photos: Sequence[UploadedPhoto],
    *,
    subject_id: uuid.UUID | None = None,
) -> list[str]:
    """Adds those that were sent, and stay, to an open job; returns the ids of the others.

    One whose id the job has already is no new one, whatever its bytes: nobody has read them.
    Raises what `add_items` raises but `DuplicateItemError`, and `UploadNotFoundError`.
    """
    job = lock_open_job(session, tenant_id, job_id)
    check_who(job, [subject_id])
    known = _known(session, job_id, [one.client_id for one in photos])
    new = {one.client_id: one.place for one in photos if one.client_id not in known}
    sent = {client_id: place for client_id, place in new.items() if place is not None}
    if new:
        hold_upload(session, tenant_id, upload_id)
    if sent:
        keys = [place.object_key for place in sent.values()]
        of_parts = _of_parts(session, keys)
        gone = going(session, keys)
        sent = {one: place for one, place in sent.items() if place.object_key not in gone}
        entries = [_entry(client_id, place, of_parts) for client_id, place in sent.items()]
        wanted = {subject_id} if subject_id is not None else set()
        require_subjects(session, tenant_id, job.gallery_id, wanted)
        insert_page(session, job, Page(entries=entries, cursor=""), subject_id=subject_id)
        new_bytes = sum(one.photo.size_bytes for one in entries if one.photo is not None)
        expect_less(session, upload_id, new_bytes)
    return [client_id for client_id in new if client_id not in sent]


def _known(session: Session, job_id: uuid.UUID, client_ids: Sequence[str]) -> set[str | None]:
    query = select(Item.client_id).where(Item.job_id == job_id, Item.client_id.in_(client_ids))
    return set(session.scalars(query))


def _of_parts(session: Session, keys: Sequence[str]) -> dict[str, uuid.UUID]:
    """Photos of parts that are in a job already, be it another, by key; none is deleted meanwhile.

    Whoever deleted one before has doomed its object in the same transaction.
    """
    query = (
        select(Photo.object_key, Photo.id)
        .where(Photo.object_key.in_(keys), Photo.bucket.is_(None), Photo.archive_id.is_(None))
        # In order, as whoever deletes them locks them.
        .order_by(Photo.id)
        .with_for_update(read=True, key_share=True)
    )
    session.execute(query)
    # Asked again: whom the locks had to wait for may have moved another photo into a part.
    return {row.object_key: row.id for row in session.execute(query)}


def _entry(client_id: str, place: PhotoPlace, of_parts: dict[str, uuid.UUID]) -> ListedEntry:
    photo_id = of_parts.get(place.object_key)
    return ListedEntry(
        name=client_id,
        client_id=client_id,
        photo=None if photo_id else place,
        photo_id=photo_id,
    )
