"""How a face is to be cut out."""

import uuid

from pydantic import Field

from web.schemas.base import Incoming
from web.schemas.verifications import MAX_BIGINT

MIN_SIZE_PX, MAX_SIZE_PX = 16, 1024


class FacePath(Incoming):
    job_id: uuid.UUID
    face_id: int = Field(ge=1, le=MAX_BIGINT)


class CropQuery(Incoming):
    """How much of the photo, and in how many pixels."""

    margin: float = Field(
        0.25,
        ge=0,
        le=2,
        allow_inf_nan=False,
        description="What is added on each side, in widths and heights of the face's box; in steps "
        "of 0.01. The photo's edge is the end.",
    )
    size: int = Field(
        256,
        ge=MIN_SIZE_PX,
        le=MAX_SIZE_PX,
        description="The longest side in pixels, at the most. A face that has fewer is not "
        "enlarged.",
    )
