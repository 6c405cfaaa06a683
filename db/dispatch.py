"""Dispatch: which due items go to the workers next, in which chunks, and in which lane.

Tenants take turns: the next chunk is always of the one that has the fewest items in flight, and of
its jobs the oldest goes first. No statement looks at more than it takes: they go by `ix_job_open`,
then by `ix_item_due`, and stop.
"""

import heapq
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Row, TextClause, bindparam, text
from sqlalchemy.orm import Session

from db.holding import hold

MAX_INTERACTIVE_ITEMS = 100
"""A job of more photos takes its turn among the others, whatever it says of itself."""
SMALLEST_CHUNK = 2
"""Of a job that is about to end; a photo for which a process is free travels alone."""
_LOCK_KEY = 0x66616365


class Lane(Enum):
    """Which workers a chunk goes to."""

    URGENT = "urgent"
    """Somebody waits for the answer."""
    BULK = "bulk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much may be in flight in a lane, and in which pieces."""

    items: int
    """Those that wait in the queue or run, at the most; a chunk or more."""
    chunk_items: int
    """In one chunk, at the most."""
    workers: int
    """Processes, which are to end a job's last chunks together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Items of one job, for one worker to do together."""

    item_ids: tuple[int, ...]
    lane: Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatched:
    """What is to be sent."""

    chunks: tuple[Chunk, ...]
    more: bool
    """Whether more may be due, for which there was no room."""
    busy: bool
    """Whether the bulk workers have so much in flight that what is due can gather for a while."""


Turns = dict[Lane, int]
"""The tenant behind which to go on where there are more tenants than there is room for.

Whoever dispatches keeps it from one time to the next.
"""


def hold_dispatch(session: Session) -> None:
    """Until the commit nobody else dispatches: no two of them fill the same room.

    A process that is stopped inside the transaction loses it after a few seconds.
    """
    hold(session, _LOCK_KEY)


def dispatch(session: Session, rooms: Mapping[Lane, Room], turns: Turns) -> Dispatched:
    """Marks due items of these lanes as sent, as many as fit; the caller commits, then sends.

    A chunk holds neighbours of one job. The last of a job are small, so that no worker is left with
    much when the others are through. An item that was claimed before may have killed its worker,
    and makes a chunk of its own.
    """
    hold_dispatch(session)
    in_flight = session.execute(_IN_FLIGHT, {"interactive": MAX_INTERACTIVE_ITEMS}).all()
    fillings = [
        _Filling(session, lane, room, [row for row in in_flight if row.lane == lane.value])
        for lane, room in rooms.items()
    ]
    for filling in fillings:
        turns[filling.lane] = filling.fill(turns.get(filling.lane, 0))
    return Dispatched(
        chunks=tuple(chunk for filling in fillings for chunk in filling.chunks),
        more=any(filling.is_full for filling in fillings),
        busy=any(filling.is_busy for filling in fillings if filling.lane is Lane.BULK),
    )


_URGENT = "priority = 0 AND n_items <= :interactive"
_IN_FLIGHT = text(f"""
    SELECT job.tenant_id, job.id AS job_id, sum(sent.n)::bigint AS n,
           CASE WHEN {_URGENT} THEN 'urgent' ELSE 'bulk' END AS lane
    FROM (
        SELECT job_id, count(*) AS n FROM item
        WHERE state = 'queued' AND dispatched_at IS NOT NULL GROUP BY job_id
        UNION ALL
        SELECT job_id, count(*) FROM item WHERE state = 'running' GROUP BY job_id
    ) AS sent
    JOIN job ON job.id = sent.job_id
    GROUP BY job.id
""")  # noqa: S608 - put together from constants, as all that follow.

_OPEN = "state IN ('queued', 'running') AND paused_at IS NULL AND cancel_requested_at IS NULL"
_DUE = """
    SELECT id FROM item
    WHERE item.job_id = open.id AND state = 'queued' AND dispatched_at IS NULL AND due_at <= now()
    ORDER BY due_at, id
"""


def _jobs(level: str, tenant: str) -> str:
    # OFFSET keeps the planner from turning it all around: it is to look at one job after the other.
    return f"""(
        SELECT id FROM job WHERE tenant_id = {tenant} AND {_OPEN} AND {level}
        ORDER BY priority, id OFFSET 0
    ) AS open"""  # noqa: S608


def _tenants(level: str) -> TextClause:
    """Tenants behind `after` that have anything due at this level, at most `limit`."""
    following = f"SELECT min(tenant_id) FROM job WHERE {_OPEN} AND {level} AND tenant_id >"  # noqa: S608
    return text(f"""
        WITH RECURSIVE tenant_of (id) AS (
            ({following} :after)
            UNION ALL
            SELECT ({following} tenant_of.id) FROM tenant_of WHERE id IS NOT NULL
        )
        SELECT id FROM tenant_of
        WHERE id IS NOT NULL AND (
            SELECT true FROM {_jobs(level, "tenant_of.id")}
            CROSS JOIN LATERAL ({_DUE} LIMIT 1) AS due LIMIT 1
        )
        LIMIT :limit
    """)  # noqa: S608


def _take(level: str) -> TextClause:
    """Marks what is due of one tenant at this level as sent, at most `limit`."""
    return text(f"""
        WITH due AS (
            SELECT due.id FROM {_jobs(level, ":tenant_id")}
            CROSS JOIN LATERAL ({_DUE} LIMIT :limit FOR UPDATE SKIP LOCKED) AS due
            LIMIT :limit
        )
        UPDATE item SET dispatched_at = clock_timestamp()
        FROM due, job
        WHERE item.id = due.id AND job.id = item.job_id
        RETURNING item.id, item.job_id, item.attempt,
                  job.n_items - job.n_done - job.n_no_face - job.n_failed - job.n_cancelled AS open,
                  job.sealed_at IS NOT NULL AND job.n_sources_open = 0 AS is_whole
    """)  # noqa: S608


_LEVELS = {
    Lane.URGENT: (_URGENT,),
    # The second waits until nothing of the first is due.
    Lane.BULK: ("(priority = 1 OR (priority = 0 AND n_items > :interactive))", "priority = 2"),
}
_STATEMENTS = {
    lane: tuple((_tenants(level), _take(level)) for level in levels)
    for lane, levels in _LEVELS.items()
}


class _Filling:
    """One lane's room, while it is being filled."""

    def __init__(
        self, session: Session, lane: Lane, room: Room, in_flight: Sequence[Row[*tuple[Any, ...]]]
    ) -> None:
        self.lane = lane
        self.chunks: list[Chunk] = []
        self._session = session
        self._room = room
        self._of_job: Counter[uuid.UUID] = Counter({row.job_id: row.n for row in in_flight})
        self._of_tenant: Counter[int] = Counter()
        for row in in_flight:
            self._of_tenant[row.tenant_id] += row.n
        self._left = room.items - self._of_tenant.total()

    @property
    def is_full(self) -> bool:
        """A chunk is never cut short for want of room, or all chunks would end up short."""
        return self._left < self._room.chunk_items

    @property
    def is_busy(self) -> bool:
        """Whether there is a chunk in flight for each process, in items."""
        return self._room.items - self._left >= self._room.workers * self._room.chunk_items

    def fill(self, after: int) -> int:
        """Takes what is due until there is no room; returns the tenant behind which to go on."""
        for tenants, take in _STATEMENTS[self.lane]:
            if self.is_full:
                return after
            after, found = self._with_due(tenants, after)
            self._share(take, found)
        return after

    def _with_due(self, statement: TextClause, after: int) -> tuple[int, list[int]]:
        """As many tenants as can get a chunk, should all that have items in flight be of them."""
        limit = self._left // self._room.chunk_items + len(self._of_tenant)
        found = self._look(statement, after, limit)
        if after and len(found) < limit:
            behind = self._look(statement, 0, limit - len(found))
            found += [tenant_id for tenant_id in behind if tenant_id <= after]
        return (found[-1] if len(found) == limit else 0), found

    def _look(self, statement: TextClause, after: int, limit: int) -> list[int]:
        values = {"after": after, "limit": limit, "interactive": MAX_INTERACTIVE_ITEMS}
        return list(self._session.scalars(statement, values))

    def _share(self, take: TextClause, tenants: Sequence[int]) -> None:
        """A chunk at a time for the tenant that has least in flight; max-min fairness."""
        turns = [(self._of_tenant[tenant_id], n, tenant_id) for n, tenant_id in enumerate(tenants)]
        heapq.heapify(turns)
        while turns and not self.is_full:
            has, n, tenant_id = heapq.heappop(turns)
            wanted = self._up_to(has, turns[0][0] if turns else None)
            values = {"tenant_id": tenant_id, "limit": wanted, "interactive": MAX_INTERACTIVE_ITEMS}
            taken = self._session.execute(take, values).all()
            self._left -= len(taken)
            self._of_tenant[tenant_id] += len(taken)
            self._cut(taken)
            if len(taken) == wanted:
                heapq.heappush(turns, (has + wanted, n, tenant_id))

    def _up_to(self, has: int, next_has: int | None) -> int:
        """Whole chunks until it is the next tenant's turn, which come cheaper all at once."""
        size = self._room.chunk_items
        fitting = self._left // size
        if next_has is None:
            return fitting * size
        return min(fitting, max(1, (next_has - has) // size)) * size

    def _cut(self, taken: Sequence[Row[*tuple[Any, ...]]]) -> None:
        alone = sorted(row.id for row in taken if row.attempt > 0)
        fresh = sorted((row for row in taken if row.attempt == 0), key=lambda r: (r.job_id, r.id))
        pieces: list[Sequence[int]] = [[item_id] for item_id in alone]
        for job_id, rows in groupby(fresh, key=lambda row: row.job_id):
            pieces += self._pieces(job_id, list(rows))
        self._of_job.update(row.job_id for row in taken)
        self.chunks += [Chunk(item_ids=tuple(piece), lane=self.lane) for piece in pieces]

    def _pieces(
        self, job_id: uuid.UUID, rows: Sequence[Row[*tuple[Any, ...]]]
    ) -> Iterator[list[int]]:
        ids = [row.id for row in rows]
        if not rows[0].is_whole:
            # More will come, nobody knows how much. What is there is shared, where anybody waits.
            size = self._room.chunk_items
            if not self.is_busy:
                size = min(size, -(-len(ids) // self._room.workers))
            yield from (ids[start : start + size] for start in range(0, len(ids), size))
            return
        left = rows[0].open - self._of_job[job_id]
        while ids:
            size = self._size(left)
            yield ids[:size]
            ids, left = ids[size:], left - size

    def _size(self, left: int) -> int:
        """A half of each worker's share of what is left of a job, down to the smallest chunk."""
        if left <= self._room.workers:
            return 1
        share = -(-left // (2 * self._room.workers))
        return min(self._room.chunk_items, max(SMALLEST_CHUNK, share))


_UNSEND = text("""
    UPDATE item SET dispatched_at = NULL WHERE id = ANY(:ids) AND state = 'queued'
""").bindparams(bindparam("ids", type_=ARRAY(BigInteger)))


def unsend(session: Session, item_ids: Sequence[int]) -> None:
    """Makes items due again whose message could not be sent."""
    session.execute(_UNSEND, {"ids": list(item_ids)})
