"""Templates from their table into memory, as fast as they can be read.

What is read carries a horizon. Each template has the number of the transaction that wrote it, and
the horizon is the least number of those that are under way when the reading begins: whatever has a
smaller number was committed before, and is read, and whatever is committed later has that number or
a larger one, in whichever order transactions begin and commit. A time of writing, or the template's
own id, would not do: a transaction may commit what it wrote long ago.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg2
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.errors import DatabaseUnavailableError
from db.snapshots.rows import OTHER_BYTES, Batch, row_bytes
from pipeline.nearest import Ints

HORIZON = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
"""The least number of a transaction that is under way."""
_HORIZON = text(f"SELECT {HORIZON}")
_GALLERY = text("""
    SELECT model.dimension, (
        SELECT count(*) FROM (
            SELECT FROM template t WHERE t.tenant_id = :tenant_id AND t.gallery_id = gallery.id
            LIMIT :max_bytes / (4 * model.dimension + :other_bytes) + 1
        ) AS counted
    ) AS templates
    FROM gallery JOIN model ON model.id = gallery.model_id
    WHERE gallery.tenant_id = :tenant_id AND gallery.id = :gallery_id
""")
_TEMPLATES = """
    COPY (
        SELECT id, subject_id, written_by, vector FROM template
        WHERE tenant_id = %(tenant_id)s AND gallery_id = %(gallery_id)s
          AND written_by >= %(since)s
        LIMIT %(most)s
    ) TO STDOUT (FORMAT binary)
"""
_IDS = """
    COPY (
        SELECT id FROM template WHERE tenant_id = %(tenant_id)s AND gallery_id = %(gallery_id)s
    ) TO STDOUT (FORMAT binary)
"""
_REWRITE_LATER = text("""
    UPDATE template SET written_by = pg_current_xact_id()::text::bigint
    FROM gallery
    WHERE template.gallery_id = gallery.id
      AND template.written_by >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
""")
_HEADER_BYTES = 19
_TRAILER_BYTES = 2
_BATCH_BYTES = 4_000_000
_MALFORMED = "templates are not as long as their gallery's model says"


@dataclass(frozen=True, slots=True, kw_only=True)
class GallerySize:
    """How much there is to read."""

    dimension: int
    templates: int

    @property
    def size_bytes(self) -> int:
        """What the templates take in memory."""
        return self.templates * row_bytes(self.dimension)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Read:
    """What a reading has come to."""

    horizon: int
    known: frozenset[int]
    """Ids of templates that were read and are not below the horizon."""
    templates: int


class TemplatesMalformedError(RuntimeError):
    """A gallery has templates that are not as long as its model makes them."""


def gallery_size(
    session: Session, tenant_id: int, gallery_id: uuid.UUID, *, max_bytes: int
) -> GallerySize | None:
    """How large the gallery is; None where the tenant has no such gallery.

    Templates are counted until they take more than `max_bytes` in memory, and no further.
    """
    values = {
        "tenant_id": tenant_id,
        "gallery_id": gallery_id,
        "max_bytes": max_bytes,
        "other_bytes": OTHER_BYTES,
    }
    row = session.execute(_GALLERY, values).one_or_none()
    if row is None:
        return None
    return GallerySize(dimension=row.dimension, templates=row.templates)


def read_templates(
    session: Session,
    tenant_id: int,
    gallery_id: uuid.UUID,
    take: Callable[[Batch], object],
    *,
    dimension: int,
    since: int = 0,
    known: frozenset[int] = frozenset(),
    most: int,
) -> Read:
    """Hands the gallery's templates to `take`, part by part, at most `most`.

    `since` is the horizon of an earlier reading, and `known` what it knew: then only what has come
    since is handed over. Raises `DatabaseUnavailableError` and `TemplatesMalformedError`.
    """
    # The horizon first: what is committed between the two statements is read and lies beyond it.
    horizon = int(session.scalars(_HORIZON).one())
    beyond: set[int] = set()
    counted = 0

    def take_records(records: npt.NDArray[np.void]) -> None:
        nonlocal counted
        batch, written_by = _batch(records, dimension)
        beyond.update(batch.ids[written_by >= horizon].tolist())
        counted += len(batch.ids)
        if known:
            fresh = ~np.isin(batch.ids, np.fromiter(known, np.int64, len(known)))
            batch = Batch(
                ids=batch.ids[fresh], subjects=batch.subjects[fresh], vectors=batch.vectors[fresh]
            )
        take(batch)

    values = {"tenant_id": tenant_id, "gallery_id": str(gallery_id), "since": since, "most": most}
    _copy(session, _TEMPLATES, values, _record(dimension), take_records)
    return Read(horizon=horizon, known=frozenset(beyond), templates=counted)


def read_ids(session: Session, tenant_id: int, gallery_id: uuid.UUID) -> tuple[Ints, int]:
    """The ids of all templates that the gallery has, and the horizon of now."""
    found: list[Ints] = []
    record = np.dtype([("fields", ">i2"), ("id_bytes", ">i4"), ("id", ">i8")])
    horizon = int(session.scalars(_HORIZON).one())
    values = {"tenant_id": tenant_id, "gallery_id": str(gallery_id)}
    _copy(session, _IDS, values, record, lambda some: found.append(some["id"].astype(np.int64)))
    return np.concatenate([np.empty(0, dtype=np.int64), *found]), horizon


def rewrite_later_templates(session: Session) -> None:
    """Corrects what a dump of another server has brought: transactions that have yet to come here.

    Until then such templates count as new in every search, and nobody is passed over.
    """
    session.execute(_REWRITE_LATER)


def _record(dimension: int) -> "np.dtype[np.void]":
    """A row as COPY writes it in binary; each value with its length before it.

    See PostgreSQL's manual, "COPY", "Binary Format". A vector is its dimension, an unused number
    and the values (pgvector, `vector_send`).
    """
    return np.dtype(
        [
            ("fields", ">i2"),
            ("id_bytes", ">i4"),
            ("id", ">i8"),
            ("subject_bytes", ">i4"),
            ("subject_time", ">i8"),
            ("subject_random", ">i8"),
            ("written_by_bytes", ">i4"),
            ("written_by", ">i8"),
            ("vector_bytes", ">i4"),
            ("dimension", ">i2"),
            ("unused", ">i2"),
            ("vector", ">f4", (dimension,)),
        ]
    )


def _batch(records: npt.NDArray[np.void], dimension: int) -> tuple[Batch, Ints]:
    """The records, in the byte order of this machine, and who wrote them."""
    if not (records["dimension"] == dimension).all() or not (records["id_bytes"] == 8).all():
        raise TemplatesMalformedError(_MALFORMED)
    batch = Batch(
        ids=records["id"].astype(np.int64),
        # The half of a UUID that has no time in it.
        subjects=records["subject_random"].astype(np.int64),
        vectors=records["vector"].astype(np.float32),
    )
    return batch, records["written_by"].astype(np.int64)


class _Sink:
    """Takes the stream apart into records.

    An error waits for the stream's end: raised amid a COPY, it would leave the connection there.
    """

    def __init__(
        self, record: "np.dtype[np.void]", take: Callable[[npt.NDArray[np.void]], object]
    ) -> None:
        self._record = record
        self._take = take
        self._data = bytearray()
        self._skip = _HEADER_BYTES
        self._error: Exception | None = None

    def write(self, data: bytes) -> int:
        self._data += data
        if len(self._data) >= _BATCH_BYTES:
            self._flush()
        return len(data)

    def end(self) -> None:
        """Hands over what is left; raises what was raised on the way."""
        self._flush()
        if self._error is not None:
            raise self._error
        if len(self._data) != self._skip + _TRAILER_BYTES:
            raise TemplatesMalformedError(_MALFORMED)

    def _flush(self) -> None:
        if self._error is not None:
            self._data.clear()
            return
        whole = (len(self._data) - self._skip) // self._record.itemsize
        if whole <= 0:
            return
        end = self._skip + whole * self._record.itemsize
        try:
            self._take(np.frombuffer(bytes(self._data[self._skip : end]), dtype=self._record))
        except Exception as exc:  # noqa: BLE001 - see above.
            self._error = exc
        del self._data[:end]
        self._skip = 0


def _copy(
    session: Session,
    statement: str,
    values: dict[str, Any],
    record: "np.dtype[np.void]",
    take: Callable[[npt.NDArray[np.void]], object],
) -> None:
    sink = _Sink(record, take)
    cursor = session.connection().connection.cursor()
    try:
        cursor.copy_expert(cursor.mogrify(statement, values), sink)
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as exc:
        raise DatabaseUnavailableError("the database gives no templates") from exc
    finally:
        cursor.close()
    sink.end()
