"""Small files that ask for very much memory or time, one for every trick that we know."""

import io
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache

from PIL import Image

LARGE_SIDES = (3_000, 6_000, 9_000, 9_990, 10_010, 20_000, 65_500)
"""Around the usual cap of 100 megapixels, below it and far beyond."""

Bomb = Callable[[random.Random], bytes]


def bomb(chance: random.Random) -> bytes:
    """One of them."""
    return chance.choice(BOMBS)(chance)


def _small(image_format: str, **options: object) -> bytes:
    image = Image.linear_gradient("L").resize((48, 32)).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def _sides(chance: random.Random) -> tuple[int, int]:
    return chance.choice(LARGE_SIDES), chance.choice(LARGE_SIDES)


# ---------------------------------------------------------------- PNG


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(header: bytes, *chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + b"".join(chunks) + _chunk(b"IEND", b"")


@cache
def _zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    block = bytes(1_000_000)
    return b"".join(packer.compress(block) for _ in range(megabytes)) + packer.flush()


def _png_full_of_zeros(chance: random.Random) -> bytes:
    width, height = _sides(chance)
    colour, bits = chance.choice(((2, 8), (2, 16), (6, 16), (0, 1), (0, 16), (3, 8)))
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, chance.randrange(2))
    palette = _chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    return _png(header, palette, _chunk(b"IDAT", _zeros(chance.choice((1, 300)))))


def _png_with_packed_metadata(chance: random.Random) -> bytes:
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    packed = _zeros(chance.choice((1, 100)))
    body = chance.choice(
        (
            (b"iCCP", b"name\0\0" + packed),
            (b"zTXt", b"name\0\0" + packed),
            (b"iTXt", b"name\0\1\0\0\0" + packed),
            (b"zTXt", b"Raw profile type exif\0\0" + packed),
            (b"eXIf", bytes(2_000_000)),
        )
    )
    chunks = _chunk(*body) * chance.choice((1, 50))
    return _png(header, chunks, _chunk(b"IDAT", zlib.compress(bytes(4))))


def _png_of_tiny_chunks(chance: random.Random) -> bytes:
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    kind = chance.choice((b"tEXt", b"IDAT", b"eXIf", b"fdAT", b"quIt"))
    chunks = _chunk(kind, b"") * chance.choice((1_000, 90_000, 300_000))
    return _png(header, chunks, _chunk(b"IDAT", zlib.compress(bytes(4))))


def _png_of_many_frames(chance: random.Random) -> bytes:
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    frame = struct.pack(">IIIIIHHBB", 1, 64, 64, 0, 0, 1, 1, 0, 0)
    pixels = zlib.compress(bytes(64 * 193))
    chunks = [_chunk(b"acTL", struct.pack(">II", chance.choice((2, 0xFFFFFFFF)), 0))]
    chunks += [_chunk(b"fcTL", frame), _chunk(b"IDAT", pixels)]
    chunks += [_chunk(b"fcTL", frame), _chunk(b"fdAT", bytes(4) + pixels)] * 5_000
    return _png(header, *chunks)


# ---------------------------------------------------------------- JPEG


def _jpeg_of_size(data: bytes, width: int, height: int) -> bytes:
    at = next(data.index(start) for start in (b"\xff\xc0", b"\xff\xc2") if start in data) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def _jpeg_that_lies(chance: random.Random) -> bytes:
    options: dict[str, object] = {"progressive": chance.random() < 0.5}
    return _jpeg_of_size(_small("JPEG", **options), *_sides(chance))


def _jpeg_of_many_scans(chance: random.Random) -> bytes:
    data = _small("JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    head = data[at : at + 2 + struct.unpack_from(">H", data, at + 2)[0]]
    scans = (head + b"\0") * chance.choice((50, 95, 5_000, 200_000))
    return _jpeg_of_size(data[:-2] + scans + data[-2:], *_sides(chance))


def _jpeg_with_metadata(chance: random.Random) -> bytes:
    data = _small("JPEG")
    kind, head = chance.choice(
        (
            (0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
            (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\0\1\x87\x69\0\4\0\0\0\1\0\0\0\x08\0\0\0\x08"),
            (0xE2, b"ICC_PROFILE\0\1\xff"),
            (0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
            (0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\xff\xff\xff\xff"),
            (0xFE, b""),
        )
    )
    body = head + chance.choice((bytes, chance.randbytes))(60_000)
    segment = struct.pack(">BBH", 0xFF, kind, len(body) + 2) + body
    return data[:2] + segment * chance.choice((1, 30, 250)) + data[2:]


# ---------------------------------------------------------------- WebP, TIFF, BMP, GIF


def _webp_that_lies(chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        side = chance.choice((9_000, 16_383))
        body = b"\x2f" + struct.pack("<I", (side - 1) | (side - 1) << 14) + bytes(20)
        chunk = b"VP8L" + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
        return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
    options: dict[str, object] = {"save_all": True, "append_images": [Image.new("RGB", (48, 32))]}
    data = bytearray(_small("WEBP", **options))
    at = data.index(b"VP8X") + 12
    width, height = _sides(chance)
    data[at : at + 6] = struct.pack("<I", width)[:3] + struct.pack("<I", height)[:3]
    return bytes(data)


def _webp_of_many_frames(chance: random.Random) -> bytes:
    frames = [Image.new("RGB", (48, 32), (n % 256, 0, 0)) for n in range(chance.choice((2, 300)))]
    return _small("WEBP", save_all=True, append_images=frames, method=0)


def _tiff(values: dict[int, tuple[int, int, int]], tail: bytes, after: int = 0) -> bytes:
    """One directory at 8: tag to type, count and value; `tail` begins at 1000."""
    entries = b"".join(struct.pack("<HHII", tag, *value) for tag, value in sorted(values.items()))
    head = b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + struct.pack("<I", after)
    return head.ljust(1_000, b"\0") + tail


def _tiff_values(
    width: int, height: int, compression: int, tail: bytes
) -> dict[int, tuple[int, int, int]]:
    return {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, 8),
        259: (3, 1, compression),
        262: (3, 1, 1),
        273: (4, 1, 1_000),
        277: (3, 1, 1),
        278: (4, 1, height),
        279: (4, 1, len(tail)),
    }


def _tiff_that_lies(chance: random.Random) -> bytes:
    compression = chance.choice((1, 5, 8, 32773, 7, 34925, 50000))
    tail = chance.choice((_zeros(100), bytes(5_000), chance.randbytes(5_000)))
    values = _tiff_values(*_sides(chance), compression, tail)
    if chance.random() < 0.4:
        values |= {322: (4, 1, chance.choice(LARGE_SIDES)), 323: (4, 1, 65_500), 324: values[273]}
    if chance.random() < 0.4:
        tag = chance.choice(list(values))
        values[tag] = (values[tag][0], chance.choice((0, 100_000, 0xFFFFFFFF)), 1_000)
    return _tiff(values, tail)


def _tiff_of_loops(chance: random.Random) -> bytes:
    tail = bytes(100)
    values = _tiff_values(10, 10, 1, tail)
    for tag in chance.sample((330, 34665, 34853, 40965, 700, 34675), 3):
        values[tag] = (
            chance.choice((4, 13, 7)),
            chance.choice((1, 100)),
            chance.choice((8, 1_000)),
        )
    return _tiff(values, struct.pack("<H", 3) + tail, after=chance.choice((8, 1_000, 4)))


def _bmp_that_lies(chance: random.Random) -> bytes:
    data = bytearray(_small("BMP"))
    width, height = _sides(chance)
    data[18:26] = struct.pack("<ii", width, chance.choice((height, -height, -(2**31))))
    data[28:30] = struct.pack("<H", chance.choice((1, 4, 8, 16, 24, 32)))
    data[30:34] = struct.pack("<I", chance.choice((0, 1, 2, 3, 99)))
    runs = b"\xff\0" * 200_000 if chance.random() < 0.5 else b"\0\2\xff\xff" * 100_000
    return bytes(data[:54]) + chance.choice((b"", bytes(1_024) + runs))


def _gif_that_lies(chance: random.Random) -> bytes:
    data = bytearray(_small("GIF"))
    data[6:10] = struct.pack("<HH", *_sides(chance))
    return bytes(data)


# ---------------------------------------------------------------- AVIF, HEIC


@cache
def _flat_avif(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (90, 90, 90)).save(buffer, "AVIF", speed=10, max_threads=1)
    return buffer.getvalue()


@cache
def _flat_heic(side: int, tile: int) -> bytes:
    import pillow_heif

    buffer = io.BytesIO()
    image = Image.new("RGB", (side, side), (90, 90, 90))
    options = {"quality": 30, "enc_params": {"preset": "ultrafast"}, "tile_size": tile}
    pillow_heif.from_pillow(image).save(buffer, **options)
    return buffer.getvalue()


def _iso_media_that_lies(chance: random.Random) -> bytes:
    good = (_flat_avif(64), _flat_avif(3_000), _flat_heic(64, 0), _flat_heic(2_000, 256))
    data = bytearray(chance.choice(good))
    at = data.find(b"ispe")
    while at >= 0:
        if chance.random() < 0.7:
            data[at + 8 : at + 16] = struct.pack(">II", *chance.choice((_sides(chance), (64, 64))))
        at = data.find(b"ispe", at + 4)
    return bytes(data)


def _iso_media_of_boxes(chance: random.Random) -> bytes:
    start = chance.choice((_flat_avif(64), _flat_heic(64, 0)))[:32]
    count = chance.choice((900, 5_000, 200_000))
    box = chance.choice((b"moov", b"meta", b"free", b"iprp", b"trak"))
    if chance.random() < 0.5:
        return start + (struct.pack(">I4s", 8, box)) * count
    return start + b"".join(struct.pack(">I4s", 8 * (count - n), box) for n in range(count))


def _iso_media_of_many_frames(chance: random.Random) -> bytes:
    frames = [Image.new("RGB", (48, 32), (n, 0, 0)) for n in range(chance.choice((2, 40)))]
    return _small("AVIF", save_all=True, append_images=frames, speed=10)


# ---------------------------------------------------------------- no images


def _no_image(chance: random.Random) -> bytes:
    return chance.choice(
        (
            b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbb">]><svg>&b;</svg>',
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"",
            b"\0" * 100_000,
            b"PK\x03\x04" + chance.randbytes(500),
            b"%PDF-1.7\n" + chance.randbytes(500),
            b"\x1f\x8b\x08\0" + _zeros(100),
        )
    )


BOMBS: tuple[Bomb, ...] = (
    _png_full_of_zeros,
    _png_full_of_zeros,
    _png_with_packed_metadata,
    _png_of_tiny_chunks,
    _png_of_many_frames,
    _jpeg_that_lies,
    _jpeg_of_many_scans,
    _jpeg_with_metadata,
    _webp_that_lies,
    _webp_of_many_frames,
    _tiff_that_lies,
    _tiff_that_lies,
    _tiff_of_loops,
    _bmp_that_lies,
    _gif_that_lies,
    _iso_media_that_lies,
    _iso_media_that_lies,
    _iso_media_of_boxes,
    _iso_media_of_many_frames,
    _no_image,
)
