"""When a photo was taken is read beside its orientation, and never costs the photo."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_kit import ORIENTATION, heic, image_file, scene
from PIL import ExifTags, Image

from pipeline.exif import shot_of
from pipeline.photo import open_photo
from pipeline.scene import ArrayScene, TurnedScene
from pipeline.shot import NOT_TOLD, Shot

TAKEN, FRACTION, ZONE = 0x9003, 0x9291, 0x9011


def _exif(orientation: int | None = None, **tags: str) -> Image.Exif:
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {{"taken": TAKEN, "fraction": FRACTION, "zone": ZONE}[name]: tags[name] for name in tags}
    )
    return exif


def _shot(data: bytes) -> Shot:
    return open_photo(data, max_pixels=1_000_000).shot


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_every_format_tells_when_it_was_taken_and_how_it_lies(image_format: str) -> None:
    exif = _exif(6, taken="2024:05:01 12:34:56")
    assert _shot(image_file(scene(), image_format, exif=exif.tobytes())) == Shot(
        taken_at="2024-05-01T12:34:56", orientation=6
    )


def test_heic_tells_the_time_and_is_upright_for_all_who_read_it() -> None:
    exif = _exif(6, taken="2024:05:01 12:34:56")
    data = heic(scene(), exif=exif.tobytes())
    assert _shot(data) == Shot(taken_at="2024-05-01T12:34:56", orientation=1)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "BMP"])
def test_a_photo_without_exif_tells_nothing(image_format: str) -> None:
    assert _shot(image_file(scene(), image_format)) == NOT_TOLD


@pytest.mark.parametrize(
    ("tags", "taken_at"),
    [
        ({"fraction": "5"}, "2024-02-29T23:59:59.5"),
        ({"zone": "+05:45"}, "2024-02-29T23:59:59+05:45"),
        ({"fraction": "120 ", "zone": "Z"}, "2024-02-29T23:59:59.120Z"),
        ({"fraction": "no", "zone": "local"}, "2024-02-29T23:59:59"),
        ({"zone": "+99:00"}, "2024-02-29T23:59:59"),
        ({"taken": "2024-02-29T23:59:59\0"}, "2024-02-29T23:59:59"),
        ({"taken": "0000:00:00 00:00:00"}, None),
        ({"taken": "2023:02:29 10:00:00"}, None),
        ({"taken": "2024:13:01 10:00:00"}, None),
        ({"taken": "2024:01:01 24:00:00"}, None),
        ({"taken": "    :  :     :  :  "}, None),
        ({"taken": ""}, None),
    ],
)
def test_times_are_those_that_can_be(tags: dict[str, str], taken_at: str | None) -> None:
    exif = _exif(**{"taken": "2024:02:29 23:59:59"} | tags)
    assert shot_of(exif, orientation=1).taken_at == taken_at


@given(st.binary(max_size=200), st.integers(0, 255))
def test_whatever_stands_in_the_exif_data_the_photo_can_be_read(noise: bytes, offset: int) -> None:
    exif = bytearray(b"Exif\0\0" + _exif(3, taken="2024:05:01 12:34:56").tobytes().removeprefix(
        b"Exif\0\0"
    ))  # fmt: skip
    exif[offset : offset + len(noise)] = noise
    data = image_file(scene(), "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    photo = open_photo(data, max_pixels=1_000_000)
    assert photo.shot.orientation in range(1, 9)
    assert photo.pixels().size == 3 * photo.width_px * photo.height_px


def test_a_turned_scene_was_taken_when_the_photo_was() -> None:
    shot = Shot(taken_at="2024-05-01T12:34:56", orientation=8)
    upright = ArrayScene(np.zeros((4, 6, 3), dtype=np.uint8), shot)
    assert TurnedScene(scene=upright, quarters=1).shot == shot
