"""Search among the faces of a job: every photo that shows somebody, nearest first, by cursor.

Exact, in one statement that goes from the job's items to their faces and embeddings by index. What
it costs is bounded by how many pairs of faces it compares.
"""

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sqlalchemy import LargeBinary, select, text
from sqlalchemy.orm import Session

from db.errors import SearchTooLargeError
from db.models import Template
from db.search import vector_literal
from db.views import JobView

MAX_COMPARISONS = 20_000_000
"""Faces of the job times faces that are searched: some seconds of one core."""
MAX_TEMPLATES = 1000
"""Of a subject that is searched for."""

# The rules of `FaceLimits.shortfall`. The quality was written as a real, so it is compared as one.
_PASSES = """
    coalesce(face.width_px, face.right_px - face.left_px) >= :min_face_px
    AND (:min_quality <= 0 OR face.quality >= CAST(:min_quality AS real))
"""
_OF_THE_JOB = "item.tenant_id = :tenant_id AND item.job_id = :job_id AND item.state = 'done'"
# A photo that the job has twice is searched once more, and is no further stranger.
_COUNT = text(f"""
    SELECT count(*)
    FROM (SELECT DISTINCT item.extraction_id FROM item WHERE {_OF_THE_JOB}) AS item
    JOIN face ON face.tenant_id = :tenant_id AND face.extraction_id = item.extraction_id
    WHERE {_PASSES}
""")  # noqa: S608 - put together from constants, as the next.
# The nearest face of each photo; of equals the first. Probes are read once, not for each face.
_SEARCH = text(f"""
    WITH probe AS MATERIALIZED (
        SELECT vector FROM unnest(CAST(CAST(:probes AS text[]) AS vector[])) AS probe (vector)
    ), near AS (
        SELECT DISTINCT ON (item.id) item.id AS item_id, face.id AS face_id, nearest.distance
        FROM item
        JOIN face ON face.tenant_id = :tenant_id AND face.extraction_id = item.extraction_id
        JOIN embedding ON embedding.tenant_id = :tenant_id AND embedding.face_id = face.id
        JOIN job ON job.tenant_id = :tenant_id AND job.id = item.job_id
            AND job.model_id = embedding.model_id
        CROSS JOIN LATERAL (
            SELECT min(embedding.vector <-> probe.vector) AS distance FROM probe
        ) AS nearest
        WHERE {_OF_THE_JOB} AND {_PASSES} AND nearest.distance <= :distance
        ORDER BY item.id, nearest.distance, face.ordinal
    ), page AS MATERIALIZED (
        SELECT * FROM near
        WHERE (distance, item_id) > (:after_distance, :after_item)
        ORDER BY distance, item_id
        LIMIT :limit
    )
    SELECT page.item_id, page.face_id, page.distance,
           item.name, item.client_id, item.source_key, photo.sha256, extraction.taken_at,
           face.ordinal, face.left_px, face.top_px, face.right_px, face.bottom_px
    FROM page
    JOIN item ON item.tenant_id = :tenant_id AND item.id = page.item_id
    JOIN face ON face.tenant_id = :tenant_id AND face.id = page.face_id
    JOIN extraction ON extraction.tenant_id = :tenant_id AND extraction.id = face.extraction_id
    JOIN photo ON photo.tenant_id = :tenant_id AND photo.id = extraction.photo_id
    ORDER BY page.distance, page.item_id
""").columns(sha256=LargeBinary)  # noqa: S608 - likewise.


_PLACE = struct.Struct(">dq")
PLACE_BYTES = _PLACE.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a search was read."""

    distance: float
    item_id: int

    def __bytes__(self) -> bytes:
        return _PLACE.pack(self.distance, self.item_id)

    @classmethod
    def of(cls, data: bytes) -> Self:
        """From what `bytes` has made of it."""
        distance, item_id = _PLACE.unpack(data)
        return cls(distance=distance, item_id=item_id)


BEGINNING = Place(distance=-1.0, item_id=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPhoto:
    """A photo of a job that shows whom was searched, and its nearest face."""

    item_id: int
    name: str
    client_id: str | None
    source_key: str | None
    sha256: bytes | None
    taken_at: str | None
    face_id: int
    ordinal: int
    left_px: int
    top_px: int
    right_px: int
    bottom_px: int
    distance: float

    @property
    def place(self) -> Place:
        """Behind it the search goes on."""
        return Place(distance=self.distance, item_id=self.item_id)


def templates_of(
    session: Session, tenant_id: int, subject_id: uuid.UUID
) -> list[npt.NDArray[np.float32]]:
    """The vectors of the subject's templates, each of shape (dimension,).

    Raises `SearchTooLargeError`.
    """
    mine = select(Template.vector).where(
        Template.tenant_id == tenant_id, Template.subject_id == subject_id
    )
    found = session.scalars(mine.limit(MAX_TEMPLATES + 1)).all()
    if len(found) > MAX_TEMPLATES:
        raise SearchTooLargeError(
            f"the subject has more than the {MAX_TEMPLATES} templates that a search takes; search "
            "by one face, or match the job again (rematch)"
        )
    return [np.asarray(one, dtype=np.float32) for one in found]


def count_faces(session: Session, tenant_id: int, job: JobView) -> int:
    """How many faces a search in the job compares; those that its limits leave out do not count."""
    return int(session.scalars(_COUNT, _of(tenant_id, job)).one())


def search_faces(
    session: Session,
    tenant_id: int,
    job: JobView,
    probes: Sequence[npt.NDArray[np.float32]],
    *,
    faces: int,
    max_distance: float,
    after: Place = BEGINNING,
    limit: int = 100,
) -> list[FoundPhoto]:
    """Photos of the job with a face within `max_distance` of any probe, nearest first.

    The probes, each of shape (dimension,), are of one person and of the job's model; `faces` is
    what `count_faces` says. Those behind `after`, at most `limit`. The caller has checked that the
    tenant has the job. Raises `SearchTooLargeError`.
    """
    if faces * len(probes) > MAX_COMPARISONS:
        raise SearchTooLargeError(
            f"{len(probes)} templates among {faces} faces are more than the {MAX_COMPARISONS} "
            "comparisons of a search; search by one face, or match the job again (rematch)"
        )
    values = {
        **_of(tenant_id, job),
        "probes": [vector_literal(probe) for probe in probes],
        "distance": max_distance,
        "after_distance": after.distance,
        "after_item": after.item_id,
        "limit": limit,
    }
    return [FoundPhoto(**row._mapping) for row in session.execute(_SEARCH, values)]


def _of(tenant_id: int, job: JobView) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "job_id": job.id,
        "min_face_px": job.min_face_px,
        "min_quality": job.min_quality,
    }
