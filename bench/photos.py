"""The photos that benchmarks run on, and where their faces are known to be."""

import csv
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
TEST_DATA = "FACEBATCH_TEST_DATA"
DATA = Path(os.environ.get(TEST_DATA, REPOSITORY.parent / "shared" / "data"))
ANNOTATIONS = REPOSITORY / "bench" / "annotations" / "groups.csv"
SUFFIXES = {".jpg", ".jpeg", ".png"}
"""Those that the command `face_recognition` takes."""
MIN_IOU = 0.4
"""See bench/annotations/README.md."""

Corners = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFace:
    """A face that a person has seen in a photo."""

    box: Corners
    difficult: bool = False
    """Counts neither as found nor as missed."""


def default_photos(lfw: int = 500) -> list[Path]:
    """All of the demo's photos, the groups and dlib's, and every n-th of LFW, `lfw` of them."""
    if not DATA.is_dir():
        raise SystemExit(f"no photos: {DATA} is absent; name a folder with PHOTOS=dir")
    photos = [path for name in ("demo", "groups", "dlib-faces") for path in below(DATA / name)]
    people = below(DATA / "lfw" / "images")
    return photos + [people[n * len(people) // lfw] for n in range(min(lfw, len(people)))]


def below(folder: Path) -> list[Path]:
    """The photos below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def known_faces(photos: Iterable[Path]) -> dict[Path, list[KnownFace]]:
    """The faces of those photos of which they are known."""
    groups, annotated = _groups(), _dlib_faces()
    known = {}
    for photo in photos:
        if photo.parent == DATA / "groups" and photo.name in groups:
            known[photo] = groups[photo.name]
        elif photo.parent == DATA / "dlib-faces" and photo.name in annotated:
            known[photo] = annotated[photo.name]
    return known


def is_of_lfw(photo: Path) -> bool:
    """Whether a photo is one of LFW's, whose person is in its centre."""
    return DATA / "lfw" in photo.parents


def faces_found(known: Sequence[KnownFace], boxes: Sequence[Corners]) -> int:
    """How many known faces that are not difficult have a box of their own, best pairs first."""
    pairs = sorted(
        ((iou(face.box, box), n, m) for n, face in enumerate(known) for m, box in enumerate(boxes)),
        reverse=True,
    )
    taken_faces: set[int] = set()
    taken_boxes: set[int] = set()
    for overlap, n, m in pairs:
        if overlap < MIN_IOU or n in taken_faces or m in taken_boxes:
            continue
        taken_faces.add(n)
        taken_boxes.add(m)
    return sum(not known[n].difficult for n in taken_faces)


def iou(one: Corners, other: Corners) -> float:
    """Intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(one) + _area(other) - shared)


def _area(box: Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _groups() -> dict[str, list[KnownFace]]:
    known: dict[str, list[KnownFace]] = {}
    with ANNOTATIONS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            left, top, right, bottom = (
                float(row[key]) for key in ("left", "top", "right", "bottom")
            )
            face = KnownFace(box=(left, top, right, bottom), difficult=row["difficult"] == "1")
            known.setdefault(row["photo"], []).append(face)
    return known


def _dlib_faces() -> dict[str, list[KnownFace]]:
    known = {}
    for name in ("training.xml", "testing.xml"):
        path = DATA / "dlib-faces" / name
        for image in ET.parse(path).getroot().iter("image") if path.is_file() else ():
            known[Path(image.get("file", "")).name] = [_from_xml(box) for box in image.iter("box")]
    return known


def _from_xml(box: ET.Element) -> KnownFace:
    left, top = float(box.get("left", 0)), float(box.get("top", 0))
    width, height = float(box.get("width", 0)), float(box.get("height", 0))
    return KnownFace(box=(left, top, left + width, top + height))
