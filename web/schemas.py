"""The bodies of the API, in and out, as pydantic models; OpenAPI is made from them."""

import datetime as dt
import json
import uuid
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, FailFast, Field, model_validator
from pydantic_core import PydanticCustomError

from db.models import ItemState, JobKind, JobState, MultipleFaces
from db.views import CandidateView, FaceView, GalleryView, ItemView, JobView, SubjectView
from pipeline.face_limits import FaceLimits
from pipeline.thresholds import DEFAULT_TARGET_FPIR
from web.errors import InvalidNameError
from web.incoming import storable
from web.quality import MinFacePx, MinQuality, QualityOut
from web.thresholds import ThresholdOut

MAX_NAME_CHARS = 255
MAX_PAGE = 1000
MAX_TOP_K = 100
MAX_KNOWN = 1000
MAX_ENGINE_CHARS = 100


def _name(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError(InvalidNameError.code, "a name cannot be empty")
    if len(value) > MAX_NAME_CHARS:
        raise PydanticCustomError(
            InvalidNameError.code,
            f"a name has at most {MAX_NAME_CHARS} characters, this one has {len(value)}",
        )
    if not storable(value):
        raise PydanticCustomError(
            InvalidNameError.code, "a name cannot have control characters in it"
        )
    return value


Name = Annotated[
    str,
    Field(
        description=f"1 to {MAX_NAME_CHARS} characters, no control characters; kept as it is.",
        examples=["Ada Lovelace"],
    ),
    AfterValidator(_name),
]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Body = TypeVar("Body", bound=_In)


def as_json(model: type[Body], body: dict[str, Any]) -> Body:
    """A JSON body as `model`, without taking true for 1 or a string for a number.

    A form has nothing but strings; there pydantic may read them. Raises `ValidationError`.
    """
    return model.model_validate_json(json.dumps(body), strict=True)


class _Out(BaseModel):
    model_config = ConfigDict(frozen=True)


class PreferHeader(BaseModel):
    """How patient the client is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    prefer: str | None = Field(
        None,
        alias="Prefer",
        description="`wait=N`: answer when the job has ended, after N seconds (60) at the most.",
    )


class PageQuery(_In):
    """Where a list goes on."""

    limit: int = Field(100, ge=1, le=MAX_PAGE, description="Entries in one answer, at the most.")
    cursor: str | None = Field(
        None, description="`next_cursor` of the answer before; leave it out for the first."
    )


class NamedPageQuery(PageQuery):
    """Where a list goes on, or the one entry of a name."""

    name: Name | None = Field(None, description="Only the entry with exactly this name.")


class GalleryPath(_In):
    gallery_id: uuid.UUID


class SubjectPath(_In):
    gallery_id: uuid.UUID
    subject_id: uuid.UUID


class JobPath(_In):
    job_id: uuid.UUID


class GalleryIn(_In):
    """A gallery to create."""

    name: Name
    engine: str | None = Field(
        None,
        max_length=MAX_ENGINE_CHARS,
        description="The engine it is bound to for good. Default: `dlib`.",
    )


class EngineOut(_Out):
    """What made the embeddings; those of two engines or versions are never compared."""

    name: str
    version: str


class GalleryOut(_Out):
    """A gallery."""

    id: uuid.UUID
    name: str
    engine: EngineOut
    dimension: int = Field(description="Length of its embeddings.")
    subjects: int = Field(description="How many subjects it has.")
    templates: int = Field(description="How many templates they have together.")
    created_at: dt.datetime

    @classmethod
    def of(cls, view: GalleryView) -> Self:
        """From what the query returned."""
        return cls(
            id=view.id,
            name=view.name,
            engine=EngineOut(name=view.engine, version=view.engine_version),
            dimension=view.dimension,
            subjects=view.subject_count,
            templates=view.template_count,
            created_at=view.created_at,
        )


class GalleriesOut(_Out):
    """A page of galleries."""

    galleries: list[GalleryOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class SubjectIn(_In):
    """A subject to create, or its new name."""

    name: Name


class SubjectOut(_Out):
    """A subject."""

    id: uuid.UUID
    name: str
    gallery: uuid.UUID
    templates: int = Field(description="How many faces of it are enrolled.")
    created_at: dt.datetime

    @classmethod
    def of(cls, view: SubjectView) -> Self:
        """From what the query returned."""
        return cls(
            id=view.id,
            name=view.name,
            gallery=view.gallery_id,
            templates=view.template_count,
            created_at=view.created_at,
        )


class SubjectsOut(_Out):
    """A page of subjects."""

    subjects: list[SubjectOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


_THRESHOLDS = ("threshold", "target_fmr", "target_fpir")
_TAKEN = {
    JobKind.ENROL: {"gallery", "subject", "multiple_faces"},
    JobKind.IDENTIFY: {"gallery", *_THRESHOLDS, "top_k"},
    # One subject is no search: there is no FPIR to aim at.
    JobKind.VERIFY: {"gallery", "subject", "threshold", "target_fmr"},
    JobKind.DETECT: {"engine"},
}
"""What each kind of job goes by. Anything else that is sent would be passed over in silence."""
_TAKEN_BY_ALL = {"kind", "min_face_px", "min_quality"}


class JobIn(_In):
    """What a job is to do."""

    kind: JobKind = Field(
        description="`enrol` photos for a subject, `identify` faces in a gallery (1:N), `verify` "
        "them against one subject (1:1), or only `detect` them."
    )
    gallery: uuid.UUID | None = Field(None, description="Id of the gallery; not for `detect`.")
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

    @property
    def limits(self) -> FaceLimits:
        """What a face must have to count."""
        return FaceLimits(min_face_px=self.min_face_px, min_quality=self.min_quality)

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        if foreign := sorted(given - _TAKEN[self.kind] - _TAKEN_BY_ALL):
            raise ValueError(f"{self.kind.value} takes no {', '.join(foreign)}; leave it out")
        if self.kind is not JobKind.DETECT and not self.gallery:
            raise ValueError(f"{self.kind.value} needs a gallery; give its id")
        if self.kind is JobKind.VERIFY and not self.subject:
            raise ValueError("verify needs a subject; give its id")
        if len(several := [name for name in _THRESHOLDS if name in given]) > 1:
            raise ValueError(f"{' and '.join(several)} exclude each other; give one of them")
        return self


class EnrolIn(_In):
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


class AddQuery(_In):
    """Whom the photos show."""

    subject: uuid.UUID | None = Field(
        None, description="Enrolment: id of the subject, where the job names none."
    )


class RecognizeQuery(_In):
    """How near is near enough."""

    threshold: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        None, description="L2 distance up to which it is a match. Default: FACE_MATCH_THRESHOLD."
    )


class KnownPhotoIn(_In):
    """A photo by its hash."""

    client_id: str = Field(min_length=1, max_length=500, description="Your id, unique in the job.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the file, in hex.")


class KnownPhotosIn(_In):
    """Photos by their hashes: those that are known already need not be sent."""

    # The first that is wrong will do: a list of a thousand errors helps nobody.
    photos: Annotated[list[KnownPhotoIn], FailFast()] = Field(min_length=1, max_length=MAX_KNOWN)


class AddedOut(_Out):
    """What the job has of this request's photos."""

    accepted: int = Field(description="Photos of this request that the job has now.")
    missing: list[str] = Field(description="`client_id` of those whose bytes must be sent.")


class CountsOut(_Out):
    """A job's photos by state."""

    total: int
    queued: int
    running: int
    done: int
    no_face: int
    failed: int
    cancelled: int


class JobOut(_Out):
    """A job."""

    id: uuid.UUID
    kind: JobKind
    state: JobState
    gallery: uuid.UUID | None
    subject: uuid.UUID | None
    engine: EngineOut
    threshold: ThresholdOut
    top_k: int
    multiple_faces: MultipleFaces
    min_face_px: int = Field(description="Faces that are narrower count as not found.")
    min_quality: float = Field(description="Faces of a lower quality count as not found.")
    counts: CountsOut
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
            gallery=view.gallery_id,
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
            created_at=view.created_at,
            sealed_at=view.sealed_at,
            started_at=view.started_at,
            finished_at=view.finished_at,
        )


class JobsOut(_Out):
    """A page of jobs, the latest first."""

    jobs: list[JobOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class WhoOut(_Out):
    """A subject, in short."""

    id: uuid.UUID
    name: str


class CandidateOut(_Out):
    """A subject near a face."""

    rank: int = Field(description="1 is the nearest.")
    subject: WhoOut
    distance: float = Field(description="L2, to the nearest of its templates; lower is closer.")

    @classmethod
    def of(cls, view: CandidateView) -> Self:
        """From what the query returned."""
        return cls(
            rank=view.rank,
            subject=WhoOut(id=view.subject_id, name=view.subject_name),
            distance=view.distance,
        )


class FaceOut(_Out):
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


class ItemErrorOut(_Out):
    """Why a photo failed."""

    code: str = Field(description="Stable; listed in the reference of errors.")
    detail: str


class ResultOut(_Out):
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


class ResultsOut(_Out):
    """A page of a job's photos, in the order in which they were added."""

    job: JobOut
    results: list[ResultOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class FieldErrorOut(_Out):
    """A field that was refused."""

    field: str
    message: str


class ProblemOut(_Out):
    """An error (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str = Field(description="Stable; listed in the reference of errors.")
    detail: str
    errors: list[FieldErrorOut] | None = None
