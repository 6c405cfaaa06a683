"""Hashes of photos that were listed before anybody had read them."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import LargeBinary, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.archives import note_copies
from db.errors import ConflictingChangesError
from db.models import DoomedObject
from db.moving import lock_foreign


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPhoto:
    """What reading a photo has shown of its file."""

    sha256: bytes
    size_bytes: int


_KNOWN = text("""
    SELECT photo.sha256, extraction.id
    FROM photo
    JOIN extraction ON extraction.photo_id = photo.id AND extraction.model_id = :model_id
    WHERE photo.tenant_id = :tenant_id AND photo.sha256 = ANY(:hashes)
""").bindparams(bindparam("hashes", type_=ARRAY(LargeBinary)))


def known_extractions(
    session: Session, tenant_id: int, model_id: int, hashes: Sequence[bytes]
) -> dict[bytes, int]:
    """The extractions by that model of the tenant's photos of these hashes, by hash."""
    rows = session.execute(
        _KNOWN, {"tenant_id": tenant_id, "model_id": model_id, "hashes": list(hashes)}
    )
    return {bytes(sha256): extraction_id for sha256, extraction_id in rows}


_SAME = text("""
    SELECT id, sha256 FROM photo
    WHERE tenant_id = :tenant_id AND sha256 = ANY(:hashes)
    ORDER BY id FOR KEY SHARE
""").bindparams(bindparam("hashes", type_=ARRAY(LargeBinary)))
_WRITE = text("""
    UPDATE photo SET sha256 = fresh.sha256, size_bytes = fresh.size_bytes
    FROM unnest(CAST(CAST(:ids AS text[]) AS uuid[]), :hashes, CAST(:sizes AS bigint[]))
        AS fresh (id, sha256, size_bytes)
    WHERE photo.id = fresh.id AND photo.tenant_id = :tenant_id AND photo.sha256 IS NULL
""").bindparams(
    bindparam("ids", type_=ARRAY(Text)),
    bindparam("hashes", type_=ARRAY(LargeBinary)),
)


def write_hashes(
    session: Session, tenant_id: int, read: Mapping[uuid.UUID, ReadPhoto]
) -> dict[uuid.UUID, uuid.UUID]:
    """Gives photos the hashes that were read; returns for each the tenant's photo of its bytes.

    That is the photo itself, or one that the tenant had before, or the first of several in `read`.
    Raises `ConflictingChangesError` where another worker writes one of the hashes at this moment.
    """
    hashes = sorted({one.sha256 for one in read.values()})
    rows = session.execute(_SAME, {"tenant_id": tenant_id, "hashes": hashes})
    photos = {bytes(sha256): photo_id for photo_id, sha256 in rows}
    # In order, so that two workers with the same photos do not wait in a ring.
    fresh = [one for one in sorted(read) if photos.setdefault(read[one].sha256, one) == one]
    if fresh:
        try:
            session.execute(
                _WRITE,
                {
                    "tenant_id": tenant_id,
                    "ids": [str(one) for one in fresh],
                    "hashes": [read[one].sha256 for one in fresh],
                    "sizes": [read[one].size_bytes for one in fresh],
                },
            )
        except IntegrityError as exc:
            raise ConflictingChangesError("another worker has just read the same photo") from exc
    return {one: photos[found.sha256] for one, found in read.items()}


_LOCK_UNREAD = text("""
    SELECT id FROM photo
    WHERE id = ANY(CAST(CAST(:ids AS text[]) AS uuid[])) AND sha256 IS NULL
    ORDER BY id FOR UPDATE
""").bindparams(bindparam("ids", type_=ARRAY(Text)))
# An object of ours has one photo, so one that takes another's place comes after its end.
_DROP = text("""
    WITH gone AS (
        DELETE FROM photo
        WHERE id = ANY(CAST(CAST(:ids AS text[]) AS uuid[]))
          AND NOT EXISTS (SELECT FROM item WHERE item.photo_id = photo.id)
        RETURNING *
    ), moved AS (
        UPDATE photo
        SET bucket = NULL, object_key = gone.object_key, etag = gone.etag,
            archive_id = gone.archive_id, entry_offset = gone.entry_offset,
            entry_packed_bytes = gone.entry_packed_bytes, entry_method = gone.entry_method,
            entry_crc32 = gone.entry_crc32, entry_name = gone.entry_name
        FROM gone
        JOIN unnest(CAST(CAST(:ones AS text[]) AS uuid[]), CAST(CAST(:others AS text[]) AS uuid[]))
            AS same (one, other) ON same.one = gone.id
        WHERE photo.id = same.other AND photo.bucket IS NOT NULL AND gone.bucket IS NULL
        RETURNING gone.id
    )
    SELECT tenant_id, object_key FROM gone
    WHERE bucket IS NULL AND archive_id IS NULL AND id NOT IN (SELECT id FROM moved)
""").bindparams(*(bindparam(name, type_=ARRAY(Text)) for name in ("ids", "ones", "others")))


def drop_unread(session: Session, photos: Mapping[uuid.UUID, uuid.UUID]) -> None:
    """Deletes photos that turned out to be others' bytes, once no item points at them any more.

    `photos` has those others by their ids. One of them that lies in a bucket with a name takes the
    place of ours, where its owner deletes nothing. An object of ours that held nothing else is
    doomed; of an archive it is noted that it holds the others' bytes as well.
    """
    if not photos:
        return
    note_copies(session, photos)
    ones, others = [str(one) for one in photos], [str(other) for other in photos.values()]
    unread = [str(one) for one in session.scalars(_LOCK_UNREAD, {"ids": ones})]
    lock_foreign(session, set(photos.values()))
    # A statement of its own: whom the locks had to wait for may have added an item of a photo.
    rows = session.execute(_DROP, {"ids": unread, "ones": ones, "others": others}).all()
    doomed = [{"object_key": key, "tenant_id": tenant_id} for tenant_id, key in rows]
    if doomed:
        session.execute(insert(DoomedObject).on_conflict_do_nothing(), doomed)
