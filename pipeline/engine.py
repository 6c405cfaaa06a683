"""What an engine is made of, and how its parts work together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.engine_spec import EngineSpec
from pipeline.face_quality import Pose
from pipeline.faces import (
    Box,
    Chip,
    DetectedFace,
    DetectedPhoto,
    Embedding,
    Face,
    Landmarks,
    PhotoFaces,
    RgbImage,
)
from pipeline.photo import Colour, Photo, open_photo
from pipeline.quality import EYES_NOSE_MOUTH, HeadModel, quality_of
from pipeline.scene import ArrayScene, Scene, TurnedScene, shrunk

GLANCE_SIDE_PX = 640
"""Longest side at which turned photos are looked at, for detectors that name none."""
UNSURE_TURNED_SCORE = 0.75
"""Where nobody is found upright, a turned photo counts from this score on: below it, hits on their
side were of no faces, or of faces turned the wrong way."""
EMBED_BATCH_CHIPS = 16
"""Chips that an embedder gets at once, at the most: more gains nothing and costs memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A face as the detector found it, in pixels of the whole scene."""

    box: Box
    """May reach over the photo's edge; the aligner wants it as it was found."""
    score: float
    points: Landmarks = ()
    """Right eye, left eye, tip of the nose, right and left corner of the mouth; "right" is the
    person's. None for a detector that finds boxes alone."""

    def scaled(self, scale: float) -> Self:
        """The same face in an image of another size."""
        return type(self)(
            box=Box(
                left=round(self.box.left * scale),
                top=round(self.box.top * scale),
                right=round(self.box.right * scale),
                bottom=round(self.box.bottom * scale),
            ),
            score=self.score,
            points=tuple((x * scale, y * scale) for x, y in self.points),
        )


class Detector(Protocol):
    """Finds faces."""

    @property
    def first_side_px(self) -> int | None:
        """Longest side at which it looks first; None: at all pixels."""

    def detect(self, scene: Scene, *, thorough: bool = True) -> list[Detection]:
        """Every face of `scene`, the same each time, in an order that the detector defines.

        Where `thorough` is false, small faces may be passed over to save time.
        """


class Aligner(Protocol):
    """Turns faces upright and cuts them out."""

    @property
    def face_px(self) -> int | None:
        """How wide a face must be in the image that it is cut from; None: all pixels, always."""

    @property
    def head(self) -> HeadModel:
        """Where the landmarks lie on a head."""

    def align(self, image: RgbImage, detection: Detection) -> tuple[Landmarks, Chip]:
        """The landmarks of one face and its chip, of the side that the engine's embedder takes."""


class Embedder(Protocol):
    """Turns chips into embeddings."""

    def embed(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Chips (n, side, side, 3), n of at least one, to embeddings (n, dimension)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A detector, an aligner and an embedder that belong together under a name and a version."""

    spec: EngineSpec
    detector: Detector
    aligner: Aligner
    embedder: Embedder

    def open(self, data: bytes, *, max_pixels: int) -> Photo:
        """The photo in `data` as this engine wants it; raises `PhotoError`."""
        colour = Colour.SRGB if self.spec.managed_colour else Colour.STORED
        return open_photo(data, max_pixels=max_pixels, colour=colour)

    def look(self, scene: Scene) -> RgbImage:
        """What detection begins with: who decodes ahead calls this."""
        side_px = self.detector.first_side_px
        return scene.pixels() if side_px is None else scene.reduced(side_px)

    def detect(self, scene: Scene) -> DetectedPhoto:
        """The faces of one photo, cut out, in the detector's order. Keeps no pixel of the photo.

        Where nobody is found for sure and the engine's spec says so, the photo is turned by
        quarters and tried again.
        """
        quarters, found = self._found(scene)
        turned = TurnedScene(scene=scene, quarters=quarters) if quarters else scene
        faces = self._cut_out(turned, found) if found else ()
        return DetectedPhoto(
            width_px=scene.width_px,
            height_px=scene.height_px,
            rotation=90 * quarters,
            shot=scene.shot,
            faces=tuple(_turned_back(face, turned, quarters) for face in faces),
        )

    def _found(self, scene: Scene) -> tuple[int, list[Detection]]:
        """By how many quarters the scene must be turned, and whom it shows then.

        Detectors find some faces that lie on their side or stand on their head, are less sure of
        them, and put eyes and mouth in the wrong places. So a photo that has nobody of whom the
        detector is sure is turned until it has.
        """
        found = self.detector.detect(scene)
        if not self.spec.turns_photos or _top_score(found) >= self.spec.sure_score:
            return 0, found
        # Shrunk before it is turned: three turns of all pixels would take longer than the search.
        glance = ArrayScene(shrunk(self.look(scene), self.detector.first_side_px or GLANCE_SIDE_PX))
        scores = {quarters: self._glance(glance, quarters) for quarters in (1, 3, 2)}
        best = max(scores, key=lambda quarters: scores[quarters])
        enough = self.spec.sure_score if found else UNSURE_TURNED_SCORE
        if scores[best] < enough:
            return 0, found
        again = self.detector.detect(TurnedScene(scene=scene, quarters=best))
        return (best, again) if again else (0, found)

    def _glance(self, scene: Scene, quarters: int) -> float:
        """How sure the detector is of somebody in the scene when it is turned."""
        turned = TurnedScene(scene=scene, quarters=quarters)
        return _top_score(self.detector.detect(turned, thorough=False))

    def embed(self, photos: Sequence[DetectedPhoto]) -> list[PhotoFaces]:
        """Embeds the faces of many photos together; the answer has the order of `photos`."""
        embeddings = self._embeddings([face.chip for photo in photos for face in photo.faces])
        vectors = iter(embeddings)
        return [
            PhotoFaces(
                width_px=photo.width_px,
                height_px=photo.height_px,
                rotation=photo.rotation,
                shot=photo.shot,
                faces=tuple(_with_embedding(face, next(vectors)) for face in photo.faces),
            )
            for photo in photos
        ]

    def extract_batch(self, scenes: Iterable[Scene]) -> list[PhotoFaces]:
        """Detects photo by photo, then embeds all faces together, in the order of `scenes`.

        An iterator that decodes as it goes keeps one photo in memory at a time.
        """
        return self.embed([self.detect(scene) for scene in scenes])

    def _cut_out(self, scene: Scene, found: Sequence[Detection]) -> Iterable[DetectedFace]:
        image = self._image_for(scene, found)
        scale = max(image.shape[:2]) / max(scene.width_px, scene.height_px)
        for detection in found:
            here = detection if scale == 1 else detection.scaled(scale)
            landmarks, chip = self.aligner.align(image, here)
            yield DetectedFace(
                box=detection.box.trimmed(width_px=scene.width_px, height_px=scene.height_px),
                landmarks=tuple((x / scale, y / scale) for x, y in landmarks),
                score=detection.score,
                quality=quality_of(
                    chip,
                    width_px=detection.box.width_px,
                    score=min(1.0, detection.score / self.spec.sure_score),
                    pose=self._pose(detection, landmarks),
                ),
                chip=chip,
            )

    def _pose(self, detection: Detection, landmarks: Landmarks) -> Pose:
        if detection.points:
            return EYES_NOSE_MOUTH.pose(detection.points)
        return self.aligner.head.pose(landmarks)

    def _image_for(self, scene: Scene, found: Sequence[Detection]) -> RgbImage:
        """The scene in the size in which its smallest face is large enough to be cut out."""
        wanted_px = self.aligner.face_px
        if wanted_px is None:
            return scene.pixels()
        smallest_px = min(max(detection.box.width_px, 1) for detection in found)
        longest_px = max(scene.width_px, scene.height_px)
        return scene.reduced(-(-longest_px * wanted_px // smallest_px))

    def _embeddings(self, chips: Sequence[Chip]) -> list[Embedding]:
        embeddings: list[Embedding] = []
        for start in range(0, len(chips), EMBED_BATCH_CHIPS):
            batch = np.stack(chips[start : start + EMBED_BATCH_CHIPS])
            embeddings.extend(self.embedder.embed(batch))
        return embeddings


def _top_score(found: Sequence[Detection]) -> float:
    return max((one.score for one in found), default=0.0)


def _turned_back(face: DetectedFace, scene: Scene, quarters: int) -> DetectedFace:
    """The face of a scene that was turned clockwise, in the photo as it was."""
    if not quarters:
        return face
    width, height = scene.width_px, scene.height_px
    box, points = face.box, face.landmarks
    for _ in range(quarters):
        box = Box(left=box.top, top=width - box.right, right=box.bottom, bottom=width - box.left)
        points = tuple((y, width - x) for x, y in points)
        width, height = height, width
    return DetectedFace(
        box=box, landmarks=points, score=face.score, quality=face.quality, chip=face.chip
    )


def _with_embedding(face: DetectedFace, embedding: Embedding) -> Face:
    return Face(
        box=face.box,
        landmarks=face.landmarks,
        score=face.score,
        quality=face.quality,
        embedding=embedding,
    )
