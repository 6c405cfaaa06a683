"""Faces of a job by their ids: where they are, their embeddings, how far apart two of them lie."""

import uuid

import numpy as np
import numpy.typing as npt
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db.errors import FaceNotFoundError
from db.jobs import get_job
from db.models import Embedding, Extraction, Face, Item
from db.results import job_items
from db.views import FaceView, ItemView, JobView

_NOT_THERE = "the job has no such face, or its photo was deleted"
# Of the engine that found the face: others may have measured it too.
_DISTANCE = text("""
    SELECT one.vector <-> other.vector
    FROM embedding one
    JOIN face ON face.tenant_id = :tenant_id AND face.id = one.face_id
    JOIN extraction ON extraction.tenant_id = :tenant_id AND extraction.id = face.extraction_id
                   AND extraction.model_id = one.model_id
    JOIN embedding other ON other.tenant_id = :tenant_id AND other.model_id = one.model_id
    WHERE one.tenant_id = :tenant_id AND one.face_id = :one AND other.face_id = :other
""")


def face_of_job(
    session: Session, tenant_id: int, job_id: uuid.UUID, face_id: int
) -> tuple[JobView, ItemView, FaceView]:
    """The face in the first photo of the job that shows it, with its job.

    One that the job's limits leave out is none of its faces. Raises `JobNotFoundError`,
    `FaceNotFoundError`.
    """
    job = get_job(session, tenant_id, job_id)
    query = (
        select(func.min(Item.id))
        .join(Face, Face.extraction_id == Item.extraction_id)
        .where(
            Item.tenant_id == tenant_id,
            Item.job_id == job_id,
            Face.tenant_id == tenant_id,
            Face.id == face_id,
        )
    )
    if (item_id := session.scalars(query).one()) is None:
        raise FaceNotFoundError(_NOT_THERE)
    for item in job_items(session, tenant_id, job_id, after=item_id - 1, limit=1):
        for face in item.faces:
            if face.id == face_id:
                return job, item, face
    raise FaceNotFoundError(_NOT_THERE)


def face_embedding(session: Session, tenant_id: int, face_id: int) -> npt.NDArray[np.float32]:
    """The face's embedding by the engine that found it, shape (dimension,).

    Raises `FaceNotFoundError`.
    """
    query = (
        select(Embedding.vector)
        .join(Face, Face.id == Embedding.face_id)
        .join(Extraction, Extraction.id == Face.extraction_id)
        .where(
            Embedding.tenant_id == tenant_id,
            Embedding.face_id == face_id,
            Embedding.model_id == Extraction.model_id,
        )
    )
    if (vector := session.scalars(query).one_or_none()) is None:
        raise FaceNotFoundError(_NOT_THERE)
    return np.asarray(vector, dtype=np.float32)


def distance_between(session: Session, tenant_id: int, one: int, other: int) -> float:
    """L2 between two faces of one engine and version, by their ids. Raises `FaceNotFoundError`."""
    found = session.scalars(
        _DISTANCE, {"tenant_id": tenant_id, "one": one, "other": other}
    ).one_or_none()
    if found is None:
        raise FaceNotFoundError(_NOT_THERE)
    return float(found)
