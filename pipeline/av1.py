"""How large the pictures inside an AVIF really are, which its header need not say truly.

The reader believes the header, decodes whatever it finds, up to 268 megapixels, and then scales.
So a few kilobytes that call themselves 64 x 64 pixels could cost a gigabyte. Here the sequence
headers of the coded pictures are looked up (ISO/IEC 14496-12 for the boxes, AV1 Bitstream &
Decoding Process Specification 5.5 for the header).
"""

import struct
from collections.abc import Iterator

_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
_SEQUENCE_HEADER, _TEMPORAL_DELIMITER = 1, 2
_MOST_PLACES = 5_000  # libheif, which is of a similar mind, stops at 1,000 items.
_MOST_HEADER_BYTES = 256


def coded_pixels(data: bytes) -> int:
    """The pixels of the largest picture that `data` holds, as far as its structure is plain.

    May raise `struct.error`, `IndexError` or `ValueError` where it is not.
    """
    largest = 0
    for count, place in enumerate(_places(data, 0, len(data))):
        if count > _MOST_PLACES:
            raise ValueError("too many pictures")
        header = _sequence_header(data[place : place + _MOST_HEADER_BYTES])
        if header is not None:
            largest = max(largest, _max_pixels(_Bits(header)))
    return largest


def _places(data: bytes, start: int, end: int) -> Iterator[int]:
    """Where coded pictures start: those of items, and the first of every track."""
    for kind, body, body_end in _boxes(data, start, end):
        if kind in _CONTAINERS:
            yield from _places(data, body, body_end)
        elif kind == b"meta":
            boxes = list(_boxes(data, body + 4, body_end))
            idat = next((at for inner, at, _ in boxes if inner == b"idat"), 0)
            for inner, at, _ in boxes:
                if inner == b"iloc":
                    yield from _item_places(data, at, idat)
        elif kind == b"stco":
            yield struct.unpack_from(">I", data, body + 8)[0]
        elif kind == b"co64":
            yield struct.unpack_from(">Q", data, body + 8)[0]


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes between two places: their kind, and where their body starts and ends."""
    count = 0
    while start + 8 <= end:
        count += 1
        if count > _MOST_PLACES:
            raise ValueError("too many boxes")
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        box_end = end if size == 0 else start + size
        if box_end < body:
            return  # The reader takes no such box either.
        yield kind, body, min(box_end, end)
        start = box_end


def _item_places(data: bytes, at: int, idat: int) -> Iterator[int]:
    """Where the items of an `iloc` box start (ISO/IEC 14496-12, 8.11.3)."""
    version = data[at]
    offset_bytes, length_bytes = data[at + 4] >> 4, data[at + 4] & 15
    base_bytes, index_bytes = data[at + 5] >> 4, data[at + 5] & 15 if version else 0
    id_bytes = 4 if version == 2 else 2
    count, at = _number(data, at + 6, id_bytes), at + 6 + id_bytes
    for _ in range(count):
        at += id_bytes
        inside = version > 0 and data[at + 1] & 15 == 1
        at += 4 if version else 2
        base, at = _number(data, at, base_bytes), at + base_bytes
        extents, at = _number(data, at, 2), at + 2
        if extents:
            first = _number(data, at + index_bytes, offset_bytes)
            yield base + first + (idat if inside else 0)
        at += extents * (index_bytes + offset_bytes + length_bytes)


def _number(data: bytes, at: int, size_bytes: int) -> int:
    if at + size_bytes > len(data):
        raise ValueError("a number breaks off")
    return int.from_bytes(data[at : at + size_bytes])


def _sequence_header(obus: bytes) -> bytes | None:
    """The body of the sequence header that `obus` starts with, or None where it is none."""
    at = 0
    while at < len(obus):
        head = obus[at]
        kind, extended, sized = head >> 3 & 15, head >> 2 & 1, head >> 1 & 1
        if head & 0x81 or kind not in {_SEQUENCE_HEADER, _TEMPORAL_DELIMITER}:
            return None
        at += 1 + extended
        size = len(obus) - at
        if sized:
            size, at = _leb128(obus, at)
        if kind == _SEQUENCE_HEADER:
            return obus[at : at + size]
        at += size
    return None


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends (AV1 specification, 4.10.5)."""
    value = 0
    for n in range(8):
        value |= (data[at + n] & 0x7F) << 7 * n
        if not data[at + n] & 0x80:
            return value, at + n + 1
    raise ValueError("a number does not end")


class _Bits:
    """A reader of bits, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data)
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("the header breaks off")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def skip_uvlc(self) -> None:
        """Skips a number of variable length (AV1 specification, 4.10.3)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        self.take(zeros if zeros < 32 else 0)


def _max_pixels(bits: _Bits) -> int:
    """The largest frame that a sequence header allows (AV1 specification, 5.5.1)."""
    bits.take(4)  # Profile, still picture.
    if bits.take(1):  # Reduced to what a still picture needs.
        bits.take(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return (bits.take(width_bits) + 1) * (bits.take(height_bits) + 1)


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # Timing.
        bits.take(64)
        if bits.take(1):
            bits.skip_uvlc()
        if bits.take(1):  # A model of the decoder.
            delay_bits = bits.take(5) + 1
            bits.take(42)
    display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:  # Levels that have a tier.
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if display_delay and bits.take(1):
            bits.take(4)
