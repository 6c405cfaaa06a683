"""Jobs, in and out, and the photos that are added to them."""

import datetime as dt
import enum
import uuid
from typing import Annotated, ClassVar, Self

from pydantic import BeforeValidator, FailFast, Field, ValidationInfo, model_validator

from db.states import JobKind, JobState, MultipleFaces
from db.views import JobView
from pipeline.face_limits import FaceLimits
from pipeline.names import MAX_FILE_NAME_CHARS
from pipeline.thresholds import DEFAULT_TARGET_FPIR
from web.quality import MinFacePx, MinQuality
from web.schemas.base import (
    MAX_ENGINE_CHARS,
    MAX_KNOWN,
    MAX_TOP_K,
    Incoming,
    Outgoing,
    Url,
)
from web.schemas.people import EngineOut
from web.thresholds import ThresholdOut

MAX_GALLERIES = 16
_THRESHOLDS = ("threshold", "target_fmr", "target_fpir")
_TAKEN = {
    JobKind.ENROL: {"gallery", "subject", "multiple_faces"},
    JobKind.IDENTIFY: {"gallery", "galleries", *_THRESHOLDS, "top_k"},
    # One subject is no search: there is no FPIR to aim at.
    JobKind.VERIFY: {"gallery", "subject", "threshold", "target_fmr"},
    JobKind.DETECT: {"engine"},
}
"""What each kind of job goes by. Anything else that is sent would be passed over in silence."""
_TAKEN_BY_ALL = {"kind", "priority", "min_face_px", "min_quality", "sources", "callback_url"}


class Priority(enum.StrEnum):
    """Whose photos go first."""

    INTERACTIVE = "interactive"
    """Somebody waits; for jobs of few photos."""
    NORMAL = "normal"
    LOW = "low"
    """When nothing else waits."""


def _split(value: object, info: ValidationInfo) -> object:
    """A form has one string, with commas; JSON has a list."""
    return value.split(",") if info.mode == "python" and isinstance(value, str) else value


class JobIn(Incoming):
    """What a job is to do."""

    kind: JobKind = Field(
        description="`enrol` photos for a subject, `identify` faces in a gallery (1:N), `verify` "
        "them against one subject (1:1), or only `detect` them."
    )
    gallery: uuid.UUID | None = Field(None, description="Id of the gallery; not for `detect`.")
    galleries: Annotated[list[uuid.UUID], BeforeValidator(_split)] | None = Field(
        None,
        min_length=1,
        max_length=MAX_GALLERIES,
        description="In place of `gallery`, for `identify`: ids of galleries of one engine, which "
        "are searched as if they were one. In a form: with commas between them.",
    )
    subject: uuid.UUID | None = Field(
        None, description="Id of the subject, for `verify` and `enrol`."
    )
    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None,
        description="L2 distance up to which a face is taken for a subject. Default, for `verify`: "
        "the engine's.",
    )
    target_fmr: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="In place of `threshold`: the share of strangers that may match one subject.",
    )
    target_fpir: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="In place of `threshold`, for `identify`: the share of strangers that may "
        f"match any subject of the gallery. Default: {DEFAULT_TARGET_FPIR:g}, and never a looser "
        "distance than the engine's.",
    )
    top_k: int = Field(5, ge=1, le=MAX_TOP_K, description="Candidates listed for each face.")
    multiple_faces: MultipleFaces = Field(
        MultipleFaces.REFUSE,
        description="Enrolling a photo of several faces: `refuse` it, or take the `largest`.",
    )
    engine: str | None = Field(
        None, max_length=MAX_ENGINE_CHARS, description="Engine, for `detect` alone."
    )
    min_face_px: MinFacePx = 0
    min_quality: MinQuality = 0.0
    priority: Priority | None = Field(
        None,
        description="Whose photos go first: `interactive`, `normal` or `low`. Default: "
        "`interactive` for a request of few photos that waits for its answer, else `normal`.",
    )

    callback_url: Url | None = Field(
        None,
        description="Gets this job's `job.completed`, signed with the callback secret, which has "
        "to be made first.",
    )

    @property
    def limits(self) -> FaceLimits:
        """What a face must have to count."""
        return FaceLimits(min_face_px=self.min_face_px, min_quality=self.min_quality)

    @property
    def gallery_ids(self) -> tuple[uuid.UUID, ...]:
        """The gallery or galleries, each once."""
        return tuple(dict.fromkeys(self.galleries or filter(None, [self.gallery])))

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        if foreign := sorted(given - _TAKEN[self.kind] - _TAKEN_BY_ALL):
            raise ValueError(f"{self.kind.value} takes no {', '.join(foreign)}; leave it out")
        if self.gallery and self.galleries:
            raise ValueError("gallery and galleries exclude each other; give one of them")
        if self.kind is not JobKind.DETECT and not self.gallery_ids:
            raise ValueError(f"{self.kind.value} needs a gallery; give its id")
        if self.kind is JobKind.VERIFY and not self.subject:
            raise ValueError("verify needs a subject; give its id")
        if len(several := [name for name in _THRESHOLDS if name in given]) > 1:
            raise ValueError(f"{' and '.join(several)} exclude each other; give one of them")
        return self


class EnrolIn(Incoming):
    """How photos are enrolled for a subject."""

    multiple_faces: MultipleFaces = Field(
        MultipleFaces.REFUSE,
        description="A photo of several faces: `refuse` it, or take the `largest`.",
    )
    min_face_px: MinFacePx = 0
    min_quality: MinQuality = 0.0

    @property
    def limits(self) -> FaceLimits:
        """What a face must have to count."""
        return FaceLimits(min_face_px=self.min_face_px, min_quality=self.min_quality)


class AddQuery(Incoming):
    """Whom the photos show."""

    subject: uuid.UUID | None = Field(
        None, description="Enrolment: id of the subject, where the job names none."
    )


class RecognizeQuery(Incoming):
    """How near is near enough."""

    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="L2 distance up to which it is a match. Default: FACE_MATCH_THRESHOLD."
    )


class DetectQuery(Incoming):
    """Which faces count, and who finds them."""

    min_face_px: MinFacePx = 0
    min_quality: MinQuality = 0.0
    engine: str | None = Field(
        None, max_length=MAX_ENGINE_CHARS, description="Engine. Default: `dlib`."
    )

    @property
    def limits(self) -> FaceLimits:
        """What a face must have to count."""
        return FaceLimits(min_face_px=self.min_face_px, min_quality=self.min_quality)


class KnownPhotoIn(Incoming):
    """A photo by its hash."""

    client_id: str = Field(
        min_length=1, max_length=MAX_FILE_NAME_CHARS, description="Your id, unique in the job."
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file, in hex.")


class KnownPhotosIn(Incoming):
    """Photos by their hashes: those that are known already need not be sent."""

    # The first that is wrong will do: a list of a thousand errors helps nobody.
    photos: Annotated[list[KnownPhotoIn], FailFast()] = Field(min_length=1, max_length=MAX_KNOWN)


class AddedOut(Outgoing):
    """What the job has of this request's photos."""

    accepted: int = Field(description="Photos of this request that the job has now.")
    missing: list[str] = Field(description="`client_id` of those whose bytes must be sent.")


class CountsOut(Outgoing):
    """A job's photos by state."""

    total: int
    queued: int
    running: int
    done: int
    no_face: int
    failed: int
    cancelled: int


class SourceErrorOut(Outgoing):
    """Why a source failed."""

    code: str
    detail: str

    @classmethod
    def of(cls, error: tuple[str, str] | None) -> Self | None:
        """From what the query returned."""
        return None if error is None else cls(code=error[0], detail=error[1])


class JobOut(Outgoing):
    """A job."""

    PASSING: ClassVar = {"rate_per_s", "seconds_left"}
    """What changes with the clock alone, and makes no other job of it."""

    id: uuid.UUID
    kind: JobKind
    state: JobState
    priority: Priority
    paused: bool = Field(description="Whether nothing of it begins until it is resumed.")
    cancelling: bool = Field(description="Whether its end was asked for and has not come.")
    round: int = Field(description="How often it was begun: 1, and one more for each retry.")
    gallery: uuid.UUID | None
    galleries: list[uuid.UUID] = Field(description="All that are searched, `gallery` first.")
    subject: uuid.UUID | None
    engine: EngineOut
    threshold: ThresholdOut
    top_k: int
    multiple_faces: MultipleFaces
    min_face_px: int = Field(description="Faces that are narrower count as not found.")
    min_quality: float = Field(description="Faces of a lower quality count as not found.")
    counts: CountsOut
    sources_open: int = Field(
        description="Sources that are not listed to their end: more photos may come."
    )
    source_error: SourceErrorOut | None = Field(
        description="Why a source of it failed, the first that did."
    )
    rate_per_s: float | None = Field(
        description="Photos that ended in a second, over the last minute or so; null while none "
        "can be told."
    )
    seconds_left: float | None = Field(
        description="Until its end at this rate; null while that or the number of its photos is "
        "unknown."
    )
    callback_url: str | None = Field(description="What is told of its end.")
    created_at: dt.datetime
    sealed_at: dt.datetime | None = Field(description="When it was closed for further photos.")
    started_at: dt.datetime | None
    finished_at: dt.datetime | None

    @classmethod
    def of(cls, view: JobView) -> Self:
        """From what the query returned."""
        return cls(
            id=view.id,
            kind=view.kind,
            state=view.state,
            priority=Priority[view.priority.name],
            paused=view.paused,
            cancelling=view.cancelling,
            round=view.round,
            gallery=view.gallery_id,
            galleries=list(view.gallery_ids),
            subject=view.subject_id,
            engine=EngineOut(name=view.engine, version=view.engine_version),
            threshold=ThresholdOut.of(view.threshold),
            top_k=view.top_k,
            multiple_faces=view.multiple_faces,
            min_face_px=view.min_face_px,
            min_quality=view.min_quality,
            counts=CountsOut(
                total=view.n_items,
                queued=view.n_queued,
                running=view.n_running,
                done=view.n_done,
                no_face=view.n_no_face,
                failed=view.n_failed,
                cancelled=view.n_cancelled,
            ),
            sources_open=view.n_sources_open,
            source_error=SourceErrorOut.of(view.source_error),
            rate_per_s=_rounded(view.rate_per_s, 3),
            seconds_left=_rounded(view.seconds_left, 1),
            callback_url=view.callback_url,
            created_at=view.created_at,
            sealed_at=view.sealed_at,
            started_at=view.started_at,
            finished_at=view.finished_at,
        )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


class JobsOut(Outgoing):
    """A page of jobs, the latest first."""

    jobs: list[JobOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")
