"""What the queries hand out: values, not rows."""

import datetime as dt
import uuid
from dataclasses import dataclass, field

from db.states import Decision, ItemState, JobKind, JobPriority, JobState, MultipleFaces
from pipeline.face_limits import NO_LIMITS, FaceLimits
from pipeline.face_quality import Quality
from pipeline.thresholds import Threshold, WantedThreshold, current_spec, explained


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryView:
    """A gallery as its owner sees it."""

    id: uuid.UUID
    name: str
    engine: str
    engine_version: str
    dimension: int
    created_at: dt.datetime
    subject_count: int
    template_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectView:
    """A subject as its gallery's owner sees it."""

    id: uuid.UUID
    number: int
    name: str
    gallery_id: uuid.UUID
    template_count: int
    created_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What a submission asks for."""

    kind: JobKind
    gallery_id: uuid.UUID | None
    further_gallery_ids: tuple[uuid.UUID, ...] = ()
    """Searched together with the gallery, by an identification."""
    priority: JobPriority = JobPriority.NORMAL
    subject_id: uuid.UUID | None = None
    threshold: WantedThreshold = field(default_factory=WantedThreshold)
    top_k: int = 5
    multiple_faces: MultipleFaces = MultipleFaces.REFUSE
    limits: FaceLimits = NO_LIMITS
    engine: str | None = None
    """For `detect`, which has no gallery. None: the default engine."""
    keep_for: dt.timedelta | None = None
    """After this long the job is deleted, whatever became of it, and nobody is told of its end.
    None: it is kept.
    """
    callback_url: str | None = None
    """Where its end is to be told of. Its form was checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """A photo on its way into a job: stored in the bucket, or refused with an error."""

    name: str
    client_id: str | None = None
    sha256: bytes | None = None
    size_bytes: int = 0
    object_key: str | None = None
    subject_id: uuid.UUID | None = None
    new_subject: str | None = None
    error_code: str | None = None
    error_detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job with its counts; `n_queued` and `n_running` are what has not ended."""

    id: uuid.UUID
    kind: JobKind
    state: JobState
    priority: JobPriority
    paused_at: dt.datetime | None
    cancel_requested_at: dt.datetime | None
    round: int
    engine: str
    engine_version: str
    gallery_id: uuid.UUID | None
    further_gallery_ids: tuple[uuid.UUID, ...]
    subject_id: uuid.UUID | None
    threshold_distance: float
    target_fmr: float | None
    target_fpir: float | None
    gallery_subjects: int | None
    top_k: int
    multiple_faces: MultipleFaces
    min_face_px: int
    min_quality: float
    created_at: dt.datetime
    sealed_at: dt.datetime | None
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    callback_url: str | None
    n_sources_open: int
    source_error: tuple[str, str] | None
    """Code and detail of the first of its sources that failed."""
    read_at: dt.datetime
    before_at: dt.datetime | None
    before_ended: int | None
    n_items: int
    n_queued: int
    n_running: int
    n_done: int
    n_no_face: int
    n_failed: int
    n_cancelled: int

    @property
    def finished(self) -> bool:
        """Whether every photo has ended and the job with them."""
        return self.finished_at is not None

    @property
    def gallery_ids(self) -> tuple[uuid.UUID, ...]:
        """All that are searched."""
        return () if self.gallery_id is None else (self.gallery_id, *self.further_gallery_ids)

    @property
    def paused(self) -> bool:
        """Whether nothing of it begins until it is resumed."""
        return self.paused_at is not None

    @property
    def cancelling(self) -> bool:
        """Whether its end was asked for and has not come."""
        return self.cancel_requested_at is not None and not self.finished

    @property
    def n_ended(self) -> int:
        """Photos that have ended, in whichever way."""
        return self.n_done + self.n_no_face + self.n_failed + self.n_cancelled

    @property
    def rate_per_s(self) -> float | None:
        """Photos that ended in a second, of late; None while none can be told."""
        if self.finished or self.paused or self.before_at is None or self.before_ended is None:
            return None
        span_s = (self.read_at - self.before_at).total_seconds()
        return (self.n_ended - self.before_ended) / span_s if span_s > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """Until its end, at its rate; None while that or how many will come is unknown."""
        if not self.rate_per_s or self.sealed_at is None or self.n_sources_open or self.cancelling:
            return None
        return (self.n_items - self.n_ended) / self.rate_per_s

    @property
    def threshold(self) -> Threshold:
        """What the job's threshold means, by what is known of its engine's version today."""
        return explained(
            current_spec(self.engine, self.engine_version),
            distance=self.threshold_distance,
            target_fmr=self.target_fmr,
            target_fpir=self.target_fpir,
            subjects=self.gallery_subjects,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateView:
    """A subject near a face. `rank` begins at 1."""

    rank: int
    subject_id: uuid.UUID
    subject_number: int
    subject_name: str
    gallery_id: uuid.UUID
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceView:
    """A face in a photo, with its candidates, nearest first."""

    id: int
    """The same in every job that has the photo searched by this engine."""
    ordinal: int
    left_px: int
    top_px: int
    right_px: int
    bottom_px: int
    landmarks_px: tuple[tuple[float, float], ...]
    score: float
    quality: Quality | None
    """None for a face of the time before qualities were kept."""
    candidates: tuple[CandidateView, ...]
    decision: Decision
    enrolled: bool
    """Whether this face became a template of the item's subject."""

    @property
    def match(self) -> CandidateView | None:
        """Who it is under the job's threshold."""
        return self.candidates[0] if self.decision is Decision.MATCH else None

    @property
    def area_px(self) -> int:
        """Of its box."""
        return (self.right_px - self.left_px) * (self.bottom_px - self.top_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemView:
    """One photo of a job with its result, as far as it has one."""

    id: int
    name: str
    client_id: str | None
    source_key: str | None
    """The key of the object that a source of the job named."""
    state: ItemState
    attempt: int
    photo_id: uuid.UUID | None
    sha256: bytes | None
    size_bytes: int | None
    taken_at: str | None
    """As the camera wrote it: ISO 8601, mostly without a zone."""
    width_px: int | None
    """Of the upright photo, as `height_px` is."""
    height_px: int | None
    orientation: int | None
    """How the file's pixels lie: 1 (upright) to 8, as EXIF has it."""
    rotation: int | None
    """Degrees clockwise by which the photo had to be turned; None where it was not read."""
    subject_id: uuid.UUID | None
    error_code: str | None
    error_detail: str | None
    faces: tuple[FaceView, ...]
    """Those that pass the job's limits."""
    faces_left_out: int
    """How many do not."""
    finished_at: dt.datetime | None
