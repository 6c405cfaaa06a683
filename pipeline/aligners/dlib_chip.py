"""Five landmarks by regression trees, and the chip that dlib's network was trained on."""

from dataclasses import dataclass

import dlib

from pipeline.engine import Detection
from pipeline.faces import Box, Chip, Landmarks, RgbImage
from pipeline.quality import HeadModel

CHIP_SIDE_PX = 150
CHIP_PADDING = 0.25
"""Margin round the face, as a part of its size: what `face_recognition.face_encodings` uses."""

HEAD = HeadModel(
    (
        (0.697, 0.0, -0.15),
        (0.303, 0.0, 0.0),
        (-0.697, 0.0, -0.15),
        (-0.303, 0.0, 0.0),
        (0.0, 0.766, 0.3),
    )
)
"""In the order of the landmarks. Across and down: medians of photos of many people who look into
the camera; towards the camera: from the proportions of an average head."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxFit:
    """How a detector's box becomes the one that dlib's landmarks were trained on, HOG's square."""

    side: float = 1.0
    """Its side, as a part of the detector's width."""
    lower: float = 0.0
    """How far its centre lies below the detector's, as a part of the detector's height."""

    def square(self, box: Box) -> dlib.rectangle:
        """The square for `box`."""
        if self == AS_FOUND:
            return dlib.rectangle(box.left, box.top, box.right, box.bottom)
        half = self.side * (box.right - box.left) / 2
        x = (box.left + box.right) / 2
        y = (box.top + box.bottom) / 2 + self.lower * (box.bottom - box.top)
        return dlib.rectangle(round(x - half), round(y - half), round(x + half), round(y + half))


AS_FOUND = BoxFit()
"""HOG's own boxes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DlibChipAligner:
    """sp5, face_recognition's "small" model.

    Its points: outer and inner corner of the eye on the photo's right, outer and inner corner of
    the eye on its left, base of the nose.
    """

    predictor: dlib.shape_predictor
    fit: BoxFit = AS_FOUND
    face_px: int | None = None
    """See `pipeline.engine.Aligner`."""
    head: HeadModel = HEAD

    def align(self, image: RgbImage, detection: Detection) -> tuple[Landmarks, Chip]:
        """Five whole-pixel landmarks, and the chip (150, 150, 3).

        The box goes in untrimmed, as in `face_encodings`: a trimmed one moves the landmarks.
        """
        shape = self.predictor(image, self.fit.square(detection.box))
        landmarks = tuple((float(point.x), float(point.y)) for point in shape.parts())
        return landmarks, dlib.get_face_chip(image, shape, CHIP_SIDE_PX, CHIP_PADDING)
