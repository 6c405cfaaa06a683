"""Dispatch: which due items go to the workers next, in chunks."""

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import ARRAY, BigInteger, bindparam, text
from sqlalchemy.orm import Session

# A chunk's photos that ran before may have killed their worker: those travel alone.
_DISPATCH = text("""
    WITH room AS (
        SELECT :room - count(*) AS n
        FROM item
        WHERE (state = 'queued' AND dispatched_at IS NOT NULL) OR state = 'running'
    ), due AS (
        SELECT id
        FROM item
        WHERE state = 'queued' AND dispatched_at IS NULL AND due_at <= now()
        ORDER BY due_at, id
        LIMIT (SELECT greatest(n, 0) FROM room)
        FOR UPDATE SKIP LOCKED
    )
    UPDATE item
    SET dispatched_at = clock_timestamp()
    FROM due
    WHERE item.id = due.id
    RETURNING item.id, item.job_id, item.attempt
""")


def dispatch(
    session: Session, *, chunk_items: int, chunks_in_flight: int, workers: int
) -> list[list[int]]:
    """Marks due items as sent and returns their ids in chunks; the caller commits, then sends.

    A chunk holds items of one job, at most `chunk_items`, and fewer where that lets all of
    `workers` begin at once. An item that was claimed before makes a chunk of its own.
    """
    rows = session.execute(_DISPATCH, {"room": chunk_items * chunks_in_flight}).all()
    alone = [[row.id] for row in rows if row.attempt > 0]
    fresh = sorted((row.job_id, row.id) for row in rows if row.attempt == 0)
    size = max(1, min(chunk_items, -(-len(fresh) // workers)))
    chunks = []
    for _, pairs in groupby(fresh, key=lambda pair: pair[0]):
        ids = [item_id for _, item_id in pairs]
        chunks += [ids[start : start + size] for start in range(0, len(ids), size)]
    return alone + chunks


_UNSEND = text("""
    UPDATE item SET dispatched_at = NULL WHERE id = ANY(:ids) AND state = 'queued'
""").bindparams(bindparam("ids", type_=ARRAY(BigInteger)))


def unsend(session: Session, item_ids: Sequence[int]) -> None:
    """Makes items due again whose message could not be sent."""
    session.execute(_UNSEND, {"ids": list(item_ids)})
