"""The faces that detectors are measured against: each once, inside its photo, and none left out."""

import csv
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

ANNOTATIONS = Path(__file__).parents[2] / "bench" / "annotations"
LINES = (ANNOTATIONS / "groups.csv").read_text().splitlines()
HEADER = "photo,width,height,left,top,right,bottom,difficult"


class _Face(NamedTuple):
    """A line of the file; the box's right and bottom are exclusive."""

    photo: str
    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int
    difficult: int


def _faces() -> list[_Face]:
    return [_Face(photo, *map(int, numbers)) for photo, *numbers in csv.reader(LINES[1:])]


def _iou(one: _Face, other: _Face) -> float:
    width = min(one.right, other.right) - max(one.left, other.left)
    height = min(one.bottom, other.bottom) - max(one.top, other.top)
    shared = max(0, width) * max(0, height)
    areas = sum((face.right - face.left) * (face.bottom - face.top) for face in (one, other))
    return shared / (areas - shared)


def test_the_file_holds_a_photo_and_whole_numbers_in_each_line() -> None:
    assert LINES[0] == HEADER
    wrong = [line for line in LINES[1:] if not re.fullmatch(r"[\w-]+\.jpg(,\d+){6},[01]", line)]
    assert not wrong


def test_every_box_lies_inside_its_photo() -> None:
    for face in _faces():
        assert 0 <= face.left < face.right <= face.width, face
        assert 0 <= face.top < face.bottom <= face.height, face


def test_a_face_is_there_once() -> None:
    """A second box for it would count as missed, whatever is detected."""
    for one, other in combinations(_faces(), 2):
        assert one.photo != other.photo or _iou(one, other) < 0.1, (one, other)


def test_every_photo_has_one_size_and_several_faces_that_count() -> None:
    faces = _faces()
    sizes = {(face.photo, face.width, face.height) for face in faces}
    scored = Counter(face.photo for face in faces if not face.difficult)
    assert len(sizes) == len({face.photo for face in faces}) == len(scored)
    assert min(scored.values()) >= 3


def test_the_readme_counts_the_faces() -> None:
    table = re.findall(r"^\| (\S+\.jpg) \| (\d+) \| (\d+) \|$", _readme(), re.MULTILINE)
    scored = Counter(face.photo for face in _faces() if not face.difficult)
    difficult = Counter(face.photo for face in _faces() if face.difficult)
    assert {photo: (int(one), int(other)) for photo, one, other in table} == {
        photo: (scored[photo], difficult[photo]) for photo in scored | difficult
    }


def test_every_group_photo_is_annotated_at_its_upright_size(photos_dir: Path) -> None:
    sizes = {face.photo: (face.width, face.height) for face in _faces()}
    assert sizes == {path.name: _upright_size(path) for path in (photos_dir / "groups").iterdir()}


def _readme() -> str:
    return (ANNOTATIONS / "README.md").read_text()


def _upright_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).size
