"""What the pipeline hands out."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedFace:
    box: Box
    landmarks: tuple[tuple[float, float], ...]
    score: float
    embedding: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFaces:
    width_px: int
    height_px: int
    faces: tuple[DetectedFace, ...]
