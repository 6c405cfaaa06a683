"""dlib's ResNet: 128 numbers whose Euclidean distance says how alike two faces are."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.models.runtime import OnnxModel


@dataclass(frozen=True, slots=True)
class ResnetEmbedder:
    """`dlib_face_recognition_resnet_model_v1` in ONNX Runtime, without jitter.

    face_recognition asks for one jitter, which dlib takes for none.
    """

    model: OnnxModel

    def embed(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Chips (n, 150, 150, 3) as `DlibChipAligner` cuts them, to embeddings (n, 128)."""
        return self.model.run(chips)["embedding"]
