"""Formats are told by their first bytes."""

import pytest
from image_kit import heic, image_file, scene

from pipeline.formats import accepted_format, other_format


def _ftyp(main: bytes, *others: bytes) -> bytes:
    body = b"ftyp" + main + bytes(4) + b"".join(others)
    return (len(body) + 4).to_bytes(4) + body + b"\0\0\0\x08mdat"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (_ftyp(b"heic", b"mif1"), "HEIC"),
        (_ftyp(b"heix"), "HEIC"),
        (_ftyp(b"msf1", b"hevc"), "HEIC"),
        (_ftyp(b"mif1", b"heic"), "HEIC"),
        (_ftyp(b"mif1", b"miaf", b"avif"), "AVIF"),
        (_ftyp(b"mif1", b"avif", b"heic"), "HEIC"),
        (_ftyp(b"mif1"), "HEIC"),
        (_ftyp(b"avif"), "AVIF"),
        (_ftyp(b"avis", b"msf1"), "AVIF"),
        (_ftyp(b"isom", b"mp42"), None),
        (_ftyp(b"qt  "), None),
        (_ftyp(b"mif1") + b"avif", "HEIC"),
        (heic(scene()), "HEIC"),
        (image_file(scene(), "AVIF"), "AVIF"),
    ],
)
def test_iso_media_files_are_told_by_their_brands(data: bytes, expected: str | None) -> None:
    assert accepted_format(data) == expected
    assert other_format(data) is None
