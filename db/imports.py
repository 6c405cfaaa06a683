"""Import: embeddings that were made elsewhere become templates, all or none."""

import io
import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import psycopg2
from sqlalchemy import ARRAY, Text, Uuid, bindparam, select, text
from sqlalchemy.orm import Session

from db.errors import (
    ConflictingChangesError,
    DatabaseUnavailableError,
    GalleryEngineError,
    NamesTakenError,
)
from db.galleries import ensure_gallery
from db.ids import new_id
from db.models import Gallery, Model
from db.tenants import ensure_model
from pipeline.specs import EngineSpec

T = TypeVar("T")
BATCH_ROWS = 10_000
"""Rows that are sent at once: some 5 MB of embeddings."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NamedEmbeddings:
    """Embeddings and whose they are, row by row. A name that comes again is the same subject's."""

    names: tuple[str, ...]
    vectors: npt.NDArray[np.float32]
    """Shape (n, dimension)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import has added."""

    gallery_id: uuid.UUID
    subject_count: int
    template_count: int


def import_templates(
    session: Session, tenant_id: int, *, gallery: str, spec: EngineSpec, found: NamedEmbeddings
) -> Imported:
    """Makes a subject for each name and a template for each embedding, which `spec` made.

    The gallery called `gallery` is made where it does not exist. Raises `GalleryEngineError` where
    it is bound to another engine, `NamesTakenError` where it has a subject of one of the names,
    and `ConflictingChangesError` where others changed it at this very moment.
    """
    gallery_id = _locked_gallery(session, tenant_id, gallery, spec)
    # In order, so that two who import the same names do not wait in a ring.
    subjects = {name: new_id() for name in sorted(set(found.names))}
    if taken := _taken(session, gallery_id, list(subjects)):
        raise NamesTakenError(taken)
    _insert_subjects(session, tenant_id, gallery_id, subjects)
    _copy_templates(session, tenant_id, gallery_id, [subjects[name] for name in found.names], found)
    return Imported(
        gallery_id=gallery_id, subject_count=len(subjects), template_count=len(found.names)
    )


def _locked_gallery(session: Session, tenant_id: int, name: str, spec: EngineSpec) -> uuid.UUID:
    """The id of the gallery, safe from deletion until the commit."""
    gallery_id = ensure_gallery(session, tenant_id, name=name, spec=spec)
    query = select(Gallery.model_id).where(Gallery.tenant_id == tenant_id, Gallery.id == gallery_id)
    model_id = session.scalars(query.with_for_update(read=True, key_share=True)).one_or_none()
    if model_id is None:
        raise ConflictingChangesError("the gallery was deleted at this very moment; try again")
    if model_id != ensure_model(session, spec):
        model = session.scalars(select(Model).where(Model.id == model_id)).one()
        raise GalleryEngineError(
            f"the gallery is bound to the engine {model.engine}, version {model.version}, and the "
            f"encodings are said to be those of {spec.name}, version {spec.version}; embeddings of "
            "two engines cannot be compared, so they go into a gallery of their own"
        )
    return gallery_id


_TAKEN = text(
    "SELECT name FROM subject WHERE gallery_id = :gallery_id AND name = ANY(:names) ORDER BY name"
).bindparams(bindparam("names", type_=ARRAY(Text)))

# A name that somebody takes meanwhile is no error, which a server would write to its log.
_ADD_SUBJECTS = text("""
    INSERT INTO subject (id, tenant_id, gallery_id, name)
    SELECT fresh.id, :tenant_id, :gallery_id, fresh.name
    FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[])) WITH ORDINALITY
         AS fresh (id, name, n)
    ORDER BY fresh.n
    ON CONFLICT (gallery_id, name) DO NOTHING
    RETURNING id
""").bindparams(bindparam("ids", type_=ARRAY(Uuid)), bindparam("names", type_=ARRAY(Text)))


def _taken(session: Session, gallery_id: uuid.UUID, names: list[str]) -> list[str]:
    """Those of the names that the gallery has."""
    return [
        name
        for some in _batches(names)
        for name in session.scalars(_TAKEN, {"gallery_id": gallery_id, "names": some})
    ]


def _insert_subjects(
    session: Session, tenant_id: int, gallery_id: uuid.UUID, subjects: Mapping[str, uuid.UUID]
) -> None:
    for names in _batches(list(subjects)):
        added = session.execute(
            _ADD_SUBJECTS,
            {
                "tenant_id": tenant_id,
                "gallery_id": gallery_id,
                "ids": [subjects[name] for name in names],
                "names": names,
            },
        )
        if len(added.all()) != len(names):
            raise ConflictingChangesError("others added the same subjects; try again")


def _batches(rows: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(rows), BATCH_ROWS):
        yield rows[start : start + BATCH_ROWS]


# COPY itself is refused where row-level security holds.
_STAGE = "CREATE TEMPORARY TABLE imported (subject_id uuid, vector vector) ON COMMIT DROP"
_COPY = "COPY imported (subject_id, vector) FROM STDIN (FORMAT binary)"
_TAKE_OVER = """
    INSERT INTO template (tenant_id, gallery_id, subject_id, vector)
    SELECT %s, %s::uuid, subject_id, vector FROM imported
"""


def _copy_templates(
    session: Session,
    tenant_id: int,
    gallery_id: uuid.UUID,
    subject_ids: Sequence[uuid.UUID],
    found: NamedEmbeddings,
) -> None:
    cursor = session.connection().connection.cursor()
    try:
        cursor.execute(_STAGE)
        for start in range(0, len(subject_ids), BATCH_ROWS):
            end = start + BATCH_ROWS
            rows = _copied(subject_ids[start:end], found.vectors[start:end])
            cursor.copy_expert(_COPY, io.BytesIO(b"".join(rows)))
        cursor.execute(_TAKE_OVER, (tenant_id, str(gallery_id)))
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as exc:
        reason = exc.diag.message_primary or "the connection broke"
        raise DatabaseUnavailableError(f"the database takes no templates: {reason}") from exc
    finally:
        cursor.close()


def _copied(subject_ids: Sequence[uuid.UUID], vectors: npt.NDArray[np.float32]) -> Iterator[bytes]:
    """Rows as COPY reads them in binary; each value with its length before it.

    See PostgreSQL's manual, "COPY", "Binary Format". A vector is its dimension, an unused number
    and the values (pgvector, `vector_recv`).
    """
    dimension = vectors.shape[1]
    row_start = struct.pack(">hi", 2, 16)
    vector_start = struct.pack(">ihh", 4 + 4 * dimension, dimension, 0)
    yield b"PGCOPY\n\xff\r\n\x00" + struct.pack(">ii", 0, 0)
    for subject_id, vector in zip(subject_ids, vectors.astype(">f4"), strict=True):
        yield row_start + subject_id.bytes + vector_start + vector.tobytes()
    yield struct.pack(">h", -1)
