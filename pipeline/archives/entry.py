"""An entry of an archive, as the directory tells of it, and what it takes to read it again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

ReadRange: TypeAlias = Callable[[int, int], bytes]
"""Reads from the archive: (offset, length) in bytes. Fewer come at the archive's end alone."""

LOCAL_HEADER_BYTES = 30
"""Bytes before each entry's, without its name and what may follow that (APPNOTE 6.3.10, 4.3.7)."""
STORED, DEFLATED = 0, 8
ENCRYPTED, STREAMED, PATCHED, STRONGLY_ENCRYPTED, UTF8 = 1, 1 << 3, 1 << 5, 1 << 6, 1 << 11
HEADERS_MASKED = 1 << 13
"""The bits of an entry's flags that matter here (APPNOTE 6.3.10, 4.4.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where the enumeration of a directory goes on; all zeros are its beginning."""

    offset: int = 0
    """Bytes from the directory's beginning."""
    index: int = 0
    """Entries before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPlace:
    """Where an entry lies, and what must come out: all that it takes to read it later."""

    header_offset: int
    packed_bytes: int
    size_bytes: int
    """Its size unpacked."""
    method: int
    """0: stored, 8: deflated; no other is read."""
    crc32: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the directory. Nothing of it was compared with the bytes that it tells of."""

    index: int
    """Its number in the directory, from 0."""
    name: str
    """Its path, with `/`, less empty parts and those that are a dot; else as it stands there."""
    method: int
    flags: int
    crc32: int
    packed_bytes: int
    size_bytes: int
    header_offset: int
    unix_mode: int
    """Kind and permissions as Unix has them; 0 where none are told."""
    name_bytes: int
    """Length of its name in the archive."""
    next_offset: int
    """Where the next entry begins, in bytes from the directory's beginning."""

    @property
    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self.name.endswith("/")

    @property
    def after(self) -> Position:
        """Where the enumeration goes on behind it."""
        return Position(offset=self.next_offset, index=self.index + 1)

    @property
    def least_end(self) -> int:
        """The first byte that may be another's. What else is in its header is not known yet."""
        return self.header_offset + LOCAL_HEADER_BYTES + self.name_bytes + self.packed_bytes

    @property
    def place(self) -> EntryPlace:
        """What it takes to read it later."""
        return EntryPlace(
            header_offset=self.header_offset,
            packed_bytes=self.packed_bytes,
            size_bytes=self.size_bytes,
            method=self.method,
            crc32=self.crc32,
            name=self.name,
        )
