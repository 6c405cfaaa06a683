"""Where the bytes of a photo lie."""

from dataclasses import dataclass

from pipeline.archives.entry import EntryPlace

__all__ = ["EntryPlace", "PhotoPlace"]


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
