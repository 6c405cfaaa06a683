"""Nearest subjects: exact search by the database alone, many probes in one statement."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

FIRST_MORE = 16
"""Templates that are looked at beyond those that must be: subjects have several."""
DEEPER = 8
DEEPEST = 2048
"""From here on each probe's templates are grouped, however many they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A subject near a probe, with the distance of the nearest of its templates."""

    subject_id: uuid.UUID
    distance: float


_PROBES = """
    unnest(CAST(CAST(:probes AS text[]) AS vector[])) WITH ORDINALITY AS probe (vector, n)
"""
_SEARCHED = """
    t.tenant_id = :tenant_id
    AND t.gallery_id = ANY(CAST(CAST(:gallery_ids AS text[]) AS uuid[]))
    AND (CAST(:subject_id AS uuid) IS NULL OR t.subject_id = :subject_id)
"""
# The subject's id breaks ties, so that the same photos give the same lines every time.
_NEAREST_SUBJECTS = text(f"""
    SELECT probe.n, near.subject_id, near.distance
    FROM {_PROBES}
    CROSS JOIN LATERAL (
        SELECT t.subject_id, min(t.vector <-> probe.vector) AS distance
        FROM template t WHERE {_SEARCHED}
        GROUP BY t.subject_id
        ORDER BY distance, t.subject_id
        LIMIT :top_k
    ) AS near
    ORDER BY probe.n, near.distance, near.subject_id
""")  # noqa: S608 - put together from constants.
# Twice as fast as grouping all templates by their subject: most are looked at and forgotten.
_NEAREST_TEMPLATES = text(f"""
    SELECT probe.n, near.subject_id, near.distance
    FROM {_PROBES}
    CROSS JOIN LATERAL (
        SELECT t.subject_id, t.vector <-> probe.vector AS distance
        FROM template t WHERE {_SEARCHED}
        ORDER BY distance
        LIMIT :depth
    ) AS near
    ORDER BY probe.n, near.distance, near.subject_id
""")  # noqa: S608 - likewise.


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
    values = {
        "tenant_id": tenant_id,
        "gallery_ids": [str(gallery_id) for gallery_id in gallery_ids],
        "subject_id": subject_id,
        "top_k": top_k,
    }
    found: dict[int, list[Near]] = {}
    depth = 2 * top_k + FIRST_MORE
    left = list(range(len(probes)))
    while left and depth <= DEEPEST:
        some = {"probes": [vector_literal(probes[n]) for n in left], "depth": depth}
        rows = session.execute(_NEAREST_TEMPLATES, values | some)
        for n, templates in zip(left, _by_probe(rows, len(left)), strict=True):
            subjects = nearest_subjects(templates)[:top_k]
            if len(templates) < depth or _is_certain(subjects, top_k, templates[-1].distance):
                found[n] = subjects
        left = [n for n in left if n not in found]
        depth *= DEEPER
    if left:
        rows = session.execute(
            _NEAREST_SUBJECTS, values | {"probes": [vector_literal(probes[n]) for n in left]}
        )
        found |= dict(zip(left, _by_probe(rows, len(left)), strict=True))
    return [found[n] for n in range(len(probes))]


def _is_certain(subjects: Sequence[Near], top_k: int, deepest: float) -> bool:
    """Whether templates that were not looked at can change nothing, not even a tie."""
    return len(subjects) == top_k and subjects[-1].distance < deepest


def _by_probe(rows: Iterable[Row[*tuple[Any, ...]]], count: int) -> list[list[Near]]:
    found: list[list[Near]] = [[] for _ in range(count)]
    for n, subject_id, distance in rows:
        found[n - 1].append(Near(subject_id=subject_id, distance=distance))
    return found


def nearest_subjects(near: Iterable[Near]) -> list[Near]:
    """Each subject once, by the nearest of its templates; nearest first, ties by the id."""
    least: dict[uuid.UUID, float] = {}
    for one in near:
        if one.distance < least.get(one.subject_id, np.inf):
            least[one.subject_id] = one.distance
    ordered = sorted(least.items(), key=lambda item: (item[1], item[0]))
    return [Near(subject_id=subject_id, distance=distance) for subject_id, distance in ordered]
