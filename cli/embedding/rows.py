"""Faces as rows of numbers: small to send, to keep and to write, however many there are."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

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
