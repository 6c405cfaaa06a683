"""SFace: 128 numbers on the unit sphere (Zhong et al., "SFace", 2021)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.models.runtime import OnnxModel


@dataclass(frozen=True, slots=True)
class SFaceEmbedder:
    """SFace in ONNX Runtime, its output brought to length 1."""

    model: OnnxModel

    def embed(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Chips (n, 112, 112, 3) as `FivePointAligner` cuts them, to embeddings (n, 128)."""
        planes = np.ascontiguousarray(chips.transpose(0, 3, 1, 2), dtype=np.float32)
        vectors = self.model.run(planes)["fc1"]
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
        return unit
