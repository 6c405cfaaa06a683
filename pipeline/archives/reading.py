"""Unpacks entries, and sees that they are what the directory says."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.archives.entry import (
    DEFLATED,
    ENCRYPTED,
    LOCAL_HEADER_BYTES,
    STORED,
    STREAMED,
    EntryPlace,
    ReadRange,
)
from pipeline.archives.errors import (
    ArchiveEntryError,
    CrcMismatchError,
    EntryDamagedError,
    HeaderMismatchError,
    MethodUnsupportedError,
    NestedArchiveError,
    SizeMismatchError,
)
from pipeline.archives.extras import FULL_32, possible_names, widened
from pipeline.archives.judging import NESTED
from pipeline.archives.ranges import EntryRange
from pipeline.archives.signatures import archive_format

_SIGNATURE = b"PK\3\4"
# Signature, flags, method, CRC, sizes, lengths (APPNOTE 6.3.10, 4.3.7).
_HEADER = struct.Struct("<4s2xHH4xLLLHH")
_RAW_DEFLATE = -15


def read_entries(
    planned: EntryRange, data: bytes, read: ReadRange
) -> Iterator[tuple[EntryPlace, bytes | ArchiveEntryError]]:
    """The photos of a range whose bytes are `data`, in its order, each or why it is none.

    `read` is asked for an entry whose header is so long that it reaches out of the range; what it
    raises comes through. Only one entry is held unpacked.
    """
    for place in planned.places:
        at = place.header_offset - planned.offset
        try:
            unpacked = unpack(place, memoryview(data)[at:], read)
        except ArchiveEntryError as error:
            yield place, error
        else:
            yield place, unpacked


def unpack(place: EntryPlace, packed: bytes | memoryview, read: ReadRange) -> bytes:
    """The entry at `place`, of which `packed` is the beginning with its header, or all and more.

    Takes `place.size_bytes` of memory and one more, whatever stands there. Raises
    `HeaderMismatchError`, `EntryDamagedError`, `SizeMismatchError`, `CrcMismatchError`,
    `NestedArchiveError`, `MethodUnsupportedError`, and what `read` raises.
    """
    if place.method not in {STORED, DEFLATED}:
        raise MethodUnsupportedError("the entry is neither stored nor deflated; pack it anew")
    whole, header = _whole(place, memoryview(packed), read)
    _check_header(place, header, whole)
    body = whole[header.body_at : header.body_at + place.packed_bytes]
    data = bytes(body) if place.method == STORED else _inflated(body, place.size_bytes)
    if len(data) != place.size_bytes:
        raise SizeMismatchError(
            f"the entry has not the {place.size_bytes} bytes that the archive says; pack it anew"
        )
    if zlib.crc32(data) != place.crc32:
        raise CrcMismatchError("the entry is damaged: its checksum differs; send it again")
    if archive_format(data):
        raise NestedArchiveError(NESTED)
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """What stands before an entry's bytes."""

    flags: int
    method: int
    crc32: int
    packed_bytes: int
    size_bytes: int
    extra_at: int
    body_at: int


def _whole(place: EntryPlace, packed: memoryview, read: ReadRange) -> tuple[memoryview, _Header]:
    """The entry's bytes from its header on, asked for again where `packed` breaks off."""
    if len(packed) < LOCAL_HEADER_BYTES:
        packed = _read(place, LOCAL_HEADER_BYTES, read)
    header = _header(packed)
    length = header.body_at + place.packed_bytes
    return packed if len(packed) >= length else _read(place, length, read), header


def _read(place: EntryPlace, length: int, read: ReadRange) -> memoryview:
    data = read(place.header_offset, length)
    if len(data) < length:
        raise EntryDamagedError("the entry breaks off; send the archive again, whole")
    return memoryview(data)


def _header(data: memoryview) -> _Header:
    signature, flags, method, crc32, packed_bytes, size_bytes, name_bytes, extra_bytes = (
        _HEADER.unpack_from(data)
    )
    if signature != _SIGNATURE:
        raise HeaderMismatchError(
            "no entry begins where the archive's directory says; send the archive again, whole"
        )
    return _Header(
        flags=flags,
        method=method,
        crc32=crc32,
        packed_bytes=packed_bytes,
        size_bytes=size_bytes,
        extra_at=_HEADER.size + name_bytes,
        body_at=_HEADER.size + name_bytes + extra_bytes,
    )


def _check_header(place: EntryPlace, header: _Header, data: memoryview) -> None:
    """Compares the header with what the directory said.

    A header that was written before its entry's end was known has zeros for what follows from the
    bytes; they stand behind those once more, where nobody needs them.
    """
    extra = bytes(data[header.extra_at : header.body_at])
    if header.method != place.method or header.flags & ENCRYPTED:
        raise _differs("packing")
    if place.name not in possible_names(bytes(data[_HEADER.size : header.extra_at]), extra):
        raise _differs("name")
    sizes: tuple[int, ...] | None = header.size_bytes, header.packed_bytes
    if FULL_32 in (header.size_bytes, header.packed_bytes):
        sizes = widened((header.size_bytes, header.packed_bytes), 0, extra)
    told = (header.crc32, *(sizes[:2] if sizes else (-1, -1)))
    wanted = (place.crc32, place.size_bytes, place.packed_bytes)
    unknown = {0} if header.flags & STREAMED else set()
    if any(one != other and one not in unknown for one, other in zip(told, wanted, strict=True)):
        raise _differs("size or checksum")


def _differs(what: str) -> HeaderMismatchError:
    return HeaderMismatchError(
        f"the entry's header tells of another {what} than the archive's directory; pack it anew"
    )


def _inflated(body: memoryview, size_bytes: int) -> bytes:
    """The bytes that `body` unpacks to, but never more than one too many."""
    stream = zlib.decompressobj(_RAW_DEFLATE)
    try:
        data = stream.decompress(body, size_bytes + 1)
    except zlib.error as exc:
        raise EntryDamagedError("the entry's packed bytes are damaged; send it again") from exc
    if len(data) <= size_bytes and not stream.eof:
        raise EntryDamagedError("the entry's packed bytes break off; send it again")
    if stream.unused_data:
        raise SizeMismatchError("the entry has packed bytes that are not its own; pack it anew")
    return data
