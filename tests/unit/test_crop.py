"""A face that is cut out: upright, small, and nothing but its pixels."""

import io

import numpy as np
import pytest
from image_kit import ORIENTATION, heic, image_file
from PIL import Image, ImageOps
from profile_kit import P3, rgb_profile

from pipeline.crop import face_crop
from pipeline.cut import Cut
from pipeline.errors import (
    ImageTooLargeError,
    NotAnImageError,
    PhotoError,
    TruncatedImageError,
)
from pipeline.faces import Box

MAX_PIXELS = 4_000_000
BOX = Box(left=60, top=40, right=100, bottom=90)
COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}


def portrait(width: int = 240, height: int = 160) -> Image.Image:
    """Grey, with a "face": red above, green below on the left, blue below on the right."""
    image = Image.new("RGB", (width, height), (120, 120, 120))
    scale = width // 240
    for name, box in {
        "red": (60, 40, 100, 65),
        "green": (60, 65, 80, 90),
        "blue": (80, 65, 100, 90),
    }.items():
        image.paste(COLOURS[name], tuple(scale * side for side in box))
    return image


def stored_as(orientation: int, image: Image.Image) -> bytes:
    """A JPEG whose EXIF orientation turns its pixels upright, with a position in it."""
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    lying = image if back is None else image.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[0x010F] = "Camera of Ada"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "N", (52.0, 31.0, 12.0)
    return image_file(lying, "JPEG", quality=95, exif=exif, comment=b"serial 4711")


def cut(margin: float = 0.0, size_px: int = 256, rotation: int = 0, box: Box = BOX) -> Cut:
    return Cut(box=box, rotation=rotation, margin=margin, size_px=size_px)


def cropped(data: bytes, wanted: Cut) -> Image.Image:
    made = face_crop(data, wanted, max_pixels=MAX_PIXELS)
    image = Image.open(io.BytesIO(made))
    assert image.format == "JPEG"
    image.load()
    return image


def colour_at(image: Image.Image, x: float, y: float) -> str:
    """Which of the colours is at this share of the width and height."""
    pixel = image.getpixel((int(x * image.width), int(y * image.height)))
    off = {
        name: max(abs(a - b) for a, b in zip(pixel, one, strict=True))
        for name, one in COLOURS.items()
    }
    name = min(off, key=lambda one: off[one])
    return name if off[name] < 40 else "other"


def corners(image: Image.Image) -> tuple[str, str, str]:
    """Above in the middle, below on the left, below on the right."""
    return colour_at(image, 0.5, 0.2), colour_at(image, 0.2, 0.8), colour_at(image, 0.8, 0.8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_upright_and_without_its_metadata(orientation: int) -> None:
    data = stored_as(orientation, portrait())
    with Image.open(io.BytesIO(data)) as stored:
        assert stored.getexif().get_ifd(0x8825)
        assert corners(ImageOps.exif_transpose(stored).crop((60, 40, 100, 90)))[0] == "red"
    image = cropped(data, cut())
    assert image.size == (40, 50)
    assert corners(image) == ("red", "green", "blue")
    assert not image.getexif()
    assert {*image.info} <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_no_byte_of_the_metadata_is_in_the_crop() -> None:
    made = face_crop(stored_as(6, portrait()), cut(), max_pixels=MAX_PIXELS)
    for told in (b"Exif", b"Ada", b"4711", b"ICC_PROFILE", b"http"):
        assert told not in made


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_face_that_lies_on_its_side_is_turned(rotation: int) -> None:
    # The photo was taken so: no EXIF data tells of it.
    quarters = rotation // 90
    lying = Image.fromarray(np.rot90(np.asarray(portrait()), quarters).copy())
    box = BOX
    width, height = 240, 160
    for _ in range(quarters):
        box = Box(left=box.top, top=width - box.right, right=box.bottom, bottom=width - box.left)
        width, height = height, width
    image = cropped(image_file(lying, "PNG"), cut(rotation=rotation, box=box))
    assert image.size == (40, 50)
    assert corners(image) == ("red", "green", "blue")


def test_the_margin_is_of_the_box_and_ends_at_the_photos_edge() -> None:
    data = image_file(portrait(), "PNG")
    assert cropped(data, cut(margin=0.5)).size == (80, 100)
    assert cropped(data, cut(margin=2)).size == (60 + 40 + 80, 160)
    edge = Box(left=220, top=0, right=240, bottom=20)
    assert cropped(data, cut(margin=1, box=edge)).size == (40, 40)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_a_large_face_is_made_smaller_and_a_small_one_not_larger(image_format: str) -> None:
    data = image_file(portrait(1920, 1280), image_format)
    box = Box(left=480, top=320, right=800, bottom=720)
    large = cropped(data, cut(size_px=100, box=box))
    assert large.size == (80, 100)
    assert corners(large) == ("red", "green", "blue")
    assert cropped(data, cut(size_px=1024, box=box)).size == (320, 400)


def test_colours_are_those_of_srgb() -> None:
    image = portrait()
    profile = rgb_profile(P3)
    made = cropped(image_file(image, "JPEG", icc_profile=profile, quality=95), cut())
    plain = cropped(image_file(image, "JPEG", quality=95), cut())
    assert "icc_profile" not in made.info
    assert made.getpixel((20, 10)) != plain.getpixel((20, 10))


@pytest.mark.parametrize("image_format", ["WEBP", "TIFF", "AVIF", "BMP", "HEIC"])
def test_every_format_can_be_cut(image_format: str) -> None:
    image = portrait()
    data = heic(image) if image_format == "HEIC" else image_file(image, image_format)
    assert corners(cropped(data, cut())) == ("red", "green", "blue")


@pytest.mark.parametrize(
    "box",
    [
        Box(left=0, top=0, right=1, bottom=1),
        Box(left=239, top=159, right=240, bottom=160),
        Box(left=240, top=160, right=240, bottom=160),
        Box(left=0, top=0, right=240, bottom=1),
        Box(left=-50, top=-50, right=0, bottom=0),
        Box(left=300, top=300, right=400, bottom=400),
    ],
)
def test_a_box_of_any_kind_gives_a_picture(box: Box) -> None:
    for image_format in ("JPEG", "PNG"):
        image = cropped(image_file(portrait(), image_format), cut(box=box, size_px=16))
        assert min(image.size) >= 1
        assert max(image.size) <= 16


def test_a_hostile_photo_is_refused() -> None:
    data = image_file(portrait(), "PNG")
    with pytest.raises(ImageTooLargeError):
        face_crop(data, cut(), max_pixels=240 * 160 - 1)
    with pytest.raises(TruncatedImageError):
        face_crop(data[: len(data) // 2], cut(), max_pixels=MAX_PIXELS)
    with pytest.raises(NotAnImageError):
        face_crop(b"words", cut(), max_pixels=MAX_PIXELS)
    with pytest.raises(PhotoError):
        face_crop(b"", cut(), max_pixels=MAX_PIXELS)
