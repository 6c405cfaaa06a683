"""The values that pipeline hands out: photos as arrays, boxes, faces, and the faces of a photo."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.box import Box as Box  # noqa: PLC0414 - it is handed out here too.
from pipeline.face_quality import Quality
from pipeline.shot import NOT_TOLD, Shot

RgbImage: TypeAlias = NDArray[np.uint8]
"""An upright photo: shape (height, width, 3), uint8, RGB, C-contiguous."""

Chip: TypeAlias = NDArray[np.uint8]
"""A face cut out and turned upright for an embedder: shape (side, side, 3), uint8, RGB."""

Embedding: TypeAlias = NDArray[np.float32]
"""Shape (dimension,), float32."""

Landmarks: TypeAlias = tuple[tuple[float, float], ...]
"""Points (x, y) in pixels of the upright photo; their order and meaning are the aligner's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectedFace:
    """A face that was found and cut out, and has no embedding yet."""

    box: Box
    """Trimmed to the photo."""
    landmarks: Landmarks
    score: float
    """The detector's own score; higher is more certain. Not comparable between detectors."""
    quality: Quality
    chip: Chip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectedPhoto:
    """What embedding needs of a photo: its faces cut out, so that its pixels can be let go."""

    width_px: int
    height_px: int
    rotation: int = 0
    """Degrees clockwise by which the photo had to be turned for its faces to be found."""
    shot: Shot = NOT_TOLD
    faces: tuple[DetectedFace, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Face:
    """A face with its embedding."""

    box: Box
    """Trimmed to the photo."""
    landmarks: Landmarks
    score: float
    """The detector's own score; higher is more certain. Not comparable between detectors."""
    quality: Quality | None = None
    """None for a face that was found before qualities were kept."""
    embedding: Embedding


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhotoFaces:
    """All faces of a photo, in the detector's order; its size is that of the upright photo."""

    width_px: int
    height_px: int
    rotation: int = 0
    """Degrees clockwise by which the photo had to be turned for its faces to be found.

    Boxes and landmarks are in pixels of the photo as it is, not turned.
    """
    shot: Shot = NOT_TOLD
    faces: tuple[Face, ...]
