"""Where the bytes of a photo lie."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPlace:
    """Where in a zip the bytes lie, as its directory says."""

    header_offset: int
    packed_bytes: int
    method: int
    crc32: int
    name: str
    size_bytes: int


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
