"""Verification (1:1) of the largest faces of two photos, of one and a subject, of faces of jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from db.errors import EnginesDifferError
from db.galleries import gallery_engine
from db.job_faces import distance_between, face_embedding, face_of_job
from db.search import nearest
from db.session import Session, transaction
from db.states import JobKind, JobPriority
from db.subjects import find_subject
from db.views import FaceView, JobView, NewJob, SubjectView
from pipeline.errors import TargetUnknownError
from pipeline.thresholds import Threshold, WantedThreshold, current_spec, decided, explained
from web.accepting import Received
from web.errors import InvalidRequestError
from web.looking import KEPT, asked_of_faces, largest, look, one_photo
from web.schemas.verifications import JobFaceIn, VerificationIn
from web.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What has come of a comparison."""

    job: JobView
    """Of the face; its engine has told."""
    threshold: Threshold
    distance: float | None
    """None where the subject has no template."""
    face: FaceView
    reference: FaceView | None = None
    subject: SubjectView | None = None

    @property
    def match(self) -> bool:
        """Whether both are taken for one person."""
        return self.distance is not None and self.distance <= self.threshold.distance


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A comparison of photos that waits for its job."""

    job: JobView
    names: tuple[str, ...]
    """What the client calls the photos."""
    subject: SubjectView | None


def begin(
    here: Services,
    arrived: Received,
    *,
    names: tuple[str, str],
    subject: SubjectView | None,
    wanted: WantedThreshold,
    engine: str | None,
) -> Begun:
    """Submits what a request has brought: two photos called `names`, or one and a subject."""
    photos = [one_photo(arrived.photos, names[0])]
    if (subject is None) != bool(arrived.references):
        raise InvalidRequestError(
            f"send a second photo as '{names[1]}' or name somebody to compare the first with, "
            "and not both"
        )
    new = NewJob(
        kind=JobKind.DETECT,
        gallery_id=None,
        priority=JobPriority.INTERACTIVE,
        threshold=wanted,
        engine=engine,
        keep_for=KEPT,
    )
    if subject is None:
        photos.append(one_photo(arrived.references, names[1]))
    elif engine is not None:
        raise InvalidRequestError("a subject has the engine of its gallery; leave engine out")
    else:
        new = replace(
            new, kind=JobKind.VERIFY, gallery_id=subject.gallery_id, subject_id=subject.id
        )
    job = look(here, new, replace(arrived, photos=tuple(photos)))
    return Begun(job=job, names=names[: len(photos)], subject=subject)


def ended(here: Services, begun: Begun) -> Verified:
    """What has come of it; its photos are deleted. Raises what `looked_at` raises."""

    def ask(session: Session, faces: Sequence[FaceView]) -> float | None:
        if begun.subject is None:
            return distance_between(session, here.tenant_id, *(face.id for face in faces))
        near = faces[0].candidates
        return near[0].distance if near else None

    items, distance = asked_of_faces(here, begun.job.id, ask, names=begun.names)
    face, reference = largest(items[0]), None if begun.subject else largest(items[1])
    return Verified(
        job=begun.job,
        threshold=begun.job.threshold,
        distance=distance,
        face=face,
        reference=reference,
        subject=begun.subject,
    )


def of_known_faces(here: Services, wanted: VerificationIn) -> Verified:
    """Compares a face of a job with one of a job, or with a subject.

    Raises `JobNotFoundError`, `FaceNotFoundError`, `SubjectNotFoundError`, `EnginesDifferError`.
    """
    with transaction(here.database) as session:
        job, face = _known(here, session, wanted.face)
        threshold = threshold_for(job, wanted.wanted, subjects=None)
        if wanted.reference is not None:
            other, reference = _known(here, session, wanted.reference)
            require_engine(job, other.engine, other.engine_version)
            return Verified(
                job=job,
                threshold=threshold,
                distance=distance_between(session, here.tenant_id, face.id, reference.id),
                face=face,
                reference=reference,
            )
        assert wanted.subject is not None  # noqa: S101 - or a reference: see `VerificationIn`.
        subject = find_subject(session, here.tenant_id, wanted.subject)
        require_engine(job, *gallery_engine(session, here.tenant_id, subject.gallery_id))
        probe = face_embedding(session, here.tenant_id, face.id)
        near = nearest(
            session,
            here.tenant_id,
            [subject.gallery_id],
            [probe],
            top_k=1,
            subject_id=subject.id,
        )[0]
        distance = near[0].distance if near else None
        return Verified(job=job, threshold=threshold, distance=distance, face=face, subject=subject)


def require_engine(job: JobView, engine: str, version: str) -> None:
    """That faces of the job can be compared with those of this engine.

    Raises `EnginesDifferError`.
    """
    if (job.engine, job.engine_version) != (engine, version):
        raise EnginesDifferError(
            f"the job's faces are of the engine {job.engine} {job.engine_version}, and what they "
            f"are to be compared with is of {engine} {version}; their distances mean nothing"
        )


def threshold_for(job: JobView, wanted: WantedThreshold, *, subjects: int | None) -> Threshold:
    """The threshold for faces of the job's engine.

    Raises what `decided` raises; of a version that is none of today's, all but a distance is
    unknown.
    """
    if spec := current_spec(job.engine, job.engine_version):
        return decided(spec, wanted, subjects=subjects)
    if wanted.distance is None:
        raise TargetUnknownError(
            f"the engine {job.engine} has another version than {job.engine_version} by now, so its "
            "error rates are unknown; give a threshold"
        )
    return explained(None, distance=wanted.distance, subjects=subjects)


def _known(here: Services, session: Session, wanted: JobFaceIn) -> tuple[JobView, FaceView]:
    job, _, face = face_of_job(session, here.tenant_id, wanted.job, wanted.face)
    return job, face
