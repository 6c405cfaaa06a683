"""YuNet, a small convolutional detector that also gives five landmarks.

Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector", 2023. It finds faces of about 10
to 400 pixels in what it is given, so what counts is how large the photo is when it looks at it:

- first at a longest side of 640 pixels, which finds every face that most photos have;
- once more at up to 2560 pixels, where the first look found nobody or something small: faces of a
  100th of the photo's length, in a group or in a crowd;
- at 224 pixels, where it still has nobody: a face that fills the photo.

A photo is never enlarged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Detection
from pipeline.faces import Box, RgbImage
from pipeline.models.runtime import OnnxModel
from pipeline.scene import Scene, shrunk

FIRST_SIDE_PX = 640
FINE_SIDE_PX = 2560
COARSE_SIDE_PX = 224
MAX_TILE_PX = 768
"""The second look goes over tiles, so that the network's planes stay small."""
TILE_OVERLAP_PX = 128
"""More than the widest face that the first look may pass over has in the second."""
MIN_SCORE = 0.6
LARGE_FACE = 0.2
"""Width, as a share of the photo's longest side, from which on a face has to be surer."""
MIN_LARGE_SCORE = 0.75
"""What large faces score at least. Blurred, dark and half ones have 0.8 and more, the least sure of
the 3,443 in the middle of LFW's photos 0.86. Below that come hands, hair and landscapes, and faces
of which too little shows to recognise them."""
HINT_SCORE = 0.3
"""What may be a face, and is worth a second look where it is small."""
SMALL_FACE_PX = 20
"""Width in the first look below which a face calls for a second one."""
MAX_OVERLAP = 0.3
"""Intersection over union above which two boxes are one face; the surer one stays."""
STRIDES = (8, 16, 32)
_ALIGN_PX = 32
"""Its planes are halved five times."""

Floats = NDArray[np.float32]
_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Found:
    """Faces in pixels of the whole photo: `boxes` (n, 4) as left, top, right, bottom."""

    boxes: Floats
    points: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "_Found":
        return _Found(self.boxes[chosen], self.points[chosen], self.scores[chosen])


_NOBODY = _Found(
    np.empty((0, 4), dtype=np.float32),
    np.empty((0, 5, 2), dtype=np.float32),
    np.empty(0, dtype=np.float32),
)


@dataclass(frozen=True, slots=True)
class YuNetDetector:
    """Faces with the right eye, the left eye, the tip of the nose and the corners of the mouth.

    They are ordered by falling score. "Right" is the person's.
    """

    model: OnnxModel
    first_side_px: int | None = FIRST_SIDE_PX

    def detect(self, scene: Scene, *, thorough: bool = True) -> list[Detection]:
        """Every face of the scene, in pixels of the whole photo."""
        longest_px = max(scene.width_px, scene.height_px)
        looked_px = min(FIRST_SIDE_PX, longest_px)
        hints = self._look(scene, looked_px)
        found = _faces(hints, longest_px)
        if (
            thorough
            and longest_px > looked_px
            and _calls_for_more(found, hints, looked_px / longest_px)
        ):
            fine = self._look(scene, min(FINE_SIDE_PX, longest_px))
            found = _merged([found, _faces(fine, longest_px)])
        if not len(found) and longest_px > COARSE_SIDE_PX:
            coarse = self._look(scene, COARSE_SIDE_PX)
            found = coarse.where(coarse.scores >= MIN_SCORE)
        return _detections(found)

    def _look(self, scene: Scene, side_px: int) -> _Found:
        """What may be a face when the photo's longest side is `side_px` long."""
        image = shrunk(scene.reduced(side_px), side_px)
        rows, columns = image.shape[:2]
        found = _merged(
            [
                self._look_at(image, across, down)
                for down in _spans(rows)
                for across in _spans(columns)
            ]
        )
        # From what the network saw to the pixels of the whole photo.
        scale = np.array([scene.width_px / columns, scene.height_px / rows], dtype=np.float32)
        return _Found(found.boxes * np.tile(scale, 2), found.points * scale, found.scores)

    def _look_at(self, image: RgbImage, across: _Span, down: _Span) -> _Found:
        """What may be a face in a tile, without those that an inner edge of it cuts."""
        (left, right), (top, bottom) = across, down
        planes = _planes(image[top:bottom, left:right])
        found = _decoded(self.model.run(planes), planes.shape[3])
        shift = np.array([left, top], dtype=np.float32)
        found = _Found(found.boxes + np.tile(shift, 2), found.points + shift, found.scores)
        cut = ((found.boxes[:, 0] < left) & (left > 0)) | ((found.boxes[:, 1] < top) & (top > 0))
        cut |= (found.boxes[:, 2] > right) & (right < image.shape[1])
        cut |= (found.boxes[:, 3] > bottom) & (bottom < image.shape[0])
        return found.where(~cut)


def _spans(length_px: int) -> list[_Span]:
    """Tiles of equal length that cover `length_px` and overlap, from where to where."""
    if length_px <= MAX_TILE_PX:
        return [(0, length_px)]
    count = -(-(length_px - TILE_OVERLAP_PX) // (MAX_TILE_PX - TILE_OVERLAP_PX))
    step = (length_px - TILE_OVERLAP_PX) / count
    return [(round(n * step), round((n + 1) * step) + TILE_OVERLAP_PX) for n in range(count)]


def _planes(image: RgbImage) -> Floats:
    """The image as (1, 3, rows, columns), BGR, with black round it up to what the network takes."""
    rows, columns = image.shape[:2]
    shape = (1, 3, -(-rows // _ALIGN_PX) * _ALIGN_PX, -(-columns // _ALIGN_PX) * _ALIGN_PX)
    planes = np.zeros(shape, dtype=np.float32)
    for plane, channel in enumerate((2, 1, 0)):
        planes[0, plane, :rows, :columns] = image[:, :, channel]
    return planes


def _decoded(outputs: dict[str, Floats], columns_px: int) -> _Found:
    """The network's answers, one for each cell of three grids, as boxes and points."""
    parts = [_of_stride(outputs, stride, columns_px // stride) for stride in STRIDES]
    return _merged(parts)


def _of_stride(outputs: dict[str, Floats], stride: int, columns: int) -> _Found:
    """A cell's class and its "objectness" are both in 0 to 1; its score is their geometric mean."""
    product = outputs[f"cls_{stride}"][0, :, 0] * outputs[f"obj_{stride}"][0, :, 0]
    cells = np.flatnonzero(product >= HINT_SCORE**2)
    if not len(cells):
        return _NOBODY
    corner = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
    box = outputs[f"bbox_{stride}"][0, cells]
    centre, half = (corner + box[:, :2]) * stride, np.exp(box[:, 2:]) * (stride / 2)
    points = (outputs[f"kps_{stride}"][0, cells].reshape(-1, 5, 2) + corner[:, None]) * stride
    return _Found(
        np.concatenate([centre - half, centre + half], axis=1), points, np.sqrt(product[cells])
    )


def _merged(parts: Sequence[_Found]) -> _Found:
    """The surest of the boxes that overlap, by falling score."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return _NOBODY
    found = _Found(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.points for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )
    order = np.argsort(-found.scores, kind="stable")
    boxes, kept = found.boxes[order], []
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    alive = np.ones(len(order), dtype=np.bool_)
    for n in range(len(order)):
        if not alive[n]:
            continue
        kept.append(n)
        overlap = np.clip(
            np.minimum(boxes[n, 2:], boxes[n + 1 :, 2:])
            - np.maximum(boxes[n, :2], boxes[n + 1 :, :2]),
            0,
            None,
        ).prod(axis=1)
        alive[n + 1 :] &= overlap <= MAX_OVERLAP * (areas[n] + areas[n + 1 :] - overlap)
    return found.where(order[np.array(kept, dtype=np.intp)])


def _faces(found: _Found, longest_px: int) -> _Found:
    """Those that are sure enough for their size."""
    large = found.boxes[:, 2] - found.boxes[:, 0] >= LARGE_FACE * longest_px
    return found.where(found.scores >= np.where(large, MIN_LARGE_SCORE, MIN_SCORE))


def _calls_for_more(found: _Found, hints: _Found, scale: float) -> bool:
    """Whether nobody was found, or something too small to be sure of."""
    if not len(found):
        return True
    widths_px = (hints.boxes[:, 2] - hints.boxes[:, 0]) * scale
    return bool((widths_px < SMALL_FACE_PX).any())


def _detections(found: _Found) -> list[Detection]:
    rounded: Sequence[Sequence[int]] = np.rint(found.boxes).astype(int).tolist()
    return [
        Detection(
            box=Box(left=left, top=top, right=right, bottom=bottom),
            score=float(score),
            points=tuple((float(x), float(y)) for x, y in points),
        )
        for (left, top, right, bottom), points, score in zip(
            rounded, found.points, found.scores, strict=True
        )
        if right > left and bottom > top
    ]
