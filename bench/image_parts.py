"""Where the parts of an image file lie, and where it writes how long they are.

For mutations that hurt: enough of each format to find its joints, and nothing more. What cannot be
made out is left out.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a file that stands by itself, such as a chunk with its head."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A number in a file that says how long, how large, how many or where."""

    at: int
    size_bytes: int
    big_endian: bool

    def written(self, value: int) -> bytes:
        """The number's bytes, without what does not fit."""
        value &= (1 << 8 * self.size_bytes) - 1
        return value.to_bytes(self.size_bytes, "big" if self.big_endian else "little")


def parts_and_fields(data: bytes) -> tuple[list[Part], list[Field]]:
    """The parts of a file in any of the accepted formats, and its fields."""
    try:
        found = list(_walker(data)(data))
    except (struct.error, IndexError):
        found = []
    parts = [one for one in found if isinstance(one, Part) and one.end > one.start]
    fields = [
        one for one in found if isinstance(one, Field) and one.at + one.size_bytes < len(data)
    ]
    return parts, fields


def _png(data: bytes) -> Iterator[Part | Field]:
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield Field(at=at, size_bytes=4, big_endian=True)
        if data[at + 4 : at + 8] == b"IHDR":
            yield Field(at=at + 8, size_bytes=4, big_endian=True)
            yield Field(at=at + 12, size_bytes=4, big_endian=True)
            yield Field(at=at + 16, size_bytes=1, big_endian=True)
            yield Field(at=at + 17, size_bytes=1, big_endian=True)
        yield Part(start=at, end=min(at + 12 + length, len(data)))
        at += 12 + length


def _jpeg(data: bytes) -> Iterator[Part | Field]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = struct.unpack_from(">BH", data, at + 1)
        yield Field(at=at + 2, size_bytes=2, big_endian=True)
        if marker in {0xC0, 0xC1, 0xC2}:
            yield Field(at=at + 5, size_bytes=2, big_endian=True)
            yield Field(at=at + 7, size_bytes=2, big_endian=True)
            yield Field(at=at + 9, size_bytes=1, big_endian=True)
        yield Part(start=at, end=at + 2 + length)
        if marker == 0xDA:
            return
        at += 2 + length


def _webp(data: bytes) -> Iterator[Part | Field]:
    yield Field(at=4, size_bytes=4, big_endian=False)
    at = 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        yield Field(at=at + 4, size_bytes=4, big_endian=False)
        if kind in {b"VP8X", b"ANMF"}:
            yield from (Field(at=at + n, size_bytes=3, big_endian=False) for n in (8, 11, 12, 15))
        elif kind == b"VP8 ":
            yield from (Field(at=at + n, size_bytes=2, big_endian=False) for n in (14, 16))
        elif kind == b"VP8L":
            yield Field(at=at + 9, size_bytes=4, big_endian=False)
        yield Part(start=at, end=min(at + 8 + length + length % 2, len(data)))
        at += 8 + length + length % 2


def _tiff(data: bytes) -> Iterator[Part | Field]:
    big = data.startswith(b"MM")
    order = ">" if big else "<"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    yield Field(at=4, size_bytes=4, big_endian=big)
    for _ in range(20):
        if not at:
            return
        (count,) = struct.unpack_from(f"{order}H", data, at)
        yield Field(at=at, size_bytes=2, big_endian=big)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            yield Part(start=entry, end=entry + 12)
            for n, size_bytes in ((0, 2), (2, 2), (4, 4), (8, 4)):
                yield Field(at=entry + n, size_bytes=size_bytes, big_endian=big)
        after = at + 2 + 12 * count
        yield Field(at=after, size_bytes=4, big_endian=big)
        (at,) = struct.unpack_from(f"{order}I", data, after)


_CONTAINERS = {b"iprp", b"ipco", b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf"}


def _boxes(data: bytes, start: int, end: int) -> Iterator[Part | Field]:
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        yield Field(at=start, size_bytes=4, big_endian=True)
        box_end = min(start + size if size else end, end)
        yield Part(start=start, end=box_end)
        if kind in _CONTAINERS:
            yield from _boxes(data, start + 8, box_end)
        elif kind == b"meta":
            yield from _boxes(data, start + 12, box_end)
        elif kind != b"mdat":
            for at in range(start + 8, min(box_end, start + 64), 2):
                yield Field(at=at, size_bytes=2, big_endian=True)
                yield Field(at=at, size_bytes=4, big_endian=True)
        if size and size < 8:
            return
        start = box_end


def _bmp(_data: bytes) -> Iterator[Part | Field]:
    return iter(Field(at=at, size_bytes=4, big_endian=False) for at in range(2, 54, 4))


def _iso_media(data: bytes) -> Iterator[Part | Field]:
    return _boxes(data, 0, len(data))


def _nothing(_data: bytes) -> Iterator[Part | Field]:
    return iter(())


_WALKERS = {
    b"\x89PNG": _png,
    b"\xff\xd8": _jpeg,
    b"RIFF": _webp,
    b"II": _tiff,
    b"MM": _tiff,
    b"BM": _bmp,
}


def _walker(data: bytes) -> Callable[[bytes], Iterator[Part | Field]]:
    if data[4:8] == b"ftyp":
        return _iso_media
    return next((walker for start, walker in _WALKERS.items() if data.startswith(start)), _nothing)
