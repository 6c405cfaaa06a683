"""Verifications (1:1), in and out, and faces of photos that are not kept."""

import uuid
from typing import Annotated, Self

from pydantic import Field, model_validator

from db.exports.lines import seen_face
from db.views import FaceView
from pipeline.thresholds import WantedThreshold
from web.quality import QualityOut
from web.schemas.base import MAX_ENGINE_CHARS, Incoming, Outgoing
from web.schemas.people import EngineOut
from web.schemas.results import WhoOut
from web.thresholds import ThresholdOut

MAX_BIGINT = 2**63 - 1


class WantedIn(Incoming):
    """How near is near enough."""

    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None,
        description="L2 distance up to which two faces are taken for one person. Default: the "
        "engine's.",
    )
    target_fmr: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="In place of `threshold`: the share of strangers that may match.",
    )

    @property
    def wanted(self) -> WantedThreshold:
        """As the pipeline takes it."""
        return WantedThreshold(distance=self.threshold, target_fmr=self.target_fmr)

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if self.threshold is not None and self.target_fmr is not None:
            raise ValueError("threshold and target_fmr exclude each other; give one of them")
        return self


class EngineWantedIn(WantedIn):
    """How near is near enough, and which engine is to tell."""

    engine: str | None = Field(
        None,
        max_length=MAX_ENGINE_CHARS,
        description="Engine that compares two photos. Default: `dlib`; not with a subject.",
    )


class VerifiedUserIn(Incoming):
    """Whom the photo is compared with, in place of a second photo."""

    user_id: int | None = Field(
        None, ge=1, le=MAX_BIGINT, description="A registered user, by the number from `/register`."
    )
    subject: uuid.UUID | None = Field(None, description="A subject of any gallery, by its id.")


class PhotoVerificationIn(EngineWantedIn):
    """Form fields beside the photos."""

    subject: uuid.UUID | None = Field(
        None, description="In place of `reference`: id of a subject of any gallery."
    )


class JobFaceIn(Incoming):
    """A face of a job's results."""

    job: uuid.UUID
    face: int = Field(ge=1, le=MAX_BIGINT, description="The face's `id`.")


class VerificationIn(WantedIn):
    """Two faces that are known, or one and a subject."""

    face: JobFaceIn
    reference: JobFaceIn | None = Field(None, description="The face to compare it with.")
    subject: uuid.UUID | None = Field(
        None, description="In place of `reference`: id of a subject of any gallery."
    )

    @model_validator(mode="after")
    def _compares_with_one(self) -> Self:
        if (self.reference is None) == (self.subject is None):
            raise ValueError("give either a reference or a subject to compare the face with")
        return self


class SeenFaceOut(Outgoing):
    """A face, and where in its photo it is."""

    box: list[int] = Field(
        min_length=4, max_length=4, description="[left, top, right, bottom], upright pixels."
    )
    landmarks: list[list[float]] = Field(description="Five points [x, y], upright pixels.")
    score: float = Field(description="The detector's certainty, on the engine's own scale.")
    quality: QualityOut | None = Field(
        description="Null for a face that was found before qualities were kept."
    )

    @classmethod
    def of(cls, face: FaceView) -> Self:
        """From what the queries returned."""
        return cls.model_validate(seen_face(face))


class VerificationOut(Outgoing):
    """Whether two faces are of one person."""

    match: bool = Field(description="Whether the distance is within the threshold.")
    distance: float | None = Field(
        description="L2 between the faces, or to the nearest of the subject's templates; null "
        "where it has none."
    )
    threshold: ThresholdOut
    engine: EngineOut
    face: SeenFaceOut = Field(description="The face that was compared: of a photo, its largest.")
    reference: SeenFaceOut | None = Field(description="The other one, likewise.")
    subject: WhoOut | None = Field(description="With whom it was compared, in place of that.")
