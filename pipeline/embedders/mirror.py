"""The mean of a face's embedding and that of its mirror image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.engine import Embedder


@dataclass(frozen=True, slots=True)
class MirrorMean:
    """Halves the misses of an embedder that was trained on faces and their mirror images alike."""

    embedder: Embedder

    def embed(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Chips (n, side, side, 3) to embeddings (n, dimension)."""
        mirrored = np.ascontiguousarray(chips[:, :, ::-1])
        return (self.embedder.embed(chips) + self.embedder.embed(mirrored)) / np.float32(2)
