"""What came of the photos of a job."""

import datetime as dt
import uuid
from typing import Self

from pydantic import Field

from db.exports.lines import photo_line, subject_line
from db.states import Decision, ItemState
from db.subject_results import SubjectSummary
from db.views import ItemView, JobView
from web.quality import QualityOut
from web.schemas.base import Outgoing, PageQuery
from web.schemas.jobs import JobOut
from web.schemas.people import EngineOut


class WhoOut(Outgoing):
    """A subject, in short."""

    id: uuid.UUID
    name: str


class CandidateOut(Outgoing):
    """A subject near a face."""

    rank: int = Field(description="1 is the nearest.")
    subject: WhoOut
    gallery: uuid.UUID = Field(description="The subject's.")
    distance: float = Field(description="L2, to the nearest of its templates; lower is closer.")


class FaceOut(Outgoing):
    """A face in a photo."""

    face: int = Field(description="Its number in the photo, from 0.")
    id: int = Field(description="Its own, by which it is searched for, compared and cut out.")
    box: list[int] = Field(
        min_length=4, max_length=4, description="[left, top, right, bottom], upright pixels."
    )
    landmarks: list[list[float]] = Field(description="Five points [x, y], upright pixels.")
    score: float = Field(description="The detector's certainty, on the engine's own scale.")
    quality: QualityOut | None = Field(
        description="Null for a face that was found before qualities were kept."
    )
    decision: Decision = Field(
        description="`match`: its nearest candidate is within the threshold. `above_threshold`: "
        "it is not. `no_candidate`: there was nobody to compare it with. `not_searched`: the job "
        "compares faces with nobody."
    )
    subject: WhoOut | None = Field(description="Who it is under the threshold; null for nobody.")
    distance: float | None = Field(
        description="L2 distance to the nearest candidate, match or not; null where none is."
    )
    candidates: list[CandidateOut] = Field(description="The nearest subjects, nearest first.")
    enrolled: bool = Field(description="Whether this face became a template.")


class ItemErrorOut(Outgoing):
    """Why a photo failed."""

    code: str = Field(description="Stable; listed in the reference of errors.")
    detail: str


class ResultOut(Outgoing):
    """One photo of a job and what came of it."""

    name: str = Field(description="The file's name as it was sent.")
    client_id: str | None
    key: str | None = Field(
        description="The key of the photo's object, or of its archive, where a source named one."
    )
    status: ItemState
    error: ItemErrorOut | None
    sha256: str | None = Field(description="Of the file, in hex; null while nobody has read it.")
    size_bytes: int | None = Field(description="Of the file.")
    taken_at: str | None = Field(
        description="When it was taken, as the camera wrote it: ISO 8601, mostly without a zone."
    )
    width: int | None = Field(description="Of the upright photo, in pixels.")
    height: int | None = Field(description="Of the upright photo, in pixels.")
    orientation: int | None = Field(
        description="How the pixels lie in the file: its EXIF orientation, 1 (upright) to 8."
    )
    rotation: int | None = Field(
        description="Degrees clockwise by which the photo had to be turned for its faces to be "
        "found: 0, 90, 180 or 270; null where it was not read."
    )
    faces: list[FaceOut]
    faces_left_out: int = Field(
        description="Faces below the job's `min_face_px` or `min_quality`, which do not count."
    )
    engine: EngineOut
    threshold: float = Field(description="L2 distance up to which a face is taken for a subject.")
    attempts: int = Field(description="How many workers have begun it.")
    finished_at: dt.datetime | None

    @classmethod
    def of(cls, item: ItemView, job: JobView) -> Self:
        """From what the queries returned: the same members as in all exports."""
        return cls.model_validate(photo_line(item, job))


class ResultsQuery(PageQuery):
    """Where the results go on, or one of them."""

    item: int | None = Field(
        None,
        ge=1,
        le=2**63 - 1,
        description="In place of a cursor: the one photo that an event of `match.found` names.",
    )


class ResultsOut(Outgoing):
    """A page of a job's photos, in the order in which they were added."""

    job: JobOut
    results: list[ResultOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class BestPhotoOut(Outgoing):
    """The photo whose face is the nearest to a subject."""

    name: str
    client_id: str | None
    key: str | None
    sha256: str | None
    face: int = Field(description="The face's number in the photo.")
    distance: float = Field(description="L2, to the nearest of the subject's templates.")


class SubjectResultOut(Outgoing):
    """A subject and the photos of a job that show it."""

    subject: WhoOut
    gallery: uuid.UUID
    photos: int = Field(description="Photos with a face that is taken for it.")
    faces: int = Field(description="Faces that are taken for it.")
    first_taken_at: str | None = Field(
        description="The earliest of the photos' `taken_at`, compared as they are written; null "
        "where none tells."
    )
    last_taken_at: str | None = Field(description="The latest.")
    best: BestPhotoOut

    @classmethod
    def of(cls, summary: SubjectSummary) -> Self:
        """From what the query returned."""
        return cls.model_validate(subject_line(summary))


class SubjectResultsOut(Outgoing):
    """A page of the subjects that a job's photos show, in the order in which they were made."""

    subjects: list[SubjectResultOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")
