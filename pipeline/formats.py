"""Which image format some bytes are, told by their first bytes alone: no file name, no parsing."""

from typing import Literal, TypeAlias

PhotoFormat: TypeAlias = Literal["JPEG", "PNG", "WebP", "TIFF", "BMP", "HEIC", "AVIF"]

ACCEPTED = "JPEG, PNG, WebP, TIFF, BMP, HEIC or AVIF"

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)

# Formats that people do send and that we can name in the answer, by what they start with.
_OTHER_STARTS = (
    ("GIF", b"GIF8"),
    ("JPEG 2000", b"\0\0\0\x0cjP  \r\n"),
    ("JPEG 2000", b"\xff\x4f\xff\x51"),
    ("JPEG XL", b"\xff\x0a"),
    ("JPEG XL", b"\0\0\0\x0cJXL \r\n"),
    ("Photoshop file", b"8BPS"),
    ("icon", b"\0\0\1\0"),
    ("icon", b"\0\0\2\0"),
    ("icon", b"icns"),
    ("DDS texture", b"DDS "),
    ("QOI image", b"qoif"),
    ("FITS image", b"SIMPLE  ="),
    ("SGI image", b"\x01\xda"),
    ("Sun raster", b"\x59\xa6\x6a\x95"),
    ("PCX image", b"\x0a\x05\x01"),
    ("OpenEXR image", b"v/1\x01"),
    ("Radiance image", b"#?RADIANCE"),
    ("XPM image", b"/* XPM */"),
    ("Netpbm image", b"P1\n"),
    ("Netpbm image", b"P2\n"),
    ("Netpbm image", b"P3\n"),
    ("Netpbm image", b"P4\n"),
    ("Netpbm image", b"P5\n"),
    ("Netpbm image", b"P6\n"),
    ("Netpbm image", b"P7\n"),
    ("PostScript file", b"%!PS"),
    ("PDF file", b"%PDF-"),
    ("SVG drawing", b"<svg"),
)
# ISO media files name their brands after the word "ftyp", the main one first (ISO/IEC 23008-12,
# annex B). The last two say only that it is a picture or a series of them; the others say how.
_HEVC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_PICTURE_BRANDS = {b"mif1", b"mif2", b"msf1"}
_MOST_BRANDS = 64


def accepted_format(data: bytes) -> PhotoFormat | None:
    """The accepted format that `data` starts as, or None."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith(_TIFF_STARTS):
        return "TIFF"
    if data.startswith(b"BM") and _bmp_header_size(data) in _BMP_HEADER_SIZES:
        # Two letters alone would make a picture of every text that starts with them.
        return "BMP"
    return _iso_media_format(data)


def other_format(data: bytes) -> str | None:
    """What to call the image format of `data` that we do not take, or None where it is no image."""
    for name, start in _OTHER_STARTS:
        if data.startswith(start):
            return name
    return None


def _bmp_header_size(data: bytes) -> int:
    return int.from_bytes(data[14:18], "little")


def _iso_media_format(data: bytes) -> PhotoFormat | None:
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4]), 16 + 4 * _MOST_BRANDS, len(data))
    main = data[8:12]
    if main in _AVIF_BRANDS:
        return "AVIF"
    if main in _HEVC_BRANDS:
        return "HEIC"
    if main not in _PICTURE_BRANDS:
        return None
    others = {data[at : at + 4] for at in range(16, end, 4)}
    return "AVIF" if others & _AVIF_BRANDS and not others & _HEVC_BRANDS else "HEIC"
