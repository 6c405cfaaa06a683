"""Measures how well a face can be recognised: size, sharpness, pose and the detector's certainty.

They are among the components that ISO/IEC 29794-5 (face image quality) names; the numbers are our
own and belong to no standard. Each component is in 0 to 1, where 1 is as good as it needs to be,
and the least of them is the face's quality: a blurred face is not saved by its size.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.face_quality import Pose, Quality, QualityLimit

FULL_SIZE_PX = 40
"""Width in pixels below which faces that were made smaller began to be missed more often."""
FULL_SHARPNESS = 40.0
"""Variance of the Laplacian of a chip below which blurred faces began to be missed more often."""
FULL_TURN_DEGREES = 60.0
"""Yaw or pitch at which nothing is left of the pose's quality; at half of it, half is."""
SHARPNESS_SIDE_PX = 112
"""Side to which chips are brought, so that sharpness means the same for every engine."""

Points: TypeAlias = tuple[tuple[float, float], ...]
Vector: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class HeadModel:
    """Where the landmarks of an aligner lie on a head that looks into the camera.

    Points (x, y, z) in distances between the eyes' centres: x to the photo's right, y down, z
    towards the camera.
    """

    points: tuple[Vector, ...]

    def pose(self, landmarks: Points) -> Pose:
        """The head's pose from its landmarks, in pixels.

        Scaled orthographic projection, fitted by least squares (DeMenthon and Davis, 1995, the step
        that they call POS). Landmarks that fit no head give zeros.
        """
        across, down = (
            tuple(
                sum(weight * point[axis] for weight, point in zip(row, landmarks, strict=True))
                for row in _least_squares(self.points)
            )
            for axis in (0, 1)
        )
        return _pose(across, down)


@lru_cache
def _least_squares(points: tuple[Vector, ...]) -> tuple[tuple[float, ...], ...]:
    """What landmarks are multiplied by, three rows of one weight a landmark.

    The rows sum to zero, so that it does not matter where in the photo the face is.
    """
    centred = np.array(points) - np.mean(points, axis=0)
    return tuple(tuple(row) for row in np.linalg.pinv(centred).tolist())


EYES_NOSE_MOUTH = HeadModel(
    (
        (-0.5, 0.0, 0.0),
        (0.5, 0.0, 0.0),
        (0.0, 0.562, 0.55),
        (-0.427, 1.0, 0.08),
        (0.427, 1.0, 0.08),
    )
)
"""The five points that detectors give: eyes, tip of the nose, corners of the mouth.

Across and down: medians of photos of many people who look into the camera; towards the camera: from
the proportions of an average head."""


def quality_of(chip: NDArray[np.uint8], *, width_px: int, score: float, pose: Pose) -> Quality:
    """The quality of a face; `chip` is (side, side, 3), `width_px` its box's, `score` in 0 to 1."""
    sharpness = sharpness_of(chip)
    turned = max(abs(pose.yaw), abs(pose.pitch)) / FULL_TURN_DEGREES
    components = {
        QualityLimit.SIZE: width_px / FULL_SIZE_PX,
        QualityLimit.SHARPNESS: sharpness / FULL_SHARPNESS,
        QualityLimit.POSE: 1 - turned,
        QualityLimit.SCORE: score,
    }
    limit = min(components, key=lambda one: components[one])
    return Quality(
        overall=round(min(1.0, max(0.0, components[limit])), 4),
        limit=limit,
        sharpness=round(sharpness, 2),
        width_px=width_px,
        pose=pose,
    )


def sharpness_of(chip: NDArray[np.uint8]) -> float:
    """Variance of the Laplacian of the chip's middle, where the face is and no background."""
    side = (SHARPNESS_SIDE_PX, SHARPNESS_SIDE_PX)
    grey = cv2.cvtColor(cv2.resize(chip, side, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    margin = SHARPNESS_SIDE_PX // 5
    middle = np.ascontiguousarray(grey[margin:-margin, margin:-margin])
    _, deviation = cv2.meanStdDev(cv2.Laplacian(middle, cv2.CV_32F))
    return float(deviation[0, 0]) ** 2


def _pose(across: Vector, down: Vector) -> Pose:
    """From the first two rows of a rotation, each scaled, to angles."""
    lengths = math.hypot(*across), math.hypot(*down)
    if not (min(lengths) > 0 and math.isfinite(max(lengths))):
        return Pose(yaw=0.0, pitch=0.0, roll=0.0)
    first = [one / lengths[0] for one in across]
    second = [one / lengths[1] for one in down]
    third = first[0] * second[1] - first[1] * second[0]
    return Pose(
        yaw=_degrees(math.asin(max(-1.0, min(1.0, first[2])))),
        pitch=_degrees(math.atan2(second[2], third)),
        roll=_degrees(math.atan2(second[0], first[0])),
    )


def _degrees(radians: float) -> float:
    return round(math.degrees(radians), 1)
