"""The parts of `sface`. Who changes a parameter of one changes the version in `spec`."""

from pipeline.aligners.five_points import FivePointAligner
from pipeline.detectors.yunet import YuNetDetector
from pipeline.embedders.sface import SFaceEmbedder
from pipeline.engine import Engine
from pipeline.engines.sface.spec import SPEC
from pipeline.models.cache import ModelCache
from pipeline.models.recipes import SFACE_ONNX, YUNET_ONNX
from pipeline.models.runtime import onnx_model

FACE_PX = 80
"""In a smaller face of a reduced photo, the chip would be enlarged in vain."""


def load(models: ModelCache) -> Engine:
    """Loads the models; raises `ModelFileError` and `ModelCacheError`."""
    return Engine(
        spec=SPEC,
        detector=YuNetDetector(onnx_model(models, YUNET_ONNX)),
        aligner=FivePointAligner(face_px=FACE_PX),
        embedder=SFaceEmbedder(onnx_model(models, SFACE_ONNX)),
    )
