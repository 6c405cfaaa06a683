"""Jobs, and what a request has added to one."""

import datetime as dt
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from facebatch.client.models.base import OPEN, Answer, Engine, Error, Page, Tagged

JobKind = Annotated[Literal["enrol", "identify", "verify", "detect"], OPEN]
JobState = Annotated[
    Literal["queued", "running", "succeeded", "partially_failed", "failed", "cancelled"], OPEN
]
Priority = Annotated[Literal["interactive", "normal", "low"], OPEN]
MultipleFaces = Annotated[Literal["refuse", "largest"], OPEN]
Basis = Annotated[Literal["measured", "extrapolated", "at_most"], OPEN]


class Threshold(Answer):
    """Up to which distance a face is taken for somebody, and how often that errs."""

    distance: float
    target_fmr: float | None
    target_fpir: float | None
    subjects: int | None
    """Among how many the FPIR is expected; None for 1:1."""
    fmr: float | None
    fmr_basis: Basis | None
    fpir: float | None
    fnmr: float | None
    advice: str | None
    """What to know before relying on it."""
    better_engine: str | None
    meaning: str = ""


class Counts(Answer):
    """A job's photos by state."""

    total: int
    queued: int
    running: int
    done: int
    no_face: int
    failed: int
    cancelled: int

    @property
    def ended(self) -> int:
        """Photos of which nothing further comes."""
        return self.total - self.queued - self.running


class Job(Tagged):
    """A job."""

    id: UUID
    kind: JobKind
    state: JobState
    priority: Priority
    paused: bool
    cancelling: bool
    """Whether its end was asked for and has not come."""
    round: int
    """How often it was begun: 1, and one more for each retry."""
    gallery: UUID | None
    galleries: tuple[UUID, ...]
    subject: UUID | None
    engine: Engine
    threshold: Threshold
    top_k: int
    multiple_faces: MultipleFaces
    min_face_px: int
    min_quality: float
    counts: Counts
    sources_open: int
    """Sources that are not listed to their end: more photos may come."""
    source_error: Error | None
    rate_per_s: float | None
    seconds_left: float | None
    callback_url: str | None
    created_at: dt.datetime
    sealed_at: dt.datetime | None
    started_at: dt.datetime | None
    finished_at: dt.datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing further comes of it."""
        return self.finished_at is not None


class Jobs(Page[Job]):
    """A page of jobs."""

    FIELD: ClassVar = "jobs"

    jobs: tuple[Job, ...]


class Added(Answer):
    """What the job has of a request's photos."""

    accepted: int
    missing: tuple[str, ...]
    """`client_id` of those whose bytes must be sent."""
