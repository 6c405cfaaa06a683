"""dlib-classic gives what face_recognition gives, alone or in batches, from checked models only."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import dlib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.detectors.hog import HogDetector
from pipeline.engine import EMBED_BATCH_CHIPS, Engine
from pipeline.faces import Box, DetectedPhoto, PhotoFaces, RgbImage
from pipeline.loader import load_engine
from pipeline.scene import ArrayScene
from pipeline.specs import engine_spec

MODELS = Path(str(files("face_recognition_models"))) / "models"
# The partial face's box reaches over the photo's left edge.
PHOTOS = ("kit_with_rose.jpg", "obama_partial_face.jpg", "two_people.jpg")


@pytest.fixture(scope="module")
def engine(models_dir: Path) -> Engine:
    return load_engine("dlib-classic", models_dir)


@pytest.fixture(scope="module")
def images(photos_dir: Path) -> list[RgbImage]:
    return [_read(photos_dir / "demo" / "photos" / name) for name in PHOTOS]


@pytest.fixture(scope="module")
def extracted(engine: Engine, images: list[RgbImage]) -> list[PhotoFaces]:
    return engine.extract_batch(map(ArrayScene, images))


def _read(path: Path) -> RgbImage:
    """A photo as `face_recognition.load_image_file` reads it."""
    return np.array(Image.open(path).convert("RGB"))


def _reference(image: RgbImage) -> list[tuple[tuple[int, ...], NDArray[np.float64]]]:
    """`face_locations` and `face_encodings` of face_recognition 1.3.0, with dlib's plain calls."""
    points = dlib.shape_predictor(str(MODELS / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(
        str(MODELS / "dlib_face_recognition_resnet_model_v1.dat")
    )
    height, width = image.shape[:2]
    return [
        (
            (
                max(found.left(), 0),
                max(found.top(), 0),
                min(found.right(), width),
                min(found.bottom(), height),
            ),
            np.array(network.compute_face_descriptor(image, points(image, found), 1)),
        )
        for found in dlib.get_frontal_face_detector()(image, 1)
    ]


def _as_tuple(box: Box) -> tuple[int, ...]:
    return (box.left, box.top, box.right, box.bottom)


def test_boxes_and_embeddings_equal_those_of_face_recognition(
    images: Sequence[RgbImage], extracted: Sequence[PhotoFaces]
) -> None:
    for image, photo in zip(images, extracted, strict=True):
        expected = _reference(image)
        assert [_as_tuple(face.box) for face in photo.faces] == [box for box, _ in expected]
        for face, (_, encoding) in zip(photo.faces, expected, strict=True):
            assert np.linalg.norm(face.embedding - encoding) <= 1e-5


def test_a_face_carries_everything_in_the_documented_shape(
    images: Sequence[RgbImage], extracted: Sequence[PhotoFaces]
) -> None:
    photo = extracted[0]
    assert (photo.height_px, photo.width_px) == images[0].shape[:2]
    assert len(photo.faces) == 2
    for face in photo.faces:
        assert face.embedding.shape == (engine_spec("dlib-classic").dimension,)
        assert face.embedding.dtype == np.float32
        assert len(face.landmarks) == 5
        assert all(0 <= x < photo.width_px and 0 <= y < photo.height_px for x, y in face.landmarks)


def test_the_surest_face_comes_first(extracted: Sequence[PhotoFaces]) -> None:
    for photo in extracted:
        scores = [face.score for face in photo.faces]
        assert scores == sorted(scores, reverse=True)


def test_a_batch_gives_what_its_photos_give_alone_and_each_time(
    engine: Engine, images: Sequence[RgbImage], extracted: Sequence[PhotoFaces]
) -> None:
    for image, together in zip(images, extracted, strict=True):
        (alone,) = engine.extract_batch([ArrayScene(image)])
        assert [face.box for face in alone.faces] == [face.box for face in together.faces]
        for one, other in zip(alone.faces, together.faces, strict=True):
            assert one.landmarks == other.landmarks
            assert np.array_equal(one.embedding, other.embedding)


def test_faces_go_back_to_their_photos_over_the_edge_of_a_batch(
    engine: Engine, images: Sequence[RgbImage], extracted: Sequence[PhotoFaces]
) -> None:
    detected = engine.detect(ArrayScene(images[0]))
    empty = DetectedPhoto(width_px=1, height_px=1, faces=())
    many = DetectedPhoto(width_px=1, height_px=1, faces=(detected.faces[0],) * EMBED_BATCH_CHIPS)
    first, second, last = engine.embed([many, empty, detected])
    assert len(first.faces) == EMBED_BATCH_CHIPS
    assert second.faces == ()
    for face, expected in zip(last.faces, extracted[0].faces, strict=True):
        assert np.array_equal(face.embedding, expected.embedding)


def test_a_photo_without_faces_gives_none(engine: Engine) -> None:
    for size in ((1, 1), (1, 3000), (3000, 1), (200, 200)):
        grey = np.full((*size, 3), 128, dtype=np.uint8)
        (photo,) = engine.extract_batch([ArrayScene(grey)])
        assert (photo.height_px, photo.width_px) == size
        assert photo.faces == ()
    assert engine.extract_batch([]) == []


def test_a_large_group_is_found(engine: Engine, photos_dir: Path) -> None:
    photo = engine.detect(ArrayScene(_read(photos_dir / "groups" / "solvay1927.jpg")))
    assert len(photo.faces) >= 20


def test_a_photo_over_the_cap_is_searched_without_upsampling(
    monkeypatch: pytest.MonkeyPatch, images: Sequence[RgbImage], engine: Engine
) -> None:
    small = np.ascontiguousarray(images[2][::2, ::2])
    assert isinstance(engine.detector, HogDetector)
    upsampled = engine.detector.detect(ArrayScene(small))
    monkeypatch.setattr("pipeline.detectors.hog.UPSAMPLED_MAX_PIXELS", small.size // 3 - 1)
    plain = engine.detector.detect(ArrayScene(small))
    boxes, _, _ = dlib.get_frontal_face_detector().run(small, 0, 0.0)
    assert [_as_tuple(found.box)[:2] for found in plain] == [(b.left(), b.top()) for b in boxes]
    assert plain != upsampled
