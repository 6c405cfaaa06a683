"""What a face must have to count: the one rule, for whoever searches faces and reads results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.box import Box
from pipeline.face_quality import Quality, QualityLimit

if TYPE_CHECKING:  # Who reads limits, and no faces, has no need of numpy.
    from pipeline.faces import DetectedFace, Face

MAX_MIN_FACE_PX = 100_000
"""More than any photo is wide."""

_WANTING = {
    QualityLimit.SIZE: "it has few pixels (size)",
    QualityLimit.SHARPNESS: "it is blurred (sharpness)",
    QualityLimit.POSE: "it is turned away (pose)",
    QualityLimit.SCORE: "the detector is not sure of it (score)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceLimits:
    """Faces below either limit count as not found. At 0 a limit lets every face pass."""

    min_face_px: int = 0
    """Width of the box, in pixels of the photo."""
    min_quality: float = 0.0
    """0 to 1, of `Quality.overall`."""

    def shortfall(self, box: Box, quality: Quality | None) -> str | None:
        """Why the face does not pass, as the end of a sentence; None where it does.

        A face whose quality is not known is as wide as its box, and fails any `min_quality` but 0.
        """
        width_px = box.width_px if quality is None else quality.width_px
        if width_px < self.min_face_px:
            return f"is {width_px} px wide, less than the {self.min_face_px} of min_face_px"
        if self.min_quality <= 0:
            return None
        asked = f"min_quality asks for {self.min_quality:g}"
        if quality is None:
            return f"was found before qualities were kept, and {asked}"
        if quality.overall < self.min_quality:
            wanting = _WANTING[quality.limit]
            return f"has the quality {quality.overall:g}, as {wanting}, and {asked}"
        return None

    def passing(self, faces: Sequence[Face | DetectedFace]) -> list[int]:
        """The places in `faces` of those that pass."""
        return [n for n, one in enumerate(faces) if self.shortfall(one.box, one.quality) is None]


NO_LIMITS = FaceLimits()
"""Every face counts."""
