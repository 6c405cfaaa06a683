"""Search in a job: whom a request brings or names, and the photos that show them."""

import uuid
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from db.errors import EnginesDifferError, JobUnfinishedError
from db.galleries import gallery_engine
from db.job_faces import face_embedding, face_of_job
from db.job_search import FoundPhoto, Place, count_faces, search_faces, templates_of
from db.jobs import get_job
from db.session import transaction
from db.states import JobKind, JobPriority
from db.subjects import find_subject
from db.views import FaceView, JobView, NewJob, SubjectView
from pipeline.thresholds import Threshold, WantedThreshold, current_spec
from web.accepting import Received
from web.looking import KEPT, asked_of_faces, largest, look, one_photo
from web.patience import searching
from web.services import Services
from web.verifying import require_engine, threshold_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Whom to search for: a face, or all templates of a subject."""

    vectors: tuple[npt.NDArray[np.float32], ...]
    face: FaceView | None = None
    subject: SubjectView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Photos of a job that show the probe."""

    faces: int
    """How many were searched."""
    threshold: Threshold
    photos: list[FoundPhoto]


def searchable_job(here: Services, job_id: uuid.UUID) -> JobView:
    """The job, which has ended. Raises `JobNotFoundError`, `JobUnfinishedError`."""
    with transaction(here.database) as session:
        job = get_job(session, here.tenant_id, job_id)
    if not job.finished:
        raise JobUnfinishedError("the job has not ended; search it when it has")
    return job


def begin_look(
    here: Services, job: JobView, arrived: Received, wanted: WantedThreshold, *, field: str
) -> JobView:
    """Submits the photo of whom to search for, to be looked at by the job's engine.

    Raises `EnginesDifferError` where that has another version by now, and what `threshold_for`
    raises.
    """
    photo = one_photo(arrived.photos, field)
    if current_spec(job.engine, job.engine_version) is None:
        raise EnginesDifferError(
            f"the job's faces are of {job.engine} {job.engine_version}, of which there is another "
            "version by now; search by a face of the job"
        )
    # A threshold that cannot be is refused before anybody waits.
    threshold_for(job, wanted, subjects=1)
    new = NewJob(
        kind=JobKind.DETECT,
        gallery_id=None,
        priority=JobPriority.INTERACTIVE,
        engine=job.engine,
        keep_for=KEPT,
    )
    return look(here, new, replace(arrived, photos=(photo,)))


def seen_probe(here: Services, look: JobView) -> Probe:
    """The largest face of the photo, which is deleted. Raises what `looked_at` raises."""
    (item,), vector = asked_of_faces(
        here,
        look.id,
        lambda session, faces: face_embedding(session, here.tenant_id, faces[0].id),
    )
    return Probe(vectors=(vector,), face=largest(item))


def face_probe(here: Services, job: JobView, face_id: int) -> Probe:
    """A face of the job. Raises `FaceNotFoundError`."""
    with transaction(here.database) as session:
        _, _, face = face_of_job(session, here.tenant_id, job.id, face_id)
        return Probe(vectors=(face_embedding(session, here.tenant_id, face_id),), face=face)


def subject_probe(here: Services, job: JobView, subject_id: uuid.UUID) -> Probe:
    """A subject of a gallery of the job's engine.

    Raises `SubjectNotFoundError`, `EnginesDifferError`.
    """
    with transaction(here.database) as session:
        subject = find_subject(session, here.tenant_id, subject_id)
        require_engine(job, *gallery_engine(session, here.tenant_id, subject.gallery_id))
        vectors = templates_of(session, here.tenant_id, subject_id)
    return Probe(vectors=tuple(vectors), subject=subject)


def search(
    here: Services,
    job: JobView,
    probe: Probe,
    wanted: WantedThreshold,
    *,
    after: Place,
    limit: int,
) -> Found:
    """A page of the photos of the job that show the probe.

    Raises `SearchTooLargeError`, `TooBusyError`, and what `threshold_for` raises.
    """
    with searching(), transaction(here.database) as session:
        faces = count_faces(session, here.tenant_id, job)
        threshold = threshold_for(job, wanted, subjects=faces)
        photos = search_faces(
            session,
            here.tenant_id,
            job,
            probe.vectors,
            faces=faces,
            max_distance=threshold.distance,
            after=after,
            limit=limit,
        )
    return Found(faces=faces, threshold=threshold, photos=photos)
