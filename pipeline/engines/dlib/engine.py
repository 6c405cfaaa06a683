"""The parts of `dlib`. Who changes a parameter of one changes the version in `spec`."""

import dlib

from pipeline.aligners.dlib_chip import BoxFit, DlibChipAligner
from pipeline.detectors.yunet import YuNetDetector
from pipeline.embedders.dlib_resnet import ResnetEmbedder
from pipeline.embedders.mirror import MirrorMean
from pipeline.engine import Engine
from pipeline.engines.dlib.spec import SPEC
from pipeline.models.cache import ModelCache
from pipeline.models.files import FIVE_POINTS, model_path
from pipeline.models.recipes import DLIB_RESNET_ONNX, YUNET_ONNX
from pipeline.models.runtime import onnx_model

FROM_YUNET = BoxFit(side=1.08, lower=0.06)
"""Measured: the square that gives dlib's network the accuracy that HOG's boxes give it."""
FACE_PX = 110
"""In a smaller face of a reduced photo, the chip would be enlarged in vain."""


def load(models: ModelCache) -> Engine:
    """Loads the models; raises `ModelFileError` and `ModelCacheError`."""
    return Engine(
        spec=SPEC,
        detector=YuNetDetector(onnx_model(models, YUNET_ONNX)),
        aligner=DlibChipAligner(
            predictor=dlib.shape_predictor(str(model_path(FIVE_POINTS))),
            fit=FROM_YUNET,
            face_px=FACE_PX,
        ),
        embedder=MirrorMean(ResnetEmbedder(onnx_model(models, DLIB_RESNET_ONNX))),
    )
