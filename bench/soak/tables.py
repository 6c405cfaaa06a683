"""The ledger's tables, read past facebatch itself."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2

FINAL = ("done", "no_face", "failed", "cancelled")
"""The states in which an item stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemRow:
    """One photo of a job."""

    item_id: int
    job_id: str
    name: str
    state: str
    error_code: str | None
    sha256: str | None
    faces: int
    embeddings: int
    extracted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job with its counters."""

    job_id: str
    state: str
    sealed: bool
    round: int
    n_items: int
    n_done: int
    n_no_face: int
    n_failed: int
    n_cancelled: int
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """All that is judged, read in one transaction."""

    items: tuple[ItemRow, ...]
    jobs: tuple[JobRow, ...]
    doubled: dict[str, int]
    """How many things that must be there once are there more often, by what they are."""
    object_keys: frozenset[str]
    """Objects of ours in which photos lie."""
    doomed_keys: frozenset[str]
    uploads: int


_ITEMS = """
    SELECT item.id AS item_id, item.job_id::text, item.name, item.state, item.error_code,
           encode(photo.sha256, 'hex') AS sha256,
           (SELECT count(*) FROM face WHERE face.extraction_id = item.extraction_id) AS faces,
           (SELECT count(*) FROM face JOIN embedding ON embedding.face_id = face.id
            WHERE face.extraction_id = item.extraction_id) AS embeddings,
           item.extraction_id IS NOT NULL AS extracted
    FROM item LEFT JOIN photo ON photo.id = item.photo_id
"""
_JOBS = """
    SELECT id::text AS job_id, state, sealed_at IS NOT NULL AS sealed, round,
           n_items, n_done, n_no_face, n_failed, n_cancelled,
           (SELECT count(*) FROM event
            WHERE event.job_id = job.id AND type = 'job.completed') AS events
    FROM job
"""
_DOUBLED = {
    "items of one name in a job": "SELECT job_id, name FROM item GROUP BY 1, 2",
    "result sets of a photo and a model": "SELECT photo_id, model_id FROM extraction GROUP BY 1, 2",
    "faces of one number in a photo": "SELECT extraction_id, ordinal FROM face GROUP BY 1, 2",
    "embeddings of a face and a model": "SELECT face_id, model_id FROM embedding GROUP BY 1, 2",
    "templates of a subject and a face": (
        "SELECT subject_id, embedding_id FROM template GROUP BY 1, 2"
    ),
}
_OBJECTS = """
    SELECT object_key FROM photo WHERE bucket IS NULL UNION SELECT object_key FROM archive
    UNION SELECT object_key FROM export WHERE object_key IS NOT NULL
"""
_DOOMED = "SELECT object_key FROM doomed_object"
_UPLOADS = "SELECT count(*) FROM upload"


@contextlib.contextmanager
def connected(database_url: str) -> Iterator[Any]:
    """A cursor whose transaction is committed at the end; raises `psycopg2.Error`."""
    connection = psycopg2.connect(database_url, connect_timeout=2)
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def read_tables(database_url: str) -> Tables:
    """All tables as they are now."""
    with connected(database_url) as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return Tables(
            items=tuple(ItemRow(**row) for row in _rows(cursor, _ITEMS)),
            jobs=tuple(JobRow(**row) for row in _rows(cursor, _JOBS)),
            doubled={what: _doubled(cursor, query) for what, query in _DOUBLED.items()},
            object_keys=frozenset(row["object_key"] for row in _rows(cursor, _OBJECTS)),
            doomed_keys=frozenset(row["object_key"] for row in _rows(cursor, _DOOMED)),
            uploads=_number(cursor, _UPLOADS),
        )


def unfinished(database_url: str) -> int:
    """How many items and sealed jobs have not ended."""
    with connected(database_url) as cursor:
        return _number(
            cursor,
            """
            SELECT (SELECT count(*) FROM item WHERE state IN ('queued', 'running'))
                 + (SELECT count(*) FROM job
                    WHERE sealed_at IS NOT NULL AND state IN ('queued', 'running'))
            """,
        )


def open_claims(database_url: str) -> dict[int, int]:
    """The fences of the items that workers hold, by the item's id."""
    with connected(database_url) as cursor:
        cursor.execute("SELECT id, fence FROM item WHERE state = 'running'")
        return dict(cursor.fetchall())


def open_items(database_url: str) -> set[int]:
    """The items that wait for a message or a worker."""
    with connected(database_url) as cursor:
        cursor.execute("SELECT id FROM item WHERE state = 'queued' AND dispatched_at IS NOT NULL")
        return {item_id for (item_id,) in cursor.fetchall()}


def states_of(database_url: str, item_ids: Sequence[int]) -> dict[int, tuple[str, int]]:
    """State and fence of each of the items."""
    with connected(database_url) as cursor:
        cursor.execute("SELECT id, state, fence FROM item WHERE id = ANY(%s)", ([*item_ids],))
        return {item_id: (state, fence) for item_id, state, fence in cursor.fetchall()}


def age_uploads(database_url: str) -> int:
    """Sets back by hours what requests that died have left, so that it is due to be swept.

    Returns how much is still there. It takes the reconciler two looks: one to give an upload up,
    one to sweep its folder.
    """
    with connected(database_url) as cursor:
        cursor.execute(
            "UPDATE upload SET created_at = created_at - interval '3 hours', "
            "expires_at = expires_at - interval '3 hours'"
        )
        cursor.execute("UPDATE doomed_object SET created_at = created_at - interval '3 hours'")
        return _number(
            cursor, "SELECT (SELECT count(*) FROM upload) + (SELECT count(*) FROM doomed_object)"
        )


def _rows(cursor: Any, query: str) -> list[dict[str, Any]]:
    cursor.execute(query)
    names = [column.name for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _doubled(cursor: Any, groups: str) -> int:
    return _number(cursor, f"SELECT count(*) FROM ({groups} HAVING count(*) > 1) AS doubled")


def _number(cursor: Any, query: str) -> int:
    cursor.execute(query)
    ((found,),) = cursor.fetchall()
    return int(found)
