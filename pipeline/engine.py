"""What an engine is made of, and how its parts work together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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
from pipeline.specs import EngineSpec

EMBED_BATCH_CHIPS = 32
"""Chips that an embedder gets at once, at the most: more gains nothing and costs memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A face as the detector found it."""

    box: Box
    """May reach over the photo's edge; the aligner wants it as it was found."""
    score: float


class Detector(Protocol):
    """Finds faces."""

    def detect(self, image: RgbImage) -> list[Detection]:
        """Every face of `image`, the same each time, in an order that the detector defines."""


class Aligner(Protocol):
    """Turns faces upright and cuts them out."""

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

    def detect(self, image: RgbImage) -> DetectedPhoto:
        """The faces of one photo, cut out, in the detector's order. Keeps no pixel of the photo."""
        height_px, width_px = image.shape[:2]
        return DetectedPhoto(
            width_px=width_px,
            height_px=height_px,
            faces=tuple(self._cut_out(image, found) for found in self.detector.detect(image)),
        )

    def embed(self, photos: Sequence[DetectedPhoto]) -> list[PhotoFaces]:
        """Embeds the faces of many photos together; the answer has the order of `photos`."""
        embeddings = self._embeddings([face.chip for photo in photos for face in photo.faces])
        vectors = iter(embeddings)
        return [
            PhotoFaces(
                width_px=photo.width_px,
                height_px=photo.height_px,
                faces=tuple(_with_embedding(face, next(vectors)) for face in photo.faces),
            )
            for photo in photos
        ]

    def extract_batch(self, images: Iterable[RgbImage]) -> list[PhotoFaces]:
        """Detects photo by photo, then embeds all faces together, in the order of `images`.

        An iterator that decodes as it goes keeps one photo in memory at a time.
        """
        return self.embed([self.detect(image) for image in images])

    def _cut_out(self, image: RgbImage, found: Detection) -> DetectedFace:
        height_px, width_px = image.shape[:2]
        landmarks, chip = self.aligner.align(image, found)
        return DetectedFace(
            box=found.box.trimmed(width_px=width_px, height_px=height_px),
            landmarks=landmarks,
            score=found.score,
            chip=chip,
        )

    def _embeddings(self, chips: Sequence[Chip]) -> list[Embedding]:
        embeddings: list[Embedding] = []
        for start in range(0, len(chips), EMBED_BATCH_CHIPS):
            batch = np.stack(chips[start : start + EMBED_BATCH_CHIPS])
            embeddings.extend(self.embedder.embed(batch))
        return embeddings


def _with_embedding(face: DetectedFace, embedding: Embedding) -> Face:
    return Face(box=face.box, landmarks=face.landmarks, score=face.score, embedding=embedding)
