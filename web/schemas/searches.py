"""Searches among the faces of a job, in and out."""

import uuid
from typing import Annotated, Self

from pydantic import Field, model_validator

from db.job_search import FoundPhoto
from pipeline.thresholds import DEFAULT_TARGET_FPIR, WantedThreshold
from web.schemas.base import Incoming, Outgoing
from web.schemas.people import EngineOut
from web.schemas.results import WhoOut
from web.schemas.verifications import MAX_BIGINT, SeenFaceOut
from web.thresholds import ThresholdOut

_THRESHOLDS = ("threshold", "target_fmr", "target_fpir")


class PhotoSearchIn(Incoming):
    """How near is near enough: the form fields beside a photo."""

    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="L2 distance up to which a face is taken for the one that is searched."
    )
    target_fmr: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="In place of `threshold`: the share of strangers that may match one face.",
    )
    target_fpir: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="In place of `threshold`: the share of strangers that may match any face of "
        f"the job. Default: {DEFAULT_TARGET_FPIR:g}, and never a looser distance than the "
        "engine's.",
    )

    @property
    def wanted(self) -> WantedThreshold:
        """As the pipeline takes it."""
        return WantedThreshold(
            distance=self.threshold, target_fmr=self.target_fmr, target_fpir=self.target_fpir
        )

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        given = [name for name in _THRESHOLDS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; give one of them")
        return self


class SearchIn(PhotoSearchIn):
    """Whom to search for, by a face or a subject."""

    face: int | None = Field(None, ge=1, le=MAX_BIGINT, description="`id` of a face of the job.")
    subject: uuid.UUID | None = Field(
        None, description="In place of `face`: id of a subject of a gallery of the job's engine."
    )

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.face is None) == (self.subject is None):
            raise ValueError("give either a face or a subject to search for, or send a photo")
        return self


class FoundFaceOut(Outgoing):
    """The face of a photo that is the nearest."""

    face: int = Field(description="Its number in the photo.")
    id: int = Field(description="Its own.")
    box: list[int] = Field(
        min_length=4, max_length=4, description="[left, top, right, bottom], upright pixels."
    )


class FoundPhotoOut(Outgoing):
    """A photo that shows whom was searched."""

    name: str
    client_id: str | None
    key: str | None
    sha256: str | None
    taken_at: str | None
    face: FoundFaceOut
    distance: float = Field(description="L2, to the nearest of what was searched for.")

    @classmethod
    def of(cls, found: FoundPhoto) -> Self:
        """From what the query returned."""
        return cls(
            name=found.name,
            client_id=found.client_id,
            key=found.source_key,
            sha256=found.sha256.hex() if found.sha256 else None,
            taken_at=found.taken_at,
            face=FoundFaceOut(
                face=found.ordinal,
                id=found.face_id,
                box=[found.left_px, found.top_px, found.right_px, found.bottom_px],
            ),
            distance=found.distance,
        )


class SearchOut(Outgoing):
    """A page of the photos that show somebody, the nearest first."""

    job: uuid.UUID
    probe: SeenFaceOut | None = Field(
        description="The face that was searched for: of a photo, its largest. Null for a subject."
    )
    subject: WhoOut | None = Field(description="The subject that was searched for, if it was one.")
    engine: EngineOut
    faces: int = Field(description="How many faces of the job were searched.")
    threshold: ThresholdOut = Field(description="What decides; its `subjects` are those faces.")
    photos: list[FoundPhotoOut]
    next_cursor: str | None = Field(
        description="For the next page, with the same request; null at the end."
    )
