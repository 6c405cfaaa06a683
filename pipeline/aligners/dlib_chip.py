"""Five landmarks by regression trees, and the chip that dlib's network was trained on."""

from dataclasses import dataclass

import dlib

from pipeline.engine import Detection
from pipeline.faces import Chip, Landmarks, RgbImage

CHIP_SIDE_PX = 150
CHIP_PADDING = 0.25
"""Margin round the face, as a part of its size: what `face_recognition.face_encodings` uses."""


@dataclass(frozen=True, slots=True)
class FivePointAligner:
    """sp5, face_recognition's "small" model.

    Its points: outer and inner corner of the eye on the photo's right, outer and inner corner of
    the eye on its left, base of the nose.
    """

    predictor: dlib.shape_predictor

    def align(self, image: RgbImage, detection: Detection) -> tuple[Landmarks, Chip]:
        """Five whole-pixel landmarks, and the chip (150, 150, 3).

        The box goes in untrimmed, as in `face_encodings`: a trimmed one moves the landmarks.
        """
        box = detection.box
        rectangle = dlib.rectangle(box.left, box.top, box.right, box.bottom)
        shape = self.predictor(image, rectangle)
        landmarks = tuple((point.x, point.y) for point in shape.parts())
        return landmarks, dlib.get_face_chip(image, shape, CHIP_SIDE_PX, CHIP_PADDING)
