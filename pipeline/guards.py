"""Small looks into a file's bytes, for what its reader does not limit by itself."""

import re
import struct
from collections.abc import Iterator

from pipeline.formats import PhotoFormat

MAX_JPEG_SCANS = 100
"""Ten are usual, and no optimizer makes more than a few dozen."""
MAX_PNG_CHUNKS = 100_000
"""A PNG of 100 megabytes in the usual chunks of 8 kB has 12,000."""

_PNG_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # Markers without a body.
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_MARKER_IN_SCAN = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")


def plainly_broken(photo_format: PhotoFormat, data: bytes) -> bool:
    """Whether `data` is made to keep its reader busy: no camera or program writes such a file."""
    if photo_format == "JPEG":
        # A scan of ten bytes has all pixels of the photo gone through once more.
        suspects = data.count(b"\xff\xda")  # Those inside of metadata count too.
        return suspects > MAX_JPEG_SCANS and _jpeg_scans(data) > MAX_JPEG_SCANS
    if photo_format == "PNG":
        return sum(1 for _ in png_chunks(data)) > MAX_PNG_CHUNKS
    return False


def _jpeg_scans(data: bytes) -> int:
    """How many scans the JPEG's first picture has (ITU-T T.81, annex B)."""
    scans = 0
    found = _MARKER.search(data)
    while found:
        marker, at = found[1][0], found.end()
        if marker == _END_OF_IMAGE:
            break
        if marker not in _ALONE:
            at += int.from_bytes(data[at : at + 2])
        in_scan = marker == _START_OF_SCAN
        scans += in_scan
        found = (_MARKER_IN_SCAN if in_scan else _MARKER).search(data, at)
    return scans


def exif_after_pixels(data: bytes) -> bytes | None:
    """A PNG's EXIF data, where it stands after the pixels: readers tell of it too late."""
    for kind, start, end in png_chunks(data):
        if kind == b"eXIf":
            return b"Exif\0\0" + data[start:end]
    return None


def without_png_metadata(data: bytes) -> bytes:
    """The PNG with no more than what its pixels need."""
    kept = (
        data[start - 8 : end + 4]
        for kind, start, end in png_chunks(data)
        if kind in _PNG_PIXEL_CHUNKS
    )
    return data[:8] + b"".join(kept)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a PNG, at most one too many: their kind, and their body's start and end."""
    at, count = 8, 0
    while at + 12 <= len(data) and count <= MAX_PNG_CHUNKS:
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8, at + 8 + length
        at += 12 + length
        count += 1
