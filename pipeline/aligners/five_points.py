"""The 112 x 112 chip of ArcFace and its kin: five points brought to fixed places."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Detection
from pipeline.faces import Chip, Landmarks, RgbImage
from pipeline.quality import EYES_NOSE_MOUTH, HeadModel

CHIP_SIDE_PX = 112
PLACES = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Where eyes, nose and corners of the mouth lie in the chip (Deng et al., "ArcFace", 2019)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FivePointAligner:
    """Takes the detector's own five points: eyes, tip of the nose, corners of the mouth."""

    face_px: int | None
    """See `pipeline.engine.Aligner`."""
    head: HeadModel = EYES_NOSE_MOUTH

    def align(self, image: RgbImage, detection: Detection) -> tuple[Landmarks, Chip]:
        """The detector's five points, and the chip (112, 112, 3)."""
        matrix = similarity(np.array(detection.points), np.array(PLACES))
        image, matrix = _shrunk(image, matrix)
        chip = cv2.warpAffine(image, matrix, (CHIP_SIDE_PX, CHIP_SIDE_PX), flags=cv2.INTER_LINEAR)
        return detection.points, np.asarray(chip, dtype=np.uint8)


def _shrunk(image: RgbImage, matrix: NDArray[np.float64]) -> tuple[RgbImage, NDArray[np.float64]]:
    """What the chip needs of an image that is more than twice as fine as the chip, shrunk.

    A pixel of the chip is made of four of the image's: between them, those of a finer one would be
    passed over, and noise and hair would go into the chip as they happen to fall.
    """
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    factor = int(1 / scale) if scale else 1
    if factor < 2:
        return image, matrix
    edges = np.array([[x, y, 1] for x in (-1, CHIP_SIDE_PX) for y in (-1, CHIP_SIDE_PX)])
    needed = edges @ cv2.invertAffineTransform(matrix).T
    start = np.clip(np.floor(needed.min(axis=0)), 0, None).astype(int)
    end = np.minimum(np.ceil(needed.max(axis=0)).astype(int) + factor, image.shape[1::-1])
    size = np.maximum(end - start, 0) // factor
    if not size.all():
        return image, matrix
    (left, top), (right, bottom) = start, start + size * factor
    part = image[top:bottom, left:right]
    shrunk = cv2.resize(part, size.tolist(), interpolation=cv2.INTER_AREA)
    # Pixel n of the shrunk part is the mean of those from start + n * factor on.
    centre = start + (factor - 1) / 2
    shift = matrix[:, :2] @ centre + matrix[:, 2]
    return np.asarray(shrunk, dtype=np.uint8), np.column_stack([matrix[:, :2] * factor, shift])


def similarity(points: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix (2, 3) that turns, scales and shifts `points` (n, 2) nearest to `places` (n, 2).

    Least squares, in closed form (Umeyama, 1991), without mirroring: in the plane, a rotation with
    a scale is the product with one complex number.
    """
    seen, wanted = points @ (1, 1j), places @ (1, 1j)
    seen_mean, wanted_mean = seen.mean(), wanted.mean()
    spread = np.vdot(seen - seen_mean, seen - seen_mean).real
    factor = np.vdot(seen - seen_mean, wanted - wanted_mean) / spread if spread else 0j
    shift = wanted_mean - factor * seen_mean
    return np.array(
        [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    )
