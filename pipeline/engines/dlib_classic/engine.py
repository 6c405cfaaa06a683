"""The parts of `dlib-classic`. Who changes a parameter of one changes the version in `spec`."""

from pathlib import Path

import dlib

from pipeline.aligners.dlib_chip import FivePointAligner
from pipeline.detectors.hog import HogDetector
from pipeline.embedders.dlib_resnet import ResnetEmbedder
from pipeline.engine import Engine
from pipeline.engines.dlib_classic.spec import SPEC
from pipeline.models.files import FIVE_POINTS, RESNET, checked_model


def load(models_dir: Path | None = None) -> Engine:
    """Loads the models, from the installed package or from `models_dir`.

    Raises `ModelFileError` where a file is missing or is not the one we know.
    """
    five_points = checked_model(FIVE_POINTS, models_dir)
    resnet = checked_model(RESNET, models_dir)
    return Engine(
        spec=SPEC,
        detector=HogDetector(dlib.get_frontal_face_detector()),
        aligner=FivePointAligner(dlib.shape_predictor(str(five_points))),
        embedder=ResnetEmbedder(dlib.face_recognition_model_v1(str(resnet))),
    )
