"""Faces as the engine gives them, put into rows."""

from collections.abc import Sequence

import numpy as np

from cli.embedding.rows import Rows, row_type
from pipeline.faces import Face, PhotoFaces


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
