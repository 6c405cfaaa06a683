"""Colours: what profiles and kinds of pixels mean, and that none of them costs a photo."""

import random
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from image_kit import heic, image_file, png, png_chunk, png_header, scene
from PIL import Image, ImageCms
from profile_kit import P3, SRGB, cmyk_profile, grey_profile, parametric, rgb_profile, table

from pipeline.colour import _transform
from pipeline.faces import RgbImage
from pipeline.matrix_profile import matrix_conversion
from pipeline.photo import Colour, open_photo

MAX_PIXELS = 1_000_000
SWAPPED = (SRGB[1], SRGB[0], SRGB[2])


def _pixels(data: bytes, colour: Colour = Colour.SRGB) -> RgbImage:
    return open_photo(data, max_pixels=MAX_PIXELS, colour=colour).pixels()


def _off(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - np.asarray(other).astype(int)).mean())


def _with_profile(image_format: str, profile: bytes, image: Image.Image | None = None) -> bytes:
    image = image or scene()
    if image_format == "HEIC":
        return heic(image, icc_profile=profile)
    options = {"quality": 95} if image_format in {"JPEG", "WEBP", "AVIF"} else {}
    return image_file(image, image_format, icc_profile=profile, **options)


def _p3_as_srgb(pixels: np.ndarray) -> np.ndarray:
    """By the book: to light, to XYZ, to sRGB's light, to sRGB's curve."""
    light = (pixels / 255.0) ** 2.2 @ np.array(P3) @ np.linalg.inv(np.array(SRGB))
    light = light.clip(0, 1)
    curve = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(curve * 255)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_a_wide_profile_is_brought_to_srgb_and_left_alone_where_stored_numbers_are_wanted(
    image_format: str,
) -> None:
    profiled = _with_profile(image_format, rgb_profile(P3))
    stored = _pixels(profiled, Colour.STORED)
    assert _off(stored, scene()) < 12
    assert _off(_pixels(profiled), _p3_as_srgb(stored)) < 1.5
    assert _off(_pixels(profiled), stored) > 3


def test_channels_go_where_the_profile_says() -> None:
    red = Image.new("RGB", (20, 20), (255, 0, 0))
    assert _off(_pixels(_with_profile("PNG", rgb_profile(SWAPPED), red)), (0, 255, 0)) < 3


def test_strips_are_converted_alike() -> None:
    tall = Image.fromarray(np.random.default_rng(1).integers(0, 256, (1301, 500, 3), np.uint8))
    pixels = _pixels(_with_profile("PNG", rgb_profile(P3), tall))
    assert _off(pixels, _p3_as_srgb(np.asarray(tall))) < 1.5


CURVES = {
    "straight": table([]),
    "of points": table([0, 900, 4000, 15000, 36000, 65535]),
    "of 1024 points": table([round(65535 * (n / 1023) ** 1.8) for n in range(1024)]),
    "para 0": parametric(0, 1.8),
    "para 1": parametric(1, 2.2, 1.1, -0.1),
    "para 2": parametric(2, 2.2, 1.1, -0.1, 0.0),
    "para 3": parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "para 4": parametric(4, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0.0, 0.0),
}


@pytest.mark.parametrize("name", CURVES)
def test_displays_are_converted_fast_and_as_little_cms_converts_them(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = _with_profile("PNG", rgb_profile(P3, curve=CURVES[name]), scene(300, 200))
    fast = _pixels(data)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.colour._fast", lambda *_: None)
        slow = _pixels(data)
    assert np.abs(fast.astype(int) - slow).max() <= 2
    assert _off(fast, scene(300, 200)) > 3
    made = []
    monkeypatch.setattr("pipeline.colour._transform", _counted(_transform, made))
    _pixels(data)
    assert len(made) == 1  # To try the profile on a few colours, and no more.


def _counted(function: Callable[..., object], calls: list[object]) -> Callable[..., object]:
    def call(*args: object) -> object:
        calls.append(args)
        return function(*args)

    return call


def test_a_display_whose_black_is_not_black_is_left_to_little_cms() -> None:
    lifted = rgb_profile(P3, curve=parametric(2, 2.2, 0.95, 0.0, 0.05))
    black = Image.new("RGB", (9, 9), (0, 0, 0))
    assert _off(_pixels(_with_profile("PNG", lifted, black)), (0, 0, 0)) < 2


def test_a_display_whose_table_says_more_than_its_matrix_is_left_to_little_cms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = _with_profile("PNG", rgb_profile(P3))
    other = matrix_conversion(rgb_profile(SWAPPED))
    expected = _pixels(data)
    monkeypatch.setattr("pipeline.colour.matrix_conversion", lambda _: other)
    assert np.abs(_pixels(data).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_a_profile_holds_for_palettes_and_beside_transparency(mode: str) -> None:
    image = scene().convert(mode)
    pixels = _pixels(_with_profile("PNG", rgb_profile(P3), image))
    assert _off(pixels, _p3_as_srgb(np.asarray(image.convert("RGB")))) < 1.5


def test_grey_follows_its_own_profile() -> None:
    grey = Image.new("L", (30, 30), 128)
    pixels = _pixels(_with_profile("PNG", grey_profile(1.0), grey))
    assert _off(pixels, (188, 188, 188)) < 3  # Half of the light is 188 in sRGB.
    assert (
        _off(_pixels(_with_profile("PNG", grey_profile(1.0), grey), Colour.STORED), (128, 128, 128))
        == 0
    )


def test_srgb_in_its_usual_forms_changes_not_one_number() -> None:
    usual = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(_pixels(_with_profile("PNG", usual)), np.asarray(scene()))
    assert np.array_equal(_pixels(image_file(scene(), "PNG")), np.asarray(scene()))


# ---------------------------------------------------------------- profiles that are none

GOOD = rgb_profile(P3)
BAD_PROFILES = {
    "empty": b"",
    "a word": b"profile",
    "random": random.Random(1).randbytes(600),
    "cut off": GOOD[: len(GOOD) // 2],
    "of grey": grey_profile(1.0),
    "of ink": cmyk_profile((50, 60, 0)),
    "all black": rgb_profile(((0, 0, 0),) * 3),
    "upside down": rgb_profile(tuple(tuple(-value for value in one) for one in SRGB)),
    "no device": GOOD.replace(b"mntr", b"link"),
    "without curves": GOOD.replace(b"rTRC", b"rXXX"),
    "endless": GOOD.ljust(9_000_000, b"\0"),
}


@pytest.mark.parametrize("name", BAD_PROFILES)
def test_a_profile_that_is_none_costs_no_photo(name: str) -> None:
    data = _with_profile("TIFF", BAD_PROFILES[name])
    assert np.array_equal(_pixels(data), np.asarray(scene()))


def test_mutated_profiles_cost_no_photo() -> None:
    chance = random.Random(5)
    for profile in (GOOD, cmyk_profile((50, 60, 0)), grey_profile(2.2)):
        mode = {b"RGB ": "RGB", b"CMYK": "CMYK", b"GRAY": "L"}[profile[16:20]]
        for _ in range(60):
            mutant = bytearray(profile)
            for _ in range(chance.choice((1, 3, 9))):
                mutant[chance.randrange(len(mutant))] = chance.randrange(256)
            image = scene(20, 20).convert(mode)
            assert _pixels(_with_profile("TIFF", bytes(mutant), image)).shape == (20, 20, 3)


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"iCCP", b"bomb\0\0" + zlib.compress(bytes(30_000_000))),
        png_chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(30_000_000))),
        png_chunk(b"iCCP", b"damaged\0\0" + zlib.compress(GOOD))[:-4] + bytes(4),
        png_chunk(b"tIME", b"")[:-1] + b"\0",
    ],
    ids=["endless profile", "endless text", "damaged profile", "damaged time"],
)
def test_metadata_that_the_reader_refuses_costs_no_png(chunk: bytes) -> None:
    data = image_file(scene(), "PNG")
    pixels = _pixels(data[:33] + chunk + data[33:])
    assert np.array_equal(pixels, np.asarray(scene()))


# ---------------------------------------------------------------- kinds of pixels


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_follows_its_profile_or_else_the_plain_rule(image_format: str) -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    plain = image_file(cyan, image_format)
    assert _off(_pixels(plain), (0, 255, 255)) < 3
    profiled = image_file(cyan, image_format, icc_profile=cmyk_profile((50, 60, 0)))
    red, green, _ = _pixels(profiled)[8, 8].astype(int)
    assert red > green + 80
    assert _off(_pixels(profiled, Colour.STORED), (0, 255, 255)) < 3


def test_lab_is_read() -> None:
    red = Image.frombytes("LAB", (8, 8), bytes((136, 80, 67)) * 64)
    assert _off(_pixels(image_file(red, "TIFF")), (255, 0, 0)) < 8


def _tiff(width: int, height: int, bits: tuple[int, ...], photometric: int, rows: bytes) -> bytes:
    """One uncompressed strip."""
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, len(bits), bits[0] if len(bits) == 1 else 8),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 200),
        (277, 3, 1, len(bits)),
        (278, 3, 1, height),
        (279, 4, 1, len(rows)),
    ]
    head = b"II*\0" + struct.pack("<I", 16) + struct.pack("<4H", *bits, *[0] * (4 - len(bits)))
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (head + struct.pack("<H", len(tags)) + entries + bytes(4)).ljust(200, b"\0") + rows


def test_16_bit_rgb_tiffs_keep_their_upper_bits() -> None:
    colours = np.linspace(0, 65535, 20 * 30 * 3, dtype=np.uint16).reshape(20, 30, 3)
    data = _tiff(30, 20, (16, 16, 16), 2, colours.astype("<u2").tobytes())
    assert np.array_equal(_pixels(data), colours >> 8)


def test_12_bit_grey_is_scaled_by_its_own_range() -> None:
    # Two pixels in three bytes: 0xFFF and 0x800.
    pixels = _pixels(_tiff(2, 1, (12,), 1, bytes((0xFF, 0xF8, 0x00))))
    assert pixels[0, :, 0].tolist() == [255, 128]


def test_16_bit_grey_with_alpha_is_read() -> None:
    samples = np.zeros((4, 4, 2), dtype=">u2")
    samples[:, :, 0] = np.arange(16).reshape(4, 4) << 12
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    data = png(png_header(4, 4, bits=16, colour=4), zlib.compress(rows))
    assert np.array_equal(_pixels(data)[:, :, 1], samples[:, :, 0] >> 8)


def test_heic_of_10_bits_of_grey_and_of_transparency_is_read() -> None:
    assert (
        _off(_pixels(heic(scene().convert("L"))), np.asarray(scene().convert("L").convert("RGB")))
        < 6
    )
    clear = scene()
    clear.putalpha(0)
    assert _off(_pixels(heic(clear)), scene()) < 12
    import pillow_heif

    deep = (np.asarray(scene()).astype("<u2") << 8).tobytes()
    ten_bits = pillow_heif.from_bytes(mode="RGB;16", size=(90, 60), data=deep)
    assert _off(_pixels(heic(ten_bits)), scene()) < 12
