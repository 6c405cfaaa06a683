"""The engine `sface` as plain data."""

from pipeline.curve_file import packaged_curve
from pipeline.engine_spec import EngineSpec

SPEC = EngineSpec(
    name="sface",
    version="1",
    dimension=128,
    threshold_distance=1.13,
    max_distance=2.0,
    unit_length=True,
    sure_score=0.9,
    turns_photos=True,
    managed_colour=True,
    curve=packaged_curve(__package__, engine="sface", version="1"),
)
"""YuNet as in `dlib`, its own five points, a chip of 112 pixels, SFace on the unit sphere. It
misses far fewer people than `dlib` in large galleries, and takes longer for a face.
"""
