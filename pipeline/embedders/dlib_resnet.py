"""dlib's ResNet: 128 numbers whose Euclidean distance says how alike two faces are."""

from dataclasses import dataclass

import dlib
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ResnetEmbedder:
    """`dlib_face_recognition_resnet_model_v1`, without jitter.

    face_recognition asks for one jitter, which dlib takes for none.
    """

    network: dlib.face_recognition_model_v1

    def embed(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Chips (n, 150, 150, 3) as `FivePointAligner` cuts them, to embeddings (n, 128)."""
        return np.asarray(self.network.compute_face_descriptor(list(chips), 0), dtype=np.float32)
