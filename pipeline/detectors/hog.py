"""dlib's frontal face detector: a sliding window over histograms of oriented gradients."""

from dataclasses import dataclass

import dlib

from pipeline.engine import Detection
from pipeline.faces import Box
from pipeline.scene import Scene

UPSAMPLED_MAX_PIXELS = 25_000_000
"""Larger photos are searched as they are. Upsampling quadruples the pixels: at this size the search
takes 1.2 GB, four times what it takes without. Such a photo's smallest face found is then 80 pixels
wide in place of 40."""


@dataclass(frozen=True, slots=True)
class HogDetector:
    """face_recognition's default detector: the photo at twice its size, threshold 0.

    Faces are ordered by falling score, which is dlib's own order and the same each time.
    """

    hog: dlib.fhog_object_detector
    first_side_px: int | None = None

    def detect(self, scene: Scene, *, thorough: bool = True) -> list[Detection]:  # noqa: ARG002
        """Every face of at least about 40 pixels in width; boxes are as dlib found them."""
        upsample = 1 if scene.width_px * scene.height_px <= UPSAMPLED_MAX_PIXELS else 0
        rectangles, scores, _ = self.hog.run(scene.pixels(), upsample, 0.0)
        return [
            Detection(box=_box(rectangle), score=score)
            for rectangle, score in zip(rectangles, scores, strict=True)
        ]


def _box(rectangle: dlib.rectangle) -> Box:
    return Box(
        left=rectangle.left(),
        top=rectangle.top(),
        right=rectangle.right(),
        bottom=rectangle.bottom(),
    )
