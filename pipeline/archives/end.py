"""Finds an archive's directory by the records at its end, and sees that they agree.

The section numbers are those of PKWARE's APPNOTE 6.3.10.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.archives.entry import ReadRange
from pipeline.archives.errors import (
    ArchiveAmbiguousError,
    ArchiveDirectoryEncryptedError,
    ArchiveError,
    ArchiveInconsistentError,
    ArchiveMultiDiskError,
    ArchiveNotZipError,
    ArchivePrefixedError,
    ArchiveTruncatedError,
)
from pipeline.archives.extras import FULL_16, FULL_32
from pipeline.archives.signatures import archive_format

CENTRAL_SIGNATURE = b"PK\1\2"
_END_SIGNATURE, _END64_SIGNATURE, _LOCATOR_SIGNATURE = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_ENCRYPTED_SIGNATURE = b"PK\6\x08"
_END = struct.Struct("<4sHHHHLLH")
_END64 = struct.Struct("<4sQ4xLLQQQQ")  # Less what may follow.
_LOCATOR = struct.Struct("<4sLQL")
_FULL = (*[FULL_16] * 4, *[FULL_32] * 2)
_MOST_COMMENT_BYTES = 0xFFFF
_TAIL_BYTES = _LOCATOR.size + _END.size + _MOST_COMMENT_BYTES
DIRECTORY_ENCRYPTED = "the archive's directory is encrypted; pack the photos without a password"
PARTS = "the archive is one of several parts; join them (zip -s 0) and send it whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Where an archive's directory lies, and how many entries it is said to have."""

    offset: int
    size_bytes: int
    entries: int


class _End(NamedTuple):
    """What an end record says (4.3.16), or its ZIP64 version (4.3.14)."""

    disk: int
    directory_disk: int
    entries_here: int
    entries: int
    size_bytes: int
    offset: int


def find_directory(size_bytes: int, read: ReadRange) -> Directory:
    """The directory of an archive of `size_bytes`.

    Raises `ArchiveError`s: there is no one end record, or it contradicts itself or its place.
    """
    tail_at = max(0, size_bytes - _TAIL_BYTES)
    tail = read_exactly(read, tail_at, size_bytes - tail_at)
    at = _end_record(tail, tail_at, read)
    _, *numbers, _ = _END.unpack_from(tail, at)
    end, directory_end = _End(*numbers), tail_at + at
    locator = tail[max(0, at - _LOCATOR.size) : at]
    if locator.startswith(_LOCATOR_SIGNATURE) and len(locator) == _LOCATOR.size:
        end, directory_end = _widened(end, locator, directory_end - _LOCATOR.size, read)
    if end.disk or end.directory_disk or end.entries_here != end.entries:
        raise ArchiveMultiDiskError(PARTS)
    directory = Directory(offset=end.offset, size_bytes=end.size_bytes, entries=end.entries)
    _check_place(directory, directory_end, read)
    return directory


def read_exactly(read: ReadRange, offset: int, length: int) -> bytes:
    """So many bytes; raises `ArchiveTruncatedError` where there are fewer."""
    data = read(offset, length) if length else b""
    if len(data) != length:
        raise ArchiveTruncatedError("the archive breaks off; send it again, whole")
    return data


def _end_record(tail: bytes, tail_at: int, read: ReadRange) -> int:
    """Where in `tail` the end record begins: it fits the archive's end, and no other does.

    Programs differ in which they take where two fit, or one stands in the other's comment. So an
    archive could show one thing to whoever checks it, and another to us.
    """
    places, at = [], tail.find(_END_SIGNATURE)
    while at >= 0:
        places.append(at)
        at = tail.find(_END_SIGNATURE, at + 1)
    fitting = [at for at in places if _fits(tail, at)]
    if not fitting:
        raise _no_end(tail, tail_at, read, seen=bool(places))
    if places[-1] != fitting[0]:
        raise ArchiveAmbiguousError(
            "the archive has two ends, one of them in a comment; pack the photos anew"
        )
    return fitting[0]


def _fits(tail: bytes, at: int) -> bool:
    if at + _END.size > len(tail):
        return False
    comment_bytes: int = _END.unpack_from(tail, at)[-1]
    return at + _END.size + comment_bytes == len(tail)


def _no_end(
    tail: bytes, tail_at: int, read: ReadRange, *, seen: bool
) -> ArchiveNotZipError | ArchiveTruncatedError:
    head = read(0, 512) if tail_at else tail[:512]
    other = archive_format(head)
    if seen or other == "zip":
        return ArchiveTruncatedError(
            "the archive's end is missing, or is followed by other bytes; send it again, whole"
        )
    what = f"the file is a {other} archive" if other else "the file is no archive"
    return ArchiveNotZipError(f"{what}; send a zip")


def _widened(end: _End, locator: bytes, at: int, read: ReadRange) -> tuple[_End, int]:
    """The ZIP64 end record, and where it begins; `at` is where its locator does."""
    _, disk, offset, disks = _LOCATOR.unpack(locator)
    if disk or disks > 1:
        raise ArchiveMultiDiskError(PARTS)
    if offset + _END64.size > at:
        raise _lost_end64(offset, at, read)
    signature, more_bytes, *numbers = _END64.unpack(read_exactly(read, offset, _END64.size))
    # The record counts its bytes from behind its first 12, and the locator follows it at once.
    if signature != _END64_SIGNATURE or offset + 12 + more_bytes != at:
        raise _lost_end64(offset, at, read)
    wide = _End(*numbers)
    for narrow, full, number in zip(end, _FULL, wide, strict=True):
        if narrow not in {full, number}:
            raise _contradicts("its two end records differ")
    return wide, offset


def _lost_end64(offset: int, at: int, read: ReadRange) -> ArchiveError:
    """Why the ZIP64 end record is not at `offset`. Its usual place is right before `at`."""
    usual = max(0, at - _END64.size)
    if usual != offset and read_exactly(read, usual, 4) == _END64_SIGNATURE:
        return _moved(usual - offset)
    return _contradicts("its ZIP64 end record is not where its locator says")


def _check_place(directory: Directory, end: int, read: ReadRange) -> None:
    """Checks that the directory ends where the end records begin."""
    missing = end - directory.offset - directory.size_bytes
    if missing < 0:
        raise _moved(missing)
    begin = read_exactly(read, directory.offset, min(4, directory.size_bytes))
    if begin == _ENCRYPTED_SIGNATURE:
        raise ArchiveDirectoryEncryptedError(DIRECTORY_ENCRYPTED)
    if missing:
        begin = read_exactly(read, directory.offset + missing, min(4, directory.size_bytes))
        if begin == CENTRAL_SIGNATURE:
            raise _moved(missing)
        raise _contradicts("there are bytes between its directory and its end")


def _moved(by_bytes: int) -> ArchiveError:
    """The error where all lies so far behind its place; a negative number: before it."""
    if by_bytes < 0:
        return ArchiveTruncatedError("bytes are missing in the archive; send it again, whole")
    return ArchivePrefixedError(
        f"{by_bytes} bytes stand before the archive, as in one that unpacks itself; "
        "send the plain zip (zip -A mends it)"
    )


def _contradicts(what: str) -> ArchiveInconsistentError:
    return ArchiveInconsistentError(f"the archive contradicts itself: {what}; pack it anew")
