"""What a detector and an aligner see of a photo: pixels, in the size that they ask for."""

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from pipeline.faces import RgbImage
from pipeline.shot import NOT_TOLD, Shot


class Scene(Protocol):
    """A photo that can be had smaller than it is."""

    @property
    def width_px(self) -> int:
        """Of the whole photo."""

    @property
    def height_px(self) -> int:
        """Of the whole photo."""

    @property
    def shot(self) -> Shot:
        """How it was taken."""

    def pixels(self) -> RgbImage:
        """All pixels."""

    def reduced(self, min_longest_side_px: int) -> RgbImage:
        """The photo with its longest side at least that long, or as long as it is.

        It may be larger than asked for, and is where it costs nothing.
        """


@dataclass(frozen=True, slots=True)
class ArrayScene:
    """Pixels that are there already."""

    image: RgbImage
    shot: Shot = NOT_TOLD

    @property
    def width_px(self) -> int:
        """Of the whole photo."""
        return int(self.image.shape[1])

    @property
    def height_px(self) -> int:
        """Of the whole photo."""
        return int(self.image.shape[0])

    def pixels(self) -> RgbImage:
        """All pixels."""
        return self.image

    def reduced(self, min_longest_side_px: int) -> RgbImage:  # noqa: ARG002 - they cost nothing.
        """All pixels."""
        return self.image


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedScene:
    """A scene turned by quarters of a circle, clockwise."""

    scene: Scene
    quarters: int
    """1, 2 or 3."""

    @property
    def shot(self) -> Shot:
        """As the scene below tells it."""
        return self.scene.shot

    @property
    def width_px(self) -> int:
        """Of the turned photo."""
        return self.scene.height_px if self.quarters % 2 else self.scene.width_px

    @property
    def height_px(self) -> int:
        """Of the turned photo."""
        return self.scene.width_px if self.quarters % 2 else self.scene.height_px

    def pixels(self) -> RgbImage:
        """All pixels."""
        return self._turned(self.scene.pixels())

    def reduced(self, min_longest_side_px: int) -> RgbImage:
        """As the scene below gives it."""
        return self._turned(self.scene.reduced(min_longest_side_px))

    def _turned(self, image: RgbImage) -> RgbImage:
        return np.ascontiguousarray(np.rot90(image, -self.quarters))


def shrunk(image: RgbImage, longest_side_px: int) -> RgbImage:
    """The image with its longest side that long, each pixel the mean of those it stands for.

    One that is smaller stays as it is.
    """
    height, width = image.shape[:2]
    scale = min(1.0, longest_side_px / max(height, width))
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    if (rows, columns) == (height, width):
        return image
    resized = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)
