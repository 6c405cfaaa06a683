"""The entries of an archive's directory, in order, read range by range."""

import struct
from collections.abc import Iterator

from pipeline.archives.end import (
    CENTRAL_SIGNATURE,
    DIRECTORY_ENCRYPTED,
    PARTS,
    Directory,
    read_exactly,
)
from pipeline.archives.entry import HEADERS_MASKED, Entry, Position, ReadRange
from pipeline.archives.errors import (
    ArchiveCountError,
    ArchiveDirectoryEncryptedError,
    ArchiveMultiDiskError,
    ArchiveRecordError,
)
from pipeline.archives.extras import FULL_16, FULL_32, file_name, widened

RANGE_BYTES = 4_000_000
"""Read at once. It is held twice for a moment, so a directory takes some 8 MB, however long."""
# Signature, flags, method, CRC, sizes, lengths, disk, attributes, offset (APPNOTE 6.3.10, 4.3.12).
_HEADER = struct.Struct("<4s4xHH4xLLLHHHH2xLL")
_MOST_BYTES = _HEADER.size + 3 * 0xFFFF
_BROKEN = "a record of the archive's directory is broken; pack the photos anew"


def entries(
    directory: Directory,
    read: ReadRange,
    start: Position | None = None,
    *,
    range_bytes: int = RANGE_BYTES,
) -> Iterator[Entry]:
    """The entries from `start` on. An entry's `after` is where to go on behind it, at any time.

    Raises `ArchiveError`s at a record that is broken or tells of another disk, and where the
    directory has not the number of entries that it is said to have.
    """
    start = start or Position()
    index, offset, at = start.index, start.offset, 0
    data, end = b"", directory.size_bytes
    fetched = offset
    while index < directory.entries:
        if len(data) - at < _MOST_BYTES and fetched < end:
            data, at = data[at:], 0
            while len(data) < _MOST_BYTES and fetched < end:
                length = min(range_bytes, end - fetched)
                data += read_exactly(read, directory.offset + fetched, length)
                fetched += length
        if at == len(data):
            raise _miscounted(directory)
        entry = _entry(data, at, index, offset)
        yield entry
        at, index, offset = at + entry.next_offset - offset, index + 1, entry.next_offset
    if offset != end:
        raise _miscounted(directory)


def _entry(data: bytes, at: int, index: int, offset: int) -> Entry:
    """The entry whose record begins at `at`, and at `offset` in the directory."""
    if len(data) - at < _HEADER.size:
        raise ArchiveRecordError(_BROKEN)
    (
        signature, flags, method, crc32, packed_bytes, size_bytes,
        name_bytes, extra_bytes, comment_bytes, disk, attributes, header_offset,
    ) = _HEADER.unpack_from(data, at)  # fmt: skip
    name_at = at + _HEADER.size
    extra_at = name_at + name_bytes
    length = _HEADER.size + name_bytes + extra_bytes + comment_bytes
    if signature != CENTRAL_SIGNATURE or at + length > len(data):
        raise ArchiveRecordError(_BROKEN)
    extra = data[extra_at : extra_at + extra_bytes]
    if disk == FULL_16 or FULL_32 in {size_bytes, packed_bytes, header_offset}:
        wide = widened((size_bytes, packed_bytes, header_offset), disk, extra)
        if wide is None:
            raise ArchiveRecordError(_BROKEN)
        size_bytes, packed_bytes, header_offset, disk = wide
    if disk:
        raise ArchiveMultiDiskError(PARTS)
    if flags & HEADERS_MASKED:
        raise ArchiveDirectoryEncryptedError(DIRECTORY_ENCRYPTED)
    return Entry(
        index=index,
        name=file_name(data[name_at:extra_at], flags, extra),
        method=method,
        flags=flags,
        crc32=crc32,
        packed_bytes=packed_bytes,
        size_bytes=size_bytes,
        header_offset=header_offset,
        unix_mode=attributes >> 16,
        name_bytes=name_bytes,
        next_offset=offset + length,
    )


def _miscounted(directory: Directory) -> ArchiveCountError:
    return ArchiveCountError(
        f"the archive's directory has not the {directory.entries} entries that its end tells of; "
        "pack the photos anew"
    )
