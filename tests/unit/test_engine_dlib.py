"""`dlib` and `sface`: what they promise of boxes, chips, embeddings and turned photos."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import cv2
import dlib
import numpy as np
import pytest
from PIL import Image, ImageFilter

from pipeline.embedders.dlib_resnet import ResnetEmbedder
from pipeline.embedders.mirror import MirrorMean
from pipeline.engine import EMBED_BATCH_CHIPS, Engine
from pipeline.faces import DetectedPhoto, PhotoFaces, RgbImage
from pipeline.loader import load_engine
from pipeline.scene import ArrayScene

RESNET = files("face_recognition_models") / "models" / "dlib_face_recognition_resnet_model_v1.dat"
PHOTOS = ("demo/photos/two_people.jpg", "demo/photos/obama_partial_face.jpg", "groups/group-3.jpg")


def _read(path: Path) -> RgbImage:
    return np.array(Image.open(path).convert("RGB"))


@pytest.fixture(scope="module", params=["dlib", "sface"])
def engine(request: pytest.FixtureRequest, models_dir: Path) -> Engine:
    return load_engine(request.param, models_dir)


@pytest.fixture(scope="module")
def images(photos_dir: Path) -> list[RgbImage]:
    return [_read(photos_dir / name) for name in PHOTOS]


def _one(engine: Engine, image: RgbImage) -> PhotoFaces:
    (photo,) = engine.extract_batch([ArrayScene(np.ascontiguousarray(image))])
    return photo


def test_the_network_gives_what_dlib_gives_on_real_chips(
    models_dir: Path, images: Sequence[RgbImage]
) -> None:
    engine = load_engine("dlib", models_dir)
    chips = [face.chip for one in images for face in engine.detect(ArrayScene(one)).faces]
    assert len(chips) >= 7
    expected = dlib.face_recognition_model_v1(str(RESNET)).compute_face_descriptor(chips, 0)
    assert isinstance(engine.embedder, MirrorMean)
    network = engine.embedder.embedder
    assert isinstance(network, ResnetEmbedder)
    distances = np.linalg.norm(network.embed(np.stack(chips)) - np.asarray(expected), axis=1)
    assert distances.max() <= 1e-5


def test_a_face_and_its_mirror_image_have_one_embedding(
    models_dir: Path, images: Sequence[RgbImage]
) -> None:
    engine = load_engine("dlib", models_dir)
    (face, *_) = engine.detect(ArrayScene(images[0])).faces
    chips = np.stack([face.chip, face.chip[:, ::-1]])
    one, other = engine.embedder.embed(chips)
    assert np.linalg.norm(one - other) <= 1e-5
    plain = engine.embedder.embedder.embed(chips)
    assert np.linalg.norm(plain[0] - plain[1]) > 0.01
    assert np.allclose(one, plain.mean(axis=0), atol=1e-6)


def test_people_look_like_themselves_and_not_like_each_other(
    engine: Engine, photos_dir: Path
) -> None:
    def embedding(name: str) -> np.ndarray:
        (face,) = _one(engine, _read(photos_dir / "demo" / name)).faces
        return face.embedding

    obama, again = embedding("people/obama/obama.jpg"), embedding("photos/obama1.jpg")
    biden = embedding("people/biden/biden.jpg")
    threshold = engine.spec.threshold_distance
    assert np.linalg.norm(obama - again) < threshold < np.linalg.norm(obama - biden)


def test_a_face_carries_everything_in_the_documented_shape(
    engine: Engine, images: Sequence[RgbImage]
) -> None:
    photo = _one(engine, images[0])
    assert (photo.height_px, photo.width_px) == images[0].shape[:2]
    assert photo.rotation == 0
    assert len(photo.faces) == 2
    for face in photo.faces:
        assert face.embedding.shape == (engine.spec.dimension,)
        assert face.embedding.dtype == np.float32
        assert len(face.landmarks) == 5
        assert face.box.left < np.mean([x for x, _ in face.landmarks]) < face.box.right
        assert face.box.top < np.mean([y for _, y in face.landmarks]) < face.box.bottom
        assert face.quality is not None
        assert 0 < face.quality.overall <= 1
    scores = [face.score for face in photo.faces]
    assert scores == sorted(scores, reverse=True)


def test_sface_embeddings_lie_on_the_unit_sphere(
    models_dir: Path, images: Sequence[RgbImage]
) -> None:
    photo = _one(load_engine("sface", models_dir), images[0])
    for face in photo.faces:
        assert np.linalg.norm(face.embedding) == pytest.approx(1, abs=1e-6)


def test_a_batch_gives_what_its_photos_give_alone(
    engine: Engine, images: Sequence[RgbImage]
) -> None:
    for image, together in zip(images, engine.extract_batch(map(ArrayScene, images)), strict=True):
        alone = _one(engine, image)
        assert [face.box for face in alone.faces] == [face.box for face in together.faces]
        for one, other in zip(alone.faces, together.faces, strict=True):
            assert np.linalg.norm(one.embedding - other.embedding) <= 1e-5


def test_a_photo_that_was_decoded_ahead_gives_the_same_to_the_last_bit(
    engine: Engine, photos_dir: Path
) -> None:
    for name in ("demo/photos/obama-1080p.jpg", "demo/people/biden/biden.jpg"):
        data = (photos_dir / name).read_bytes()
        plain, ahead = (engine.open(data, max_pixels=10_000_000) for _ in range(2))
        assert engine.look(ahead).shape[0] < ahead.height_px
        (one, *_), (other, *_) = engine.detect(plain).faces, engine.detect(ahead).faces
        assert (one.box, one.score, one.landmarks) == (other.box, other.score, other.landmarks)
        assert np.array_equal(one.chip, other.chip)


def test_opencv_has_one_thread_in_a_process_that_has_an_engine(models_dir: Path) -> None:
    cv2.setNumThreads(2)
    load_engine.__wrapped__("dlib", models_dir)
    assert cv2.getNumThreads() == 1


def test_faces_go_back_to_their_photos_over_the_edge_of_a_batch(
    engine: Engine, images: Sequence[RgbImage]
) -> None:
    detected = engine.detect(ArrayScene(images[0]))
    empty = DetectedPhoto(width_px=1, height_px=1, faces=())
    many = DetectedPhoto(width_px=1, height_px=1, faces=(detected.faces[0],) * EMBED_BATCH_CHIPS)
    first, second, last = engine.embed([many, empty, detected])
    assert len(first.faces) == EMBED_BATCH_CHIPS
    assert second.faces == ()
    expected = engine.embed([detected])[0]
    for face, alone in zip(last.faces, expected.faces, strict=True):
        assert np.linalg.norm(face.embedding - alone.embedding) <= 1e-5


def test_a_photo_without_faces_gives_none(engine: Engine) -> None:
    for size in ((1, 1), (1, 3000), (3000, 1), (200, 200)):
        photo = _one(engine, np.full((*size, 3), 128, dtype=np.uint8))
        assert (photo.height_px, photo.width_px) == size
        assert photo.faces == ()
        assert photo.rotation == 0
    assert engine.extract_batch([]) == []


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_that_lies_on_its_side_is_turned_and_says_so(
    engine: Engine, images: Sequence[RgbImage], quarters: int
) -> None:
    upright = _one(engine, images[0])
    lying = np.rot90(images[0], quarters)  # Counter-clockwise: it must be turned back clockwise.
    turned = _one(engine, lying)
    assert turned.rotation == 90 * quarters
    assert (turned.height_px, turned.width_px) == lying.shape[:2]
    for one, other in zip(upright.faces, turned.faces, strict=True):
        assert np.linalg.norm(one.embedding - other.embedding) <= 1e-5
        box = other.box
        shown = lying[box.top : box.bottom, box.left : box.right]
        expected = images[0][one.box.top : one.box.bottom, one.box.left : one.box.right]
        assert np.array_equal(np.rot90(shown, -quarters), expected)


def test_small_faces_of_a_large_photo_are_found(engine: Engine, photos_dir: Path) -> None:
    group = Image.open(photos_dir / "groups" / "group-5.jpg").convert("RGB")
    small = group.resize((1200, 1200 * group.height // group.width))
    expected = len(_one(engine, np.array(small)).faces)
    canvas = Image.new("RGB", (6000, 4000), (90, 110, 130))
    canvas.paste(small, (4500, 2800))
    found = _one(engine, np.array(canvas))
    assert expected >= 7
    assert len(found.faces) >= expected
    assert all(face.box.left >= 4400 and face.box.top >= 2700 for face in found.faces)


def test_a_face_that_fills_the_photo_is_found(engine: Engine, photos_dir: Path) -> None:
    portrait = _read(photos_dir / "demo" / "people" / "obama" / "obama.jpg")
    (face,) = _one(engine, portrait).faces
    box = face.box
    closeup = portrait[box.top : box.bottom, box.left : box.right]
    large = np.array(Image.fromarray(closeup).resize((1400, 1800)))
    assert len(_one(engine, large).faces) == 1


def test_a_landscape_behind_somebody_is_nobody(engine: Engine, photos_dir: Path) -> None:
    # The painting at the left of it has two places that look a little like large faces.
    portrait = _read(photos_dir / "demo" / "people" / "biden" / "biden2.jpg")
    (face,) = _one(engine, portrait).faces
    assert face.box.left > 400


def test_quality_falls_with_size_sharpness_and_a_turned_head(
    models_dir: Path, photos_dir: Path
) -> None:
    engine = load_engine("dlib", models_dir)
    photo = Image.open(photos_dir / "demo" / "photos" / "obama-1080p.jpg").convert("RGB")

    def quality(image: Image.Image) -> tuple[float, str]:
        face = engine.detect(ArrayScene(np.array(image))).faces[0]
        return face.quality.overall, face.quality.limit.value

    good, _ = quality(photo)
    small, why_small = quality(photo.resize((photo.width // 16, photo.height // 16)))
    blurred, why_blurred = quality(photo.filter(ImageFilter.GaussianBlur(12)))
    assert good > 0.8
    assert small < 0.5 < good
    assert why_small in {"size", "sharpness"}
    assert blurred < 0.3
    assert why_blurred == "sharpness"
