"""Archives of ours: which hold what must go, and what is in them that must stay."""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Text, bindparam, delete, exists, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from db.models import Archive, ArchiveCopy, DoomedObject, Item, Photo, Source
from db.moving import alone
from db.places import EntryPlace
from db.states import OPEN_SOURCE_STATES, ItemState


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """A photo that stays, in an archive that must go."""

    photo_id: uuid.UUID
    tenant_id: int
    archive_key: str
    entry: EntryPlace


_NOTE = text("""
    INSERT INTO archive_copy (tenant_id, photo_id, archive_id)
    SELECT DISTINCT one.tenant_id, other.id, one.archive_id
    FROM unnest(CAST(CAST(:ones AS text[]) AS uuid[]), CAST(CAST(:others AS text[]) AS uuid[]))
        AS same (one, other)
    JOIN photo AS one ON one.id = same.one
    JOIN photo AS other ON other.id = same.other AND other.tenant_id = one.tenant_id
    WHERE one.archive_id IS NOT NULL AND one.archive_id IS DISTINCT FROM other.archive_id
    ORDER BY other.id, one.archive_id
    ON CONFLICT DO NOTHING
""").bindparams(bindparam("ones", type_=ARRAY(Text)), bindparam("others", type_=ARRAY(Text)))


def note_copies(session: Session, photos: Mapping[uuid.UUID, uuid.UUID]) -> None:
    """Notes which archives hold bytes of photos that lie elsewhere.

    `photos` has them by ids of photos of the same bytes, which are about to be dropped.
    """
    if photos:
        pairs = {
            "ones": [str(one) for one in photos],
            "others": [str(one) for one in photos.values()],
        }
        session.execute(_NOTE, pairs)


def archives_with_copies(
    session: Session, photo_ids: Collection[uuid.UUID]
) -> dict[uuid.UUID, list[str]]:
    """The keys of archives that hold the photos' bytes as well, by photo."""
    found: dict[uuid.UUID, list[str]] = {}
    query = (
        select(ArchiveCopy.photo_id, Archive.object_key)
        .join(Archive, Archive.id == ArchiveCopy.archive_id)
        .where(ArchiveCopy.photo_id.in_(photo_ids))
    )
    for photo_id, key in session.execute(query):
        found.setdefault(photo_id, []).append(key)
    return found


def survivors(session: Session, *, limit: int) -> list[Survivor]:
    """Photos in archives that are doomed with some of theirs, neighbours beside each other.

    Not those that a worker is just reading.
    """
    query = (
        select(
            Photo.id,
            Photo.tenant_id,
            Photo.object_key,
            Photo.entry_offset,
            Photo.entry_packed_bytes,
            Photo.size_bytes,
            Photo.entry_method,
            Photo.entry_crc32,
            Photo.entry_name,
        )
        .join(Archive, Archive.id == Photo.archive_id)
        .join(DoomedObject, DoomedObject.object_key == Archive.object_key)
        .where(~_is_read())
        .order_by(Photo.archive_id, Photo.entry_offset)
        .limit(limit)
    )
    return [_survivor(row) for row in session.execute(query)]


def move_out(session: Session, photo_id: uuid.UUID, object_key: str) -> bool:
    """Points a photo in an archive at an object of its own; False where it is gone, or is read."""
    moved = session.scalars(
        update(Photo)
        .where(Photo.id == photo_id, Photo.archive_id.is_not(None), ~_is_read())
        .values(alone(object_key))
        .returning(Photo.id)
        .execution_options(synchronize_session=False)
    )
    return moved.one_or_none() is not None


def drop_empty_archives(session: Session, *, limit: int = 100) -> int:
    """Dooms archives in which no photo lies and which nobody lists; returns how many."""
    empty = (
        select(Archive.id)
        .where(
            ~exists().where(Photo.archive_id == Archive.id),
            ~exists().where(Source.archive_id == Archive.id, Source.state.in_(OPEN_SOURCE_STATES)),
        )
        .order_by(Archive.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = session.scalars(empty).all()
    if not ids:
        return 0
    session.execute(
        update(Source)
        .where(Source.archive_id.in_(ids))
        .values(archive_id=None)
        .execution_options(synchronize_session=False)
    )
    gone = session.execute(
        delete(Archive).where(Archive.id.in_(ids)).returning(Archive.tenant_id, Archive.object_key)
    ).all()
    rows = [{"tenant_id": one.tenant_id, "object_key": one.object_key} for one in gone]
    session.execute(insert(DoomedObject).on_conflict_do_nothing(), rows)
    return len(rows)


def _is_read() -> Any:
    return exists().where(Item.photo_id == Photo.id, Item.state == ItemState.RUNNING)


def _survivor(row: Row[*tuple[Any, ...]]) -> Survivor:
    return Survivor(
        photo_id=row.id,
        tenant_id=row.tenant_id,
        archive_key=row.object_key,
        entry=EntryPlace(
            header_offset=row.entry_offset,
            packed_bytes=row.entry_packed_bytes,
            size_bytes=row.size_bytes,
            method=row.entry_method,
            crc32=row.entry_crc32,
            name=row.entry_name,
        ),
    )
