"""ONNX Runtime on one thread: a process has one core, and more would wait for each other."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from pipeline.errors import ModelFormatError
from pipeline.models.cache import ModelCache, Recipe

ONLY_ERRORS = 3


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A model of one input, ready to run."""

    session: onnxruntime.InferenceSession
    input_name: str
    output_names: tuple[str, ...]

    @classmethod
    def load(cls, data: bytes) -> Self:
        """The ONNX model in `data`; raises `ModelFormatError`."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # A pattern is kept for each size of input, and photos have many.
        options.enable_mem_pattern = False
        options.log_severity_level = ONLY_ERRORS
        try:
            session = onnxruntime.InferenceSession(
                data, options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # ONNX Runtime names no root of its errors.
            raise ModelFormatError("ONNX Runtime refuses a converted model") from exc
        (taken,) = session.get_inputs()
        return cls(session, taken.name, tuple(one.name for one in session.get_outputs()))

    def run(
        self, values: NDArray[np.float32] | NDArray[np.uint8]
    ) -> dict[str, NDArray[np.float32]]:
        """The outputs by name."""
        outputs = self.session.run(None, {self.input_name: values})
        return dict(zip(self.output_names, outputs, strict=True))


@lru_cache
def onnx_model(models: ModelCache, recipe: Recipe) -> OnnxModel:
    """The model that `recipe` makes, loaded once for all engines of this process that use it.

    Raises `ModelFileError` and `ModelCacheError`.
    """
    return OnnxModel.load(models.onnx(recipe))
