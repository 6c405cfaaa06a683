"""The part of ONNX Runtime that facebatch uses; the package ships no types."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

class SessionOptions:
    intra_op_num_threads: int
    inter_op_num_threads: int
    log_severity_level: int
    enable_mem_pattern: bool
    def add_session_config_entry(self, key: str, value: str, /) -> None: ...

class NodeArg:
    name: str

class InferenceSession:
    def __init__(
        self, path_or_bytes: bytes, sess_options: SessionOptions, providers: Sequence[str]
    ) -> None: ...
    def get_inputs(self) -> list[NodeArg]: ...
    def get_outputs(self) -> list[NodeArg]: ...
    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, NDArray[np.float32] | NDArray[np.uint8]],
    ) -> list[NDArray[np.float32]]: ...
