"""Nearest subjects: exact search in galleries, many probes in one statement."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A subject near a probe, with the distance of the nearest of its templates."""

    subject_id: uuid.UUID
    distance: float


# The subject's id breaks ties, so that the same photos give the same lines every time.
_NEAREST = text("""
    SELECT probe.n, near.subject_id, near.distance
    FROM unnest(CAST(CAST(:probes AS text[]) AS vector[])) WITH ORDINALITY AS probe (vector, n)
    CROSS JOIN LATERAL (
        SELECT t.subject_id, min(t.vector <-> probe.vector) AS distance
        FROM template t
        WHERE t.tenant_id = :tenant_id
          AND t.gallery_id = ANY(CAST(CAST(:gallery_ids AS text[]) AS uuid[]))
          AND (CAST(:subject_id AS uuid) IS NULL OR t.subject_id = :subject_id)
        GROUP BY t.subject_id
        ORDER BY distance, t.subject_id
        LIMIT :top_k
    ) AS near
    ORDER BY probe.n, near.distance, near.subject_id
""")


def vector_literal(vector: npt.NDArray[np.float32]) -> str:
    """The vector, shape (dimension,), as pgvector reads it, to the last bit of its float32."""
    # Nine digits are all that a float32 has.
    return "[" + ",".join(["%.9g"] * len(vector)) % tuple(vector.tolist()) + "]"


def nearest(
    session: Session,
    tenant_id: int,
    gallery_ids: Sequence[uuid.UUID],
    probes: Sequence[npt.NDArray[np.float32]],
    *,
    top_k: int,
    subject_id: uuid.UUID | None = None,
) -> list[list[Near]]:
    """For each probe, shape (dimension,), the `top_k` nearest subjects by L2, nearest first.

    The galleries are searched as if they were one. With `subject_id`, that subject alone. The
    probes must come from the galleries' model.
    """
    found: list[list[Near]] = [[] for _ in probes]
    if not probes:
        return found
    rows = session.execute(
        _NEAREST,
        {
            "probes": [vector_literal(probe) for probe in probes],
            "tenant_id": tenant_id,
            "gallery_ids": [str(gallery_id) for gallery_id in gallery_ids],
            "subject_id": subject_id,
            "top_k": top_k,
        },
    )
    for row in rows:
        found[row.n - 1].append(Near(subject_id=row.subject_id, distance=row.distance))
    return found
