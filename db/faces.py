"""A face's values as columns, and its box and quality back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Row

from db.models import Face
from pipeline.box import Box
from pipeline.face_quality import Pose, Quality, QualityLimit

if TYPE_CHECKING:  # It would load numpy.
    from pipeline.faces import Face as FoundFace

FaceRow = Face | Row[*tuple[Any, ...]]
"""A row of the table, or its columns under their names."""


def face_values(face: FoundFace) -> dict[str, object]:
    """The columns that hold what was found of the face, but for its embedding."""
    return {
        "left_px": face.box.left,
        "top_px": face.box.top,
        "right_px": face.box.right,
        "bottom_px": face.box.bottom,
        "landmarks_px": [float(value) for point in face.landmarks for value in point],
        "score": face.score,
        **quality_values(face.quality),
    }


def quality_values(quality: Quality | None) -> dict[str, object]:
    """The columns that hold it; null, all of them, where it is not known."""
    if quality is None:
        return dict.fromkeys(
            ("quality", "quality_limit", "sharpness", "width_px", "yaw", "pitch", "roll")
        )
    return {
        "quality": quality.overall,
        "quality_limit": quality.limit.value,
        "sharpness": quality.sharpness,
        "width_px": quality.width_px,
        "yaw": quality.pose.yaw,
        "pitch": quality.pose.pitch,
        "roll": quality.pose.roll,
    }


def quality_of(row: FaceRow) -> Quality | None:
    """None for a row of the time before qualities were kept."""
    numbers = (row.quality, row.sharpness, row.yaw, row.pitch, row.roll)
    known = [number for number in numbers if number is not None]
    # All are there or none is: the table has a constraint.
    if len(known) < len(numbers) or row.quality_limit is None or row.width_px is None:
        return None
    overall, sharpness, yaw, pitch, roll = known
    return Quality(
        overall=overall,
        limit=QualityLimit(row.quality_limit),
        sharpness=sharpness,
        width_px=row.width_px,
        pose=Pose(yaw=yaw, pitch=pitch, roll=roll),
    )


def box_of(row: FaceRow) -> Box:
    """Trimmed to the photo, as it was found."""
    return Box(left=row.left_px, top=row.top_px, right=row.right_px, bottom=row.bottom_px)
