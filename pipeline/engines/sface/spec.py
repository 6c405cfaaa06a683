"""The engine `sface` as plain data."""

from pipeline.engine_spec import EngineSpec

SPEC = EngineSpec(
    name="sface",
    version="1",
    dimension=128,
    threshold_distance=1.13,
    max_distance=2.0,
    sure_score=0.9,
    turns_photos=True,
    managed_colour=True,
)
"""YuNet as in `dlib`, its own five points, a chip of 112 pixels, SFace on the unit sphere. It
misses far fewer people than `dlib` in large galleries, and takes longer for a face.
"""
