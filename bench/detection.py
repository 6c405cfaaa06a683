"""How many faces the detectors find and miss, and what they take for one.

A part of `make accuracy`. Two detectors: YuNet as the engine `dlib` uses it, and dlib's HOG with
one upsampling, which is what face_recognition uses. Each photo goes to both as the same JPEG, and
the CPU time is that of decoding and detecting.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from io import BytesIO
from pathlib import Path

import dlib
import numpy as np
from PIL import Image, ImageOps

from bench.evaluation.boxes import Tally, moved, tally, trimmed
from bench.evaluation.data import BUILD
from bench.evaluation.photos import MAX_PIXELS
from bench.photos import DATA, Corners, KnownFace, below, known_faces
from pipeline.engine import Engine
from pipeline.loader import load_engine

ENGINE = "dlib"
LARGE_PIXELS = 24_000_000
CANVAS_PX = (6000, 4000)
CANVAS_GREY = (110, 110, 110)
JPEG_QUALITY = 95
MIN_BOX_PX = 24
"""On dlib-faces: smaller faces in the background are in the photos and not in the annotations."""


class Scale(StrEnum):
    """In which size a group photo is shown to the detectors."""

    OWN = "own size"
    ENLARGED = "enlarged to 24 megapixels"
    CANVAS = "own size, in a canvas of 24 megapixels"


@dataclass(frozen=True, slots=True)
class Annotated:
    """A photo with the faces that are in it."""

    path: Path
    faces: tuple[KnownFace, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a detector made of a set of photos."""

    tally: Tally
    photos: int
    cpu_ms: float
    """Per photo, decoding included."""


Detect = Callable[[bytes], list[Corners]]


def measured(photos: Sequence[Annotated], detect: Detect, scale: Scale, min_px: int) -> Measured:
    """Runs a detector over annotated photos; boxes narrower than `min_px` are passed over."""
    total, cpu_s = Tally(), 0.0
    for photo in photos:
        data, known, (width, height) = _shown(photo, scale)
        start_s = time.process_time()
        boxes = detect(data)
        cpu_s += time.process_time() - start_s
        inside = [trimmed(box, width, height) for box in boxes]
        total += tally(known, [box for box in inside if box[2] - box[0] >= min_px])
    return Measured(tally=total, photos=len(photos), cpu_ms=1000 * cpu_s / len(photos))


def _shown(photo: Annotated, scale: Scale) -> tuple[bytes, list[KnownFace], tuple[int, int]]:
    """The photo as a JPEG, its faces and its size."""
    if scale is Scale.OWN:
        image = ImageOps.exif_transpose(Image.open(photo.path))
        return photo.path.read_bytes(), list(photo.faces), image.size
    image = ImageOps.exif_transpose(Image.open(photo.path)).convert("RGB")
    factor, x, y = 1.0, 0, 0
    if scale is Scale.ENLARGED:
        factor = (LARGE_PIXELS / (image.width * image.height)) ** 0.5
        size = round(image.width * factor), round(image.height * factor)
        shown = image.resize(size, Image.Resampling.BICUBIC)
    else:
        shown = Image.new("RGB", CANVAS_PX, CANVAS_GREY)
        x, y = (CANVAS_PX[0] - image.width) // 2, (CANVAS_PX[1] - image.height) // 2
        shown.paste(image, (x, y))
    file = BytesIO()
    shown.save(file, "JPEG", quality=JPEG_QUALITY)
    known = [replace(face, box=moved(face.box, factor, x, y)) for face in photo.faces]
    return file.getvalue(), known, shown.size


def yunet(engine: Engine) -> Detect:
    """The engine's own detector, on a photo that it opens itself."""

    def detect(data: bytes) -> list[Corners]:
        found = engine.detector.detect(engine.open(data, max_pixels=MAX_PIXELS))
        return [(one.box.left, one.box.top, one.box.right, one.box.bottom) for one in found]

    return detect


def hog(data: bytes) -> list[Corners]:
    """As face_recognition reads a photo and looks for faces with its defaults."""
    image = np.asarray(Image.open(BytesIO(data)).convert("RGB"))
    found = _hog_detector()(image, 1)
    return [(one.left(), one.top(), one.right() + 1, one.bottom() + 1) for one in found]


_HOG: list[dlib.fhog_object_detector] = []


def _hog_detector() -> dlib.fhog_object_detector:
    if not _HOG:
        _HOG.append(dlib.get_frontal_face_detector())
    return _HOG[0]


def _annotated(folder: str) -> list[Annotated]:
    known = known_faces(below(DATA / folder))
    return [Annotated(path, tuple(faces)) for path, faces in known.items()]


def all_measured() -> Iterator[tuple[str, str, Measured]]:
    """(photos, detector, result): both detectors on every set; takes minutes of HOG."""
    engine = load_engine(ENGINE, BUILD / "models")
    groups, annotated = _annotated("groups"), _annotated("dlib-faces")
    dogs = [Annotated(DATA / "dlib-faces" / "dogs.jpg", ())]
    sets: list[tuple[str, Sequence[Annotated], Scale, int]] = [
        ("dlib-faces", annotated, Scale.OWN, MIN_BOX_PX),
        ("dogs, no face", dogs, Scale.OWN, 0),
        *((f"groups, {scale}", groups, scale, 0) for scale in Scale),
    ]
    for name, photos, scale, min_px in sets:
        for detector, detect in (("yunet", yunet(engine)), ("hog", hog)):
            yield name, detector, measured(photos, detect, scale, min_px)
