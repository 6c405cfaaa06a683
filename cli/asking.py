"""The fields of a job that ask for what the user chose; none for a default."""

from typing import Any

from pipeline.face_limits import FaceLimits
from pipeline.thresholds import WantedThreshold

Json = dict[str, Any]


def threshold_fields(wanted: WantedThreshold) -> Json:
    """Those of a threshold."""
    fields = {
        "threshold": wanted.distance,
        "target_fmr": wanted.target_fmr,
        "target_fpir": wanted.target_fpir,
    }
    return {name: value for name, value in fields.items() if value is not None}


def limit_fields(limits: FaceLimits) -> Json:
    """Those of what a face must have to count."""
    fields = {"min_face_px": limits.min_face_px, "min_quality": limits.min_quality}
    return {name: value for name, value in fields.items() if value}
