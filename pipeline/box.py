"""Where a face is. By itself, for who needs no pixels, nor the library that holds them."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle in pixels of the upright photo; its right and bottom edges belong to it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width_px(self) -> int:
        """From edge to edge."""
        return self.right - self.left

    def trimmed(self, *, width_px: int, height_px: int) -> Self:
        """The part inside a photo of this size, as face_recognition trims: an edge at most at it.

        Detectors find faces that reach over the photo's edge and say so in their box.
        """
        return type(self)(
            left=max(self.left, 0),
            top=max(self.top, 0),
            right=min(self.right, width_px),
            bottom=min(self.bottom, height_px),
        )
