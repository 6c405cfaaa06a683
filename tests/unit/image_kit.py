"""Small pictures made on the fly, and files of them in every format."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
from PIL import Image

ORIENTATION = 0x0112


def scene(width: int = 90, height: int = 60) -> Image.Image:
    """A picture with smooth and busy parts and no symmetry."""
    rows, columns = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(7).integers(0, 40, (height, width))
    red = columns * 255 // width
    green = rows * 255 // height
    return Image.fromarray(np.stack([red, green, noise + 90], axis=2).astype(np.uint8))


def image_file(image: Image.Image, image_format: str, **options: object) -> bytes:
    """The picture as Pillow writes it."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def heic(image: Image.Image | pillow_heif.HeifFile, **options: object) -> bytes:
    """The picture as HEIC; `exif` with an orientation becomes boxes that turn it, beside EXIF."""
    buffer = io.BytesIO()
    wanted = {"quality": 90, "enc_params": {"preset": "ultrafast"}, **options}
    if isinstance(image, Image.Image):
        pillow_heif.encode(image.mode, image.size, image.tobytes(), buffer, **wanted)
    else:
        image.save(buffer, **wanted)
    return buffer.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_header(width: int, height: int, *, bits: int = 8, colour: int = 2) -> bytes:
    """The body of an IHDR chunk; colour 2 is RGB."""
    return struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)


def png(header: bytes, idat: bytes, *, before: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG of these bodies, with whole chunks before and after the pixels."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + before
        + png_chunk(b"IDAT", idat)
        + after
        + png_chunk(b"IEND", b"")
    )
