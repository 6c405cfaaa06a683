"""Faces found, missed and imagined, by the rule of bench/annotations/README.md."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.photos import MIN_IOU, Corners, KnownFace, iou


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a detector made of some photos."""

    found: int = 0
    faces: int = 0
    false: int = 0
    difficult_found: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            found=self.found + other.found,
            faces=self.faces + other.faces,
            false=self.false + other.false,
            difficult_found=self.difficult_found + other.difficult_found,
        )

    @property
    def recall(self) -> float:
        """Share of the faces that were found."""
        return self.found / self.faces if self.faces else 0.0

    @property
    def precision(self) -> float:
        """Share of the boxes that are faces; 1 where there is none."""
        boxes = self.found + self.false
        return self.found / boxes if boxes else 1.0


def tally(known: Sequence[KnownFace], boxes: Sequence[Corners]) -> Tally:
    """Pairs boxes with faces by descending IoU, each once, down to `MIN_IOU`."""
    overlaps = sorted(
        (-iou(face.box, box), f, b) for f, face in enumerate(known) for b, box in enumerate(boxes)
    )
    faces: set[int] = set()
    taken: set[int] = set()
    for overlap, face, box in overlaps:
        if -overlap >= MIN_IOU and face not in faces and box not in taken:
            faces.add(face)
            taken.add(box)
    return Tally(
        found=sum(not known[face].difficult for face in faces),
        faces=sum(not face.difficult for face in known),
        false=len(boxes) - len(taken),
        difficult_found=sum(known[face].difficult for face in faces),
    )


def trimmed(box: Corners, width: float, height: float) -> Corners:
    """The part of a box within a photo of that size."""
    left, top, right, bottom = box
    return (
        min(max(left, 0), width),
        min(max(top, 0), height),
        min(max(right, 0), width),
        min(max(bottom, 0), height),
    )


def moved(box: Corners, scale: float, x: float, y: float) -> Corners:
    """The same box where the photo is scaled, then set down at (x, y)."""
    left, top, right, bottom = (scale * edge for edge in box)
    return left + x, top + y, right + x, bottom + y
