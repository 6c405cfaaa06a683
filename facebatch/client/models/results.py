"""What came of photos: results, faces, and whom a job's photos show."""

import datetime as dt
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from facebatch.client.models.base import OPEN, Answer, Engine, Error, Page, Who
from facebatch.client.models.jobs import Job

ItemState = Annotated[Literal["queued", "running", "done", "no_face", "failed", "cancelled"], OPEN]
Decision = Annotated[Literal["match", "above_threshold", "no_candidate", "not_searched"], OPEN]
QualityLimit = Annotated[Literal["size", "sharpness", "pose", "score"], OPEN]
Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels of the upright photo."""
Landmarks = tuple[tuple[float, ...], ...]
"""Five points, x and y."""


class Quality(Answer):
    """How well a face can be recognised."""

    overall: float
    """0 to 1; the least of its components."""
    limit: QualityLimit
    sharpness: float
    width: int
    yaw: float
    pitch: float
    roll: float


class SeenFace(Answer):
    """A face, and where in its photo it is."""

    box: Box
    landmarks: Landmarks
    score: float
    quality: Quality | None


class Candidate(Answer):
    """A subject near a face."""

    rank: int
    subject: Who
    gallery: UUID
    distance: float


class Face(Answer):
    """A face of a job's photo."""

    face: int
    """Its number in the photo, from 0."""
    id: int
    """Its own, by which it is searched for, compared and cut out."""
    box: Box
    landmarks: Landmarks
    score: float
    quality: Quality | None
    decision: Decision
    subject: Who | None
    """Who it is under the threshold; None for nobody."""
    distance: float | None
    """To the nearest candidate, match or not."""
    candidates: tuple[Candidate, ...]
    enrolled: bool


class Result(Answer):
    """One photo of a job, and what came of it."""

    name: str
    client_id: str | None
    key: str | None
    status: ItemState
    error: Error | None
    sha256: str | None
    size_bytes: int | None
    taken_at: str | None
    width: int | None
    height: int | None
    orientation: int | None
    rotation: int | None
    faces: tuple[Face, ...]
    faces_left_out: int
    engine: Engine
    threshold: float
    attempts: int
    finished_at: dt.datetime | None


class Results(Page[Result]):
    """A page of a job's results."""

    FIELD: ClassVar = "results"

    job: Job
    results: tuple[Result, ...]


class BestPhoto(Answer):
    """The photo whose face is the nearest to a subject."""

    name: str
    client_id: str | None
    key: str | None
    sha256: str | None
    face: int
    distance: float


class SubjectResult(Answer):
    """A subject, and how many photos of a job show it."""

    subject: Who
    gallery: UUID
    photos: int
    faces: int
    first_taken_at: str | None
    last_taken_at: str | None
    best: BestPhoto


class SubjectResults(Page[SubjectResult]):
    """A page of the subjects that a job's photos show."""

    FIELD: ClassVar = "subjects"

    subjects: tuple[SubjectResult, ...]
