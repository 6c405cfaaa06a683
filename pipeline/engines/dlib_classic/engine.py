"""The parts of `dlib-classic`. Who changes a parameter of one changes the version in `spec`."""

import dlib

from pipeline.aligners.dlib_chip import DlibChipAligner
from pipeline.detectors.hog import HogDetector
from pipeline.embedders.dlib_resnet import ResnetEmbedder
from pipeline.engine import Engine
from pipeline.engines.dlib_classic.spec import SPEC
from pipeline.models.cache import ModelCache
from pipeline.models.files import FIVE_POINTS, model_path
from pipeline.models.recipes import DLIB_RESNET_ONNX
from pipeline.models.runtime import onnx_model


def load(models: ModelCache) -> Engine:
    """Loads the models; raises `ModelFileError` and `ModelCacheError`."""
    return Engine(
        spec=SPEC,
        detector=HogDetector(dlib.get_frontal_face_detector()),
        aligner=DlibChipAligner(predictor=dlib.shape_predictor(str(model_path(FIVE_POINTS)))),
        embedder=ResnetEmbedder(onnx_model(models, DLIB_RESNET_ONNX)),
    )
