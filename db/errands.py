"""Errands, which are listings and exports: which of them go to the workers next.

They share one budget, or photos would find all workers at them. Tenants take turns, as with photos.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import ARRAY, TextClause, bindparam, text
from sqlalchemy import Uuid as SqlUuid
from sqlalchemy.orm import Session

from db.dispatch import hold_dispatch
from db.states import JobPriority


class ErrandKind(Enum):
    """The table that an errand is a row of."""

    SOURCE = "source"
    """To be listed."""
    EXPORT = "export"
    """To be written."""
    CROP = "crop"
    """To be made, for somebody who waits: `db.crops.queue` sends it, past this budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a worker is to do that is no photo."""

    kind: ErrandKind
    id: uuid.UUID
    tenant_id: int


_UNDER_WAY = "(state = 'queued' AND dispatched_at IS NOT NULL) OR state = 'running'"
_DUE = "state = 'queued' AND dispatched_at IS NULL"
_IN_FLIGHT = text(f"""
    SELECT tenant_id, count(*) AS n FROM (
        SELECT tenant_id FROM source WHERE {_UNDER_WAY}
        UNION ALL
        SELECT tenant_id FROM export WHERE {_UNDER_WAY}
    ) AS under_way
    GROUP BY tenant_id
""")  # noqa: S608 - put together from constants, as all that follow.
# Nobody gives an export a priority, and somebody waits for it: that of its job is for photos.
_IN_LINE = text(f"""
    SELECT kind, id, tenant_id, is_low, place FROM (
        SELECT kind, id, tenant_id, priority = :low AS is_low,
               row_number() OVER (PARTITION BY tenant_id ORDER BY priority, due_at, id) AS place
        FROM (
            SELECT 'source' AS kind, source.id, source.tenant_id, source.due_at, job.priority
            FROM source JOIN job ON job.id = source.job_id
            WHERE source.state = 'queued' AND source.dispatched_at IS NULL
              AND source.due_at <= now() AND job.state IN ('queued', 'running')
              AND job.paused_at IS NULL AND job.cancel_requested_at IS NULL
            UNION ALL
            SELECT 'export', id, tenant_id, due_at, :normal FROM export
            WHERE {_DUE} AND due_at <= now()
        ) AS due
    ) AS line
    WHERE place <= :room
""")  # noqa: S608


def _take(kind: ErrandKind) -> TextClause:
    # Whoever deletes it holds it, and is not waited for.
    return text(f"""
        UPDATE {kind.value} SET dispatched_at = clock_timestamp()
        WHERE id = (
            SELECT id FROM {kind.value} WHERE id = :id AND {_DUE} FOR UPDATE SKIP LOCKED
        )
    """)  # noqa: S608


def _unsend(kind: ErrandKind) -> TextClause:
    return text(f"""
        UPDATE {kind.value} SET dispatched_at = NULL WHERE id = ANY(:ids) AND state = 'queued'
    """).bindparams(bindparam("ids", type_=ARRAY(SqlUuid)))  # noqa: S608


_TAKE = {kind: _take(kind) for kind in ErrandKind}
_UNSEND = {kind: _unsend(kind) for kind in ErrandKind}


def dispatch_errands(session: Session, *, in_flight: int, after: int = 0) -> list[Errand]:
    """Marks due errands as sent, so that at most `in_flight` wait or run; returns them.

    The tenant that has the fewest of them goes first, and among equals the one behind the tenant
    `after`, whose turn was last. Those of a low priority wait until no others are due, and sources
    of a job that is paused or is being cancelled until it goes on. The caller commits, then sends.
    """
    hold_dispatch(session)
    busy = Counter({row.tenant_id: row.n for row in session.execute(_IN_FLIGHT)})
    room = in_flight - busy.total()
    if room <= 0:
        return []
    values = {"room": room, "low": JobPriority.LOW, "normal": JobPriority.NORMAL}
    line = session.execute(_IN_LINE, values).all()
    sent: list[Errand] = []
    for errand in _in_turn(line, busy, after):
        if len(sent) == room:
            break
        taken: Any = session.execute(_TAKE[errand.kind], {"id": errand.id})
        if taken.rowcount == 1:
            sent.append(errand)
    return sent


def _in_turn(line: Iterable[Any], busy: Counter[int], after: int) -> list[Errand]:
    def turn(row: Any) -> tuple[bool, int, bool, int]:
        had = busy[row.tenant_id] + row.place
        return row.is_low, had, row.tenant_id <= after, row.tenant_id

    return [
        Errand(kind=ErrandKind(row.kind), id=row.id, tenant_id=row.tenant_id)
        for row in sorted(line, key=turn)
    ]


def unsend_errands(session: Session, errands: Sequence[Errand]) -> None:
    """Makes errands due again whose message could not be sent."""
    for kind, statement in _UNSEND.items():
        session.execute(statement, {"ids": [one.id for one in errands if one.kind is kind]})
