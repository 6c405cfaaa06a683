"""The 112 x 112 chip of ArcFace and its kin: five points brought to fixed places."""

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
        chip = cv2.warpAffine(image, matrix, (CHIP_SIDE_PX, CHIP_SIDE_PX), flags=cv2.INTER_LINEAR)
        return detection.points, np.asarray(chip, dtype=np.uint8)


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
