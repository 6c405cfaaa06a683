"""What tests of searching share: galleries of people who look alike, and a searcher."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ledger_kit import Kit
from sqlalchemy import text

from db import search
from db.imports import NamedEmbeddings, import_templates
from db.search import Near
from db.session import Session, transaction
from db.snapshots.searching import Searcher
from pipeline.specs import DEFAULT_ENGINE

DIMENSION = DEFAULT_ENGINE.dimension


class Crowd:
    """People in clusters, so that many are nearly as near as the nearest."""

    def __init__(self, seed: int, *, clusters: int = 8) -> None:
        self._draw = np.random.default_rng(seed)
        self._centres = 0.1 * self._draw.normal(size=(clusters, DIMENSION))

    def vectors(self, count: int) -> np.ndarray:
        """Embeddings, shape (count, dimension)."""
        centres = self._centres[self._draw.integers(len(self._centres), size=count)]
        spread = 0.02 * self._draw.normal(size=(count, DIMENSION))
        return (centres + spread).astype(np.float32)


def enrol(
    session: Session, kit: Kit, gallery: str, vectors: np.ndarray, *, each: int = 1
) -> uuid.UUID:
    """Makes people of the vectors, `each` of so many templates; returns the gallery's id."""
    mark = uuid.uuid4()
    names = tuple(f"{mark}-{n // each}" for n in range(len(vectors)))
    found = NamedEmbeddings(names=names, vectors=vectors)
    return import_templates(
        session, kit.tenant_id, gallery=gallery, spec=DEFAULT_ENGINE, found=found
    ).gallery_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Searching:
    """A searcher, and the database alone, to compare."""

    kit: Kit
    searcher: Searcher

    def read(self, *gallery_ids: uuid.UUID) -> None:
        """Has the galleries in memory, or left to the database."""
        assert self.searcher.prepare(self.kit.tenant_id, gallery_ids, probes=99, wait_s=30)

    def in_memory(self, *gallery_ids: uuid.UUID) -> set[uuid.UUID]:
        keys = [(self.kit.tenant_id, one) for one in gallery_ids]
        return {held.gallery_id for held in self.searcher.shelf.held(keys)}

    def templates(self, gallery_id: uuid.UUID) -> int:
        """How many of the gallery's templates are in memory."""
        rows = self.searcher.shelf.rows((self.kit.tenant_id, gallery_id))
        return len(rows) if rows is not None else 0

    def remembers(self, gallery_id: uuid.UUID, vector: np.ndarray) -> bool:
        """Whether the vector is in memory."""
        rows = self.searcher.shelf.rows((self.kit.tenant_id, gallery_id))
        blocks = rows._blocks if rows is not None else []
        return any((one.vectors[: one.filled] == vector).all(axis=1).any() for one in blocks)

    def asked(
        self, gallery_ids: Sequence[uuid.UUID], probes: np.ndarray, *, top_k: int
    ) -> list[list[Near]]:
        with transaction(self.kit.database) as session:
            return self.searcher.nearest(
                session, self.kit.tenant_id, gallery_ids, list(probes), top_k=top_k
            )

    def by_database(
        self, gallery_ids: Sequence[uuid.UUID], probes: np.ndarray, *, top_k: int
    ) -> list[list[Near]]:
        """What PostgreSQL finds where all templates are grouped by their subject."""
        with transaction(self.kit.database) as session:
            rows = session.execute(
                search._NEAREST_SUBJECTS,
                {
                    "probes": [search.vector_literal(one) for one in probes],
                    "tenant_id": self.kit.tenant_id,
                    "gallery_ids": [str(one) for one in gallery_ids],
                    "subject_id": None,
                    "top_k": top_k,
                },
            )
            return search._by_probe(rows, len(probes))

    def delete_some(self, gallery_id: uuid.UUID, near: Sequence[Near]) -> None:
        """Deletes subjects as no route does: their rows, and nothing around them."""
        ids = [one.subject_id for one in near]
        with transaction(self.kit.database) as session:
            session.execute(
                text("DELETE FROM subject WHERE gallery_id = :gallery_id AND id = ANY(:ids)"),
                {"gallery_id": gallery_id, "ids": ids},
            )
