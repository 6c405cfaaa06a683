"""The engine `dlib-classic` as plain data."""

from pipeline.curve_file import packaged_curve
from pipeline.engine_spec import EngineSpec

SPEC = EngineSpec(
    name="dlib-classic",
    version="1",
    dimension=128,
    threshold_distance=0.6,
    max_distance=2.0,
    unit_length=False,
    sure_score=1.0,
    turns_photos=False,
    managed_colour=False,
    curve=packaged_curve(__package__, engine="dlib-classic", version="1"),
)
"""HOG with one upsampling, five landmarks, dlib's ResNet: what face_recognition computes.

Version 1 upsamples photos of at most 25 megapixels; larger ones are searched as they are, because
upsampling quadruples memory. It promises embeddings within 0.00001 of face_recognition's, whatever
runs the network.
"""
