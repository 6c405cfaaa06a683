"""Any bytes end in an upright RGB array or in the one PhotoError that says what is wrong."""

import io
import random
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from image_kit import ORIENTATION, image_file, png, png_header, scene
from PIL import Image, ImageOps, PngImagePlugin

from pipeline.decode import decode
from pipeline.errors import (
    EmptyFileError,
    ImageTooLargeError,
    NotAnImageError,
    PhotoError,
    TruncatedImageError,
    UnsupportedFormatError,
)
from pipeline.faces import RgbImage
from pipeline.loader import load_engine
from pipeline.scene import ArrayScene

MAX_PIXELS = 1_000_000


def _decode(data: bytes) -> RgbImage:
    return decode(data, max_pixels=MAX_PIXELS)


FILES = {
    "jpeg": image_file(scene(), "JPEG"),
    "progressive jpeg": image_file(scene(), "JPEG", progressive=True),
    "cmyk jpeg": image_file(scene().convert("CMYK"), "JPEG"),
    "png": image_file(scene(), "PNG"),
    "palette png": image_file(scene().convert("P"), "PNG"),
    "animated png": image_file(scene(), "PNG", save_all=True, append_images=[scene().rotate(90)]),
    "webp": image_file(scene(), "WEBP"),
    "lossless webp": image_file(scene(), "WEBP", lossless=True),
    "animated webp": image_file(scene(), "WEBP", save_all=True, append_images=[scene().rotate(90)]),
    "tiff": image_file(scene(), "TIFF"),
    "lzw tiff": image_file(scene(), "TIFF", compression="tiff_lzw"),
    "bmp": image_file(scene(), "BMP"),
    "avif": image_file(scene(), "AVIF"),
    "animated avif": image_file(scene(), "AVIF", save_all=True, append_images=[scene().rotate(90)]),
}


# ---------------------------------------------------------------- what is read, and how


@pytest.mark.parametrize("data", FILES.values(), ids=FILES.keys())
def test_every_accepted_format_becomes_the_pixels_that_face_recognition_reads(data: bytes) -> None:
    pixels = _decode(data)
    expected = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert np.array_equal(pixels, expected)


def test_a_real_photo_has_the_pixels_that_face_recognition_reads(photos_dir: Path) -> None:
    path = photos_dir / "demo" / "photos" / "obama-1080p.jpg"
    expected = np.array(Image.open(path).convert("RGB"))
    assert np.array_equal(decode(path.read_bytes(), max_pixels=MAX_PIXELS * 3), expected)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_array_is_upright_whatever_the_exif_orientation(
    image_format: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = image_file(scene(), image_format, exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(_decode(data), np.array(expected.convert("RGB")))
    assert _decode(data).shape == ((60, 90, 3) if orientation < 5 else (90, 60, 3))
    assert _decode(data).flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_box_of_a_face_refers_to_the_upright_photo(
    photos_dir: Path, orientation: int, models_dir: Path
) -> None:
    upright = Image.open(photos_dir / "demo" / "photos" / "kit_with_rose.jpg").convert("RGB")
    stored_as = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = upright if stored_as is None else upright.transpose(stored_as)
    pixels = _decode(image_file(stored, "PNG", compress_level=1, exif=exif))
    assert np.array_equal(pixels, np.array(upright))
    detector = load_engine("dlib-classic", models_dir).detector
    assert detector.detect(ArrayScene(pixels)) == detector.detect(ArrayScene(np.array(upright)))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0" + b"\xff" * 40,
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x01\0\0\x006\0\0\0\0\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0",
        b"Exif\0\0",
    ],
    ids=["garbage", "cut off", "orientation is text", "orientation is 99", "nothing in it"],
)
def test_broken_exif_data_costs_no_photo(exif: bytes) -> None:
    data = image_file(scene(), "JPEG")
    broken = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    assert np.array_equal(_decode(broken), _decode(data))


@pytest.mark.parametrize("name", ["animated png", "animated webp", "animated avif"])
def test_of_an_animation_the_first_frame_is_taken(name: str) -> None:
    difference = np.abs(_decode(FILES[name]).astype(int) - np.array(scene())).mean()
    assert difference < 12  # What WebP loses; the second frame is 60 away.


def test_of_a_file_of_pages_the_first_is_taken() -> None:
    pages = image_file(scene(), "TIFF", save_all=True, append_images=[Image.new("RGB", (5, 5))])
    assert np.array_equal(_decode(pages), np.array(scene()))


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_becomes_the_colour_that_was_printed(image_format: str) -> None:
    # Pillow writes CMYK JPEGs as Adobe does: inverted. Red is magenta and yellow.
    red = image_file(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), image_format)
    assert np.abs(_decode(red).astype(int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(image_format: str) -> None:
    grey = np.linspace(0, 65535, 4096, dtype=np.uint16).reshape(64, 64)
    pixels = _decode(image_file(Image.fromarray(grey), image_format))
    assert np.array_equal(pixels, np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2))


def test_big_endian_16_bit_grey_is_scaled_too() -> None:
    grey = np.linspace(0, 65535, 4096, dtype=np.uint16).reshape(64, 64)
    image = Image.frombytes("I;16B", (64, 64), grey.astype(">u2").tobytes())
    assert np.array_equal(_decode(image_file(image, "TIFF"))[:, :, 1], grey >> 8)


def test_16_bit_rgb_keeps_its_upper_bits() -> None:
    colours = np.linspace(0, 65535, 20 * 30 * 3, dtype=np.uint16).reshape(20, 30, 3)
    assert np.array_equal(_decode(_png_16_bit_rgb(colours)), colours >> 8)


def test_a_palette_is_looked_up_with_and_without_transparency() -> None:
    palette = scene().convert("P")
    expected = np.array(palette.convert("RGB"))
    assert np.array_equal(_decode(image_file(palette, "PNG")), expected)
    assert np.array_equal(_decode(image_file(palette, "PNG", transparency=3)), expected)
    shades = image_file(palette, "PNG", transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns of the loss, and we mean it.
        assert np.array_equal(_decode(shades), expected)


def test_transparency_is_dropped_and_hides_nothing() -> None:
    # Files whose alpha is zero all over are common: composed on white they would be blank.
    rgba = scene()
    rgba.putalpha(0)
    assert np.array_equal(_decode(image_file(rgba, "PNG")), np.array(scene()))
    grey = scene().convert("L")
    grey_alpha = grey.copy()
    grey_alpha.putalpha(0)
    assert np.array_equal(_decode(image_file(grey_alpha, "PNG"))[:, :, 0], np.array(grey))


@pytest.mark.parametrize("alpha", [0, 90])
@pytest.mark.parametrize(
    "options", [{}, {"lossless": True, "exact": True}], ids=["lossy", "lossless"]
)
@pytest.mark.parametrize("frames", [1, 2])
def test_transparent_webp_has_the_pixels_that_face_recognition_reads(
    alpha: int, options: dict[str, object], frames: int
) -> None:
    image = scene(301, 203)
    image.putalpha(alpha)
    more = [image.rotate(180)] * (frames - 1)
    data = image_file(image, "WEBP", save_all=True, append_images=more, **options)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(_decode(data), expected)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF", "BMP"])
def test_one_bit_is_black_and_white(image_format: str) -> None:
    pixels = _decode(image_file(scene().convert("1"), image_format))
    assert set(np.unique(pixels)) == {0, 255}


def test_rows_of_many_strips_are_put_together_in_order() -> None:
    tall = np.random.default_rng(3).integers(0, 256, (2001, 300, 3), dtype=np.uint8)
    assert np.array_equal(_decode(image_file(Image.fromarray(tall), "BMP")), tall)


# ---------------------------------------------------------------- what is refused, and how


def test_no_bytes_are_an_emptyimage_file() -> None:
    with pytest.raises(EmptyFileError):
        _decode(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\0" * 1000,
        b"hello, I am a text file",
        b"BMW is a maker of cars, and this is a text",
        b"BM",
        b"P1 is the first line of my notes",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"%this is no PDF",
        b"PK\x03\x04 a zip",
        b"<html><body>404 Not Found</body></html>",
        bytes(range(256)) * 4,
        random.Random(1).randbytes(5000),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_bytes_that_are_no_image_are_called_that(data: bytes) -> None:
    with pytest.raises(NotAnImageError, match="JPEG, PNG, WebP, TIFF, BMP, HEIC or AVIF"):
        _decode(data)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("GIF", image_file(scene(), "GIF")),
        ("GIF", image_file(scene(), "GIF", save_all=True, append_images=[scene().rotate(9)])),
        ("JPEG 2000", image_file(scene(), "JPEG2000")),
        ("JPEG 2000", image_file(scene(), "JPEG2000", no_jp2=True)),
        ("icon", image_file(scene(), "ICO")),
        ("icon", image_file(scene(), "ICNS")),
        ("DDS", image_file(scene(), "DDS")),
        ("QOI", image_file(scene(), "QOI")),
        ("SGI", image_file(scene(), "SGI")),
        ("PCX", image_file(scene(), "PCX")),
        ("Netpbm", image_file(scene(), "PPM")),
        ("PostScript", image_file(scene(), "EPS")),
        ("PDF", image_file(scene(), "PDF")),
    ],
)
def test_an_image_of_another_format_is_refused_by_its_name(name: str, data: bytes) -> None:
    with pytest.raises(UnsupportedFormatError, match=f"{name}.*save it as JPEG"):
        _decode(data)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_32_bits_are_refused_because_their_range_is_unknown(mode: str) -> None:
    with pytest.raises(UnsupportedFormatError, match="8 or 16 bits"):
        _decode(image_file(scene().convert(mode), "TIFF"))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about metadata.
@pytest.mark.parametrize("name", FILES.keys())
def test_a_truncated_file_gives_an_error_or_all_of_its_pixels(name: str) -> None:
    data = FILES[name]
    whole = _decode(data)
    # The last bytes of PNG and BMP are no pixels, and an animation's first frame ends early.
    for end in range(20, len(data) - 22, 37):
        try:
            pixels = _decode(data[:end])
        except TruncatedImageError:
            continue
        assert name == "animated png"
        assert np.array_equal(pixels, whole)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", FILES.keys())
def test_half_a_file_is_called_truncated(name: str) -> None:
    with pytest.raises(TruncatedImageError, match="send the whole file"):
        _decode(FILES[name][: len(FILES[name]) // 3])


def _png_16_bit_rgb(colours: np.ndarray) -> bytes:
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    height, width = colours.shape[:2]
    return png(png_header(width, height, bits=16), zlib.compress(rows))


@cache
def _bombs() -> dict[str, bytes]:
    """Small files that say they hold 200 megapixels, and the PNG does."""
    width, height = 20_000, 10_000
    rows = zlib.compressobj()
    row = b"\0" * (width * 3 + 1)
    idat = b"".join(rows.compress(row) for _ in range(height)) + rows.flush()
    jpeg = image_file(scene(), "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    tiff = bytearray(image_file(scene(), "TIFF", compression="tiff_lzw"))
    for tag, value in ((256, width), (257, height)):
        entry = tiff.index(struct.pack("<HHI", tag, 3, 1))
        tiff[entry : entry + 12] = struct.pack("<HHII", tag, 4, 1, value)
    bmp = bytearray(image_file(scene(), "BMP"))
    bmp[18:26] = struct.pack("<ii", width, height)
    side = 14_143  # The largest WebP is 16,383 pixels wide.
    frame = struct.pack("<I", (side - 1) | (side - 1) << 14)
    webp = b"VP8L" + struct.pack("<I", 6) + b"\x2f" + frame + b"\0"
    return {
        "png": png(png_header(width, height), idat),
        "jpeg": jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :],
        "tiff": bytes(tiff),
        "bmp": bytes(bmp),
        "webp": b"RIFF" + struct.pack("<I", 4 + len(webp)) + b"WEBP" + webp,
    }


@pytest.mark.parametrize("name", ["png", "jpeg", "tiff", "bmp", "webp"])
def test_200_megapixels_are_refused(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageTooLargeError, match="send a smaller"):
            decode(_bombs()[name], max_pixels=100_000_000)


def test_a_photo_of_exactly_the_cap_is_taken() -> None:
    data = image_file(scene(), "PNG")
    assert decode(data, max_pixels=90 * 60).shape == (60, 90, 3)
    with pytest.raises(ImageTooLargeError, match="90 x 60 pixels are more than the 5399 allowed"):
        decode(data, max_pixels=90 * 60 - 1)


def test_bombs_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    paths = []
    for name, data in _bombs().items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    code = """
import pathlib, resource, sys
from pipeline.decode import decode
from pipeline.errors import ImageTooLargeError
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before_kb = peak()
for name in sys.argv[1:]:
    try:
        decode(pathlib.Path(name).read_bytes(), max_pixels=100_000_000)
    except ImageTooLargeError:
        continue
    sys.exit(name + " was not refused")
print(peak() - before_kb)
"""
    command = [sys.executable, "-c", code, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 30_000  # kB; decoded, any of them takes 600,000.


def test_messages_hold_no_bytes_of_the_photo() -> None:
    secret = b"4111-1111-1111-1111"
    for data in (secret * 9, FILES["jpeg"][:90] + secret * 50, b"GIF89a" + secret * 9):
        with pytest.raises(PhotoError) as caught:
            _decode(data)
        assert "4111" not in str(caught.value)


# Pillow's readers have raised every one of these on some bytes; no file shows them all at once.
NONSENSE = (OSError, EOFError, SyntaxError, ValueError, TypeError, KeyError, IndexError)
NONSENSE += (OverflowError, ZeroDivisionError, AttributeError, AssertionError, RuntimeError)
NONSENSE += (NotImplementedError, RecursionError, UnicodeDecodeError, struct.error, zlib.error)


def _raiser(error: type[Exception]) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error("utf-8", b"", 0, 1, "") if error is UnicodeDecodeError else error

    return fail


@pytest.mark.parametrize("error", NONSENSE)
@pytest.mark.parametrize("step", ["_open", "load"])
def test_whatever_the_reader_raises_the_photo_is_to_blame(
    monkeypatch: pytest.MonkeyPatch, step: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(PngImagePlugin.PngImageFile, step, _raiser(error))
    with pytest.raises(TruncatedImageError):
        _decode(FILES["png"])


@pytest.mark.parametrize("error", [*NONSENSE, MemoryError])
def test_whatever_reading_exif_raises_the_photo_is_taken_as_upright(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    monkeypatch.setattr(Image.Image, "getexif", _raiser(error))
    assert np.array_equal(_decode(FILES["png"]), np.array(scene()))


@pytest.mark.parametrize("step", ["_open", "load"])
def test_an_image_that_memory_does_not_hold_is_too_large(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(PngImagePlugin.PngImageFile, step, _raiser(MemoryError))
    with pytest.raises(ImageTooLargeError, match="send a smaller one"):
        _decode(FILES["png"])


SEEDS = ("cmyk jpeg", "jpeg", "palette png", "animated webp", "lossless webp", "tiff", "lzw tiff")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about metadata.
@pytest.mark.parametrize("name", [*SEEDS, "bmp", "animated png"])
def test_mutated_images_end_in_pixels_or_in_a_photo_error(name: str) -> None:
    chance = random.Random(name)
    for _ in range(120):
        mutant = _mutated(FILES[name], chance)
        try:
            pixels = _decode(mutant)
        except PhotoError:
            continue
        assert pixels.ndim == 3
        assert pixels.size <= MAX_PIXELS * 3


def _mutated(data: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, mostly in the headers; at times a part cut out or doubled."""
    mutant = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        reach = len(mutant) if chance.random() < 0.5 else min(len(mutant), 400)
        mutant[chance.randrange(reach)] = chance.choice((0, 0x7F, 0xFF, chance.randrange(256)))
    start, length = chance.randrange(len(mutant)), chance.randrange(200)
    part = mutant[start : start + length]
    mutant[start : start + length] = chance.choice((part, part, b"", part * 2))
    return bytes(mutant)
