"""Faces as rows of numbers: small to send, to keep and to write, however many there are."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.faces import Face, PhotoFaces

LANDMARKS = 5

Rows: TypeAlias = NDArray[np.void]
"""Shape (faces,), a structured array of `row_type`."""


def row_type(dimension: int) -> np.dtype[np.void]:
    """The fields of a face whose embedding has `dimension` numbers."""
    return np.dtype(
        [
            ("photo", np.int32),  # Its place among the photos of the run.
            ("box", np.int32, (4,)),  # Left, top, right, bottom, in pixels of the upright photo.
            ("quality", np.float32),  # 0 to 1.
            ("score", np.float32),  # The detector's own.
            ("landmarks", np.float32, (LANDMARKS, 2)),  # (x, y) in pixels of the upright photo.
            ("rotation", np.int16),  # Degrees clockwise by which the photo was turned.
            ("photo_width", np.int32),
            ("photo_height", np.int32),
            ("embedding", np.float32, (dimension,)),
        ]
    )


def rows_of(numbers: Sequence[int], photos: Sequence[PhotoFaces], dimension: int) -> Rows:
    """The faces of `photos` in their order; `numbers` are the photos' places in the run."""
    of_photos = zip(numbers, photos, strict=True)
    found = [(number, photo, face) for number, photo in of_photos for face in photo.faces]
    rows = np.zeros(len(found), dtype=row_type(dimension))
    for row, (number, photo, face) in zip(rows, found, strict=True):
        _fill(row, face)
        row["photo"] = number
        row["rotation"] = photo.rotation
        row["photo_width"], row["photo_height"] = photo.width_px, photo.height_px
    return rows


def _fill(row: np.void, face: Face) -> None:
    box = face.box
    row["box"] = (box.left, box.top, box.right, box.bottom)
    row["quality"] = np.nan if face.quality is None else face.quality.overall
    row["score"] = face.score
    row["landmarks"] = face.landmarks
    row["embedding"] = face.embedding
