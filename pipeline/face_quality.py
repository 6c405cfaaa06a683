"""The quality of a face as plain data: importable where no pixel may be touched."""

from dataclasses import dataclass
from enum import StrEnum


class QualityLimit(StrEnum):
    """What a face's quality comes from: the component that is the least."""

    SIZE = "size"
    """The face has few pixels."""
    SHARPNESS = "sharpness"
    """The face is blurred."""
    POSE = "pose"
    """The face is turned away."""
    SCORE = "score"
    """The detector is not sure that it is a face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """How a head is turned, in degrees; all zero for one that looks into the camera."""

    yaw: float
    """Positive: towards the photo's right."""
    pitch: float
    """Positive: downwards."""
    roll: float
    """Positive: clockwise, as the photo shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How well a face can be recognised."""

    overall: float
    """0 to 1; the least of the components."""
    limit: QualityLimit
    """The component that `overall` comes from."""
    sharpness: float
    """Variance of the chip's Laplacian, brightness in 0 to 255 (Pech-Pacheco et al., 2000)."""
    width_px: int
    """Of the box, before it was trimmed to the photo."""
    pose: Pose
