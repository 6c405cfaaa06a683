"""Where the bytes of a photo lie."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from pipeline.archives.entry import EntryPlace

__all__ = ["PLACE_COLUMNS", "EntryPlace", "PhotoPlace", "place_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoPlace:
    """An object that is a photo, or a zip that has it as an entry."""

    bucket: str | None
    """None: ours. Objects of a bucket that is named are read and never deleted."""
    object_key: str
    etag: str | None
    """Of an object that is not ours: with another one it is another photo."""
    size_bytes: int
    """Of the photo; 0 where its listing did not tell."""
    entry: EntryPlace | None


PLACE_COLUMNS = (
    *("size_bytes", "bucket", "object_key", "etag"),
    *("entry_offset", "entry_packed_bytes", "entry_method", "entry_crc32", "entry_name"),
)
"""Of a photo: those that say where it lies."""


def place_of(row: Row[*tuple[Any, ...]]) -> PhotoPlace | None:
    """From a row that has `PLACE_COLUMNS`; None where they are those of no photo."""
    if row.object_key is None:
        return None
    entry = None
    if row.entry_offset is not None:
        entry = EntryPlace(
            header_offset=row.entry_offset,
            packed_bytes=row.entry_packed_bytes,
            method=row.entry_method,
            crc32=row.entry_crc32,
            name=row.entry_name,
            size_bytes=row.size_bytes,
        )
    return PhotoPlace(
        bucket=row.bucket,
        object_key=row.object_key,
        etag=row.etag,
        size_bytes=row.size_bytes,
        entry=entry,
    )
