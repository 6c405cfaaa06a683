"""The engine `dlib` as plain data."""

from pipeline.curve_file import packaged_curve
from pipeline.engine_spec import EngineSpec

SPEC = EngineSpec(
    name="dlib",
    version="1",
    dimension=128,
    threshold_distance=0.53,
    max_distance=2.0,
    unit_length=False,
    sure_score=0.9,
    turns_photos=True,
    managed_colour=True,
    curve=packaged_curve(__package__, engine="dlib", version="1"),
)
"""YuNet at 640 pixels and, where need be, at 2560 and 224; dlib's five landmarks and chip; dlib's
ResNet, the mean of a face and its mirror image. A photo without a sure face is turned.
"""
