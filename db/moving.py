"""Moving photos: to where their bytes lie now, in objects of ours."""

import uuid
from collections.abc import Collection, Mapping

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db.models import Photo


def alone(object_key: str) -> dict[str, str | None]:
    """The place of a photo that has an object of ours for itself, by column."""
    nothing = (
        "bucket",
        "etag",
        "archive_id",
        "entry_offset",
        "entry_packed_bytes",
        "entry_method",
        "entry_crc32",
        "entry_name",
    )
    return {"object_key": object_key, **dict.fromkeys(nothing)}


def lock_foreign(session: Session, photo_ids: Collection[uuid.UUID]) -> list[uuid.UUID]:
    """Those of the photos that lie in a bucket with a name, to be moved before the commit.

    Whoever adds items for them does not wait.
    """
    query = (
        select(Photo.id)
        .where(Photo.id.in_(photo_ids), Photo.bucket.is_not(None))
        # In order, as whoever deletes them locks them.
        .order_by(Photo.id)
        .with_for_update(key_share=True)
    )
    return list(session.scalars(query))


def move_in(session: Session, objects: Mapping[uuid.UUID, str]) -> set[str]:
    """Moves photos to objects of ours that were sent with their bytes; returns the objects' keys.

    Photos that lie with us already stay where they are. Those of a bucket with a name are their
    owner's there, and can be gone tomorrow.
    """
    if not objects:
        return set()
    moved = lock_foreign(session, objects.keys())
    if moved:
        session.execute(update(Photo), [{"id": one, **alone(objects[one])} for one in moved])
    return {objects[one] for one in moved}
