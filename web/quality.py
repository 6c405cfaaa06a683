"""The quality of faces in the bodies of the API, and what a job may ask of it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipeline.face_limits import MAX_MIN_FACE_PX
from pipeline.face_quality import QualityLimit

MinFacePx = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_MIN_FACE_PX,
        description="Faces that are narrower, in pixels of the photo, count as not found.",
    ),
]
MinQuality = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Faces of a lower overall quality (0 to 1) count as not found.",
    ),
]


class QualityOut(BaseModel):
    """How well a face can be recognised."""

    model_config = ConfigDict(frozen=True)

    overall: float = Field(description="0 to 1; the least of its components.")
    limit: QualityLimit = Field(description="The component that `overall` comes from.")
    sharpness: float = Field(description="Variance of the Laplacian of the face, cut out.")
    width: int = Field(description="Of the box, in pixels, before it was trimmed to the photo.")
    yaw: float = Field(description="Degrees; positive: towards the photo's right.")
    pitch: float = Field(description="Degrees; positive: downwards.")
    roll: float = Field(description="Degrees; positive: clockwise.")
