"""Whom the photos of a job show: a summary for each subject, by cursor."""

import uuid
from dataclasses import dataclass

from sqlalchemy import LargeBinary, text
from sqlalchemy.orm import Session

NOBODY = uuid.UUID(int=0)
"""Before all subjects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BestPhoto:
    """The photo whose face is the nearest to a subject."""

    name: str
    client_id: str | None
    source_key: str | None
    sha256: bytes | None
    ordinal: int
    """Of the face in the photo."""
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectSummary:
    """A subject for whom at least one face of a job is taken."""

    subject_id: uuid.UUID
    subject_name: str
    gallery_id: uuid.UUID
    photos: int
    faces: int
    first_taken_at: str | None
    """The earliest of the photos' `taken_at`, compared as the cameras wrote them; None: untold."""
    last_taken_at: str | None
    best: BestPhoto


# A face is taken for the nearest of its candidates, whose rank is the lowest that is left: that of
# a subject that was deleted stays free. Photos and faces break ties by their order. All that the
# job matched is found first: found subject by subject until there are enough, it took thrice as
# long where the planner chose to.
_SUMMARIES = text("""
    WITH matched AS MATERIALIZED (
        SELECT candidate.subject_id, candidate.item_id, candidate.face_id, candidate.distance
        FROM candidate
        JOIN item ON item.id = candidate.item_id
        JOIN job ON job.id = item.job_id
        WHERE item.tenant_id = :tenant_id AND item.job_id = :job_id
          AND candidate.tenant_id = :tenant_id AND job.tenant_id = :tenant_id
          AND candidate.subject_id > :after
          AND candidate.distance <= job.threshold_distance
          AND NOT EXISTS (
              SELECT FROM candidate nearer
              WHERE nearer.tenant_id = :tenant_id AND nearer.item_id = candidate.item_id
                AND nearer.face_id = candidate.face_id
                AND nearer.rank < candidate.rank
          )
    ), summary AS (
        SELECT matched.subject_id,
               count(DISTINCT matched.item_id) AS photos,
               count(*) AS faces,
               min(extraction.taken_at COLLATE "C") AS first_taken_at,
               max(extraction.taken_at COLLATE "C") AS last_taken_at,
               (array_agg(matched.item_id
                          ORDER BY distance, matched.item_id, matched.face_id))[1] AS item_id,
               (array_agg(matched.face_id
                          ORDER BY distance, matched.item_id, matched.face_id))[1] AS face_id,
               min(distance) AS distance
        FROM matched
        JOIN item ON item.tenant_id = :tenant_id AND item.id = matched.item_id
        LEFT JOIN extraction
          ON extraction.tenant_id = :tenant_id AND extraction.id = item.extraction_id
        GROUP BY matched.subject_id
        ORDER BY matched.subject_id
        LIMIT :limit
    )
    SELECT subject.id AS subject_id, subject.name AS subject_name, subject.gallery_id,
           summary.photos, summary.faces, summary.first_taken_at, summary.last_taken_at,
           item.name, item.client_id, item.source_key, photo.sha256, face.ordinal,
           summary.distance
    FROM summary
    JOIN subject ON subject.tenant_id = :tenant_id AND subject.id = summary.subject_id
    JOIN item ON item.tenant_id = :tenant_id AND item.id = summary.item_id
    JOIN face ON face.tenant_id = :tenant_id AND face.id = summary.face_id
    LEFT JOIN photo ON photo.tenant_id = :tenant_id AND photo.id = item.photo_id
    ORDER BY subject.id
""").columns(sha256=LargeBinary)
_OF_THE_BEST = ("name", "client_id", "source_key", "sha256", "ordinal", "distance")


def job_subjects(
    session: Session,
    tenant_id: int,
    job_id: uuid.UUID,
    *,
    after: uuid.UUID = NOBODY,
    limit: int = 100,
) -> list[SubjectSummary]:
    """Subjects behind `after`, in the order in which they were made, at most `limit`.

    Each call goes through all faces of the job that were taken for somebody.
    The caller has checked that the tenant has the job.
    """
    rows = session.execute(
        _SUMMARIES, {"tenant_id": tenant_id, "job_id": job_id, "after": after, "limit": limit}
    )
    return [
        SubjectSummary(
            **{name: one for name, one in row._mapping.items() if name not in _OF_THE_BEST},
            best=BestPhoto(**{name: row._mapping[name] for name in _OF_THE_BEST}),
        )
        for row in rows
    ]
