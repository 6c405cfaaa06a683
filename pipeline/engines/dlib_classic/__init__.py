"""dlib as face_recognition calls it: its embeddings are those of `face_recognition.face_encodings`.

That holds for photos of at most `UPSAMPLED_MAX_PIXELS`; see there. Every parameter here is part of
the version in `pipeline.specs.DLIB_CLASSIC`: who changes one changes that.
"""

from pathlib import Path

import dlib

from pipeline.engines.base import Engine
from pipeline.engines.dlib_classic.aligner import FivePointAligner
from pipeline.engines.dlib_classic.detector import HogDetector
from pipeline.engines.dlib_classic.embedder import ResnetEmbedder
from pipeline.engines.dlib_classic.models import FIVE_POINTS, RESNET, checked_model
from pipeline.specs import DLIB_CLASSIC


def load(models_dir: Path | None = None) -> Engine:
    """Loads the models, from the installed package or from `models_dir`.

    Raises `ModelFileError` where a file is missing or is not the one we know.
    """
    five_points = checked_model(FIVE_POINTS, models_dir)
    resnet = checked_model(RESNET, models_dir)
    return Engine(
        spec=DLIB_CLASSIC,
        detector=HogDetector(dlib.get_frontal_face_detector()),
        aligner=FivePointAligner(dlib.shape_predictor(str(five_points))),
        embedder=ResnetEmbedder(dlib.face_recognition_model_v1(str(resnet))),
    )
