"""What came of the photos of a job."""

import datetime as dt
import uuid
from typing import Self

from pydantic import Field

from db.states import ItemState
from db.views import CandidateView, FaceView, ItemView
from web.quality import QualityOut
from web.schemas.base import Outgoing
from web.schemas.jobs import JobOut


class WhoOut(Outgoing):
    """A subject, in short."""

    id: uuid.UUID
    name: str


class CandidateOut(Outgoing):
    """A subject near a face."""

    rank: int = Field(description="1 is the nearest.")
    gallery: uuid.UUID = Field(description="The subject's.")
    subject: WhoOut
    distance: float = Field(description="L2, to the nearest of its templates; lower is closer.")

    @classmethod
    def of(cls, view: CandidateView) -> Self:
        """From what the query returned."""
        return cls(
            rank=view.rank,
            gallery=view.gallery_id,
            subject=WhoOut(id=view.subject_id, name=view.subject_name),
            distance=view.distance,
        )


class FaceOut(Outgoing):
    """A face in a photo."""

    face: int = Field(description="Its number in the photo, from 0.")
    box: list[int] = Field(
        min_length=4, max_length=4, description="[left, top, right, bottom], upright pixels."
    )
    landmarks: list[list[float]] = Field(description="Five points [x, y], upright pixels.")
    score: float = Field(description="The detector's certainty, on the engine's own scale.")
    quality: QualityOut | None = Field(
        description="Null for a face that was found before qualities were kept."
    )
    subject: WhoOut | None = Field(description="Who it is under the threshold; null for nobody.")
    distance: float | None = Field(
        description="L2 distance to the nearest candidate, match or not; null where none is."
    )
    candidates: list[CandidateOut] = Field(description="The nearest subjects, nearest first.")
    enrolled: bool = Field(description="Whether this face became a template.")

    @classmethod
    def of(cls, view: FaceView, *, threshold_distance: float) -> Self:
        """From what the query returned, decided under the job's threshold."""
        near = [CandidateOut.of(one) for one in view.candidates]
        first = near[0] if near else None
        return cls(
            face=view.ordinal,
            box=[view.left_px, view.top_px, view.right_px, view.bottom_px],
            landmarks=[list(point) for point in view.landmarks_px],
            score=view.score,
            quality=QualityOut.of(view.quality) if view.quality else None,
            subject=first.subject if first and first.distance <= threshold_distance else None,
            distance=first.distance if first else None,
            candidates=near,
            enrolled=view.enrolled,
        )


class ItemErrorOut(Outgoing):
    """Why a photo failed."""

    code: str = Field(description="Stable; listed in the reference of errors.")
    detail: str


class ResultOut(Outgoing):
    """One photo of a job and what came of it."""

    name: str = Field(description="The file's name as it was sent.")
    client_id: str | None
    status: ItemState
    error: ItemErrorOut | None
    sha256: str | None = Field(description="Of the file, in hex; null for one that was refused.")
    width: int | None = Field(description="Of the upright photo, in pixels.")
    height: int | None = Field(description="Of the upright photo, in pixels.")
    rotation: int | None = Field(
        description="Degrees clockwise by which the photo had to be turned for its faces to be "
        "found: 0, 90, 180 or 270; null where it was not read."
    )
    faces: list[FaceOut]
    faces_left_out: int = Field(
        description="Faces below the job's `min_face_px` or `min_quality`, which do not count."
    )
    attempts: int = Field(description="How many workers have begun it.")
    finished_at: dt.datetime | None

    @classmethod
    def of(cls, view: ItemView, *, threshold_distance: float) -> Self:
        """From what the query returned, decided under the job's threshold."""
        error = (
            ItemErrorOut(code=view.error_code, detail=view.error_detail or "")
            if view.error_code
            else None
        )
        return cls(
            name=view.name,
            client_id=view.client_id,
            status=view.state,
            error=error,
            sha256=view.sha256.hex() if view.sha256 else None,
            width=view.width_px,
            height=view.height_px,
            rotation=view.rotation,
            faces=[FaceOut.of(face, threshold_distance=threshold_distance) for face in view.faces],
            faces_left_out=view.faces_left_out,
            attempts=view.attempt,
            finished_at=view.finished_at,
        )


class ResultsOut(Outgoing):
    """A page of a job's photos, in the order in which they were added."""

    job: JobOut
    results: list[ResultOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")
