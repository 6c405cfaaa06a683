"""What of a photo is to be cut out. Here, for those who compute nothing."""

from dataclasses import dataclass

from pipeline.box import Box

CROP_VERSION = 1
"""Changes with whatever changes the bytes of a crop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A face, and how much of what is around it."""

    box: Box
    """Of the face, in pixels of the upright photo."""
    rotation: int
    """Degrees clockwise by which the photo has to be turned for the face to be upright."""
    margin: float
    """What is added on each side, in widths and heights of the box; the photo's edge is the end."""
    size_px: int
    """The longest side, at the most. A face with fewer pixels is not enlarged."""
