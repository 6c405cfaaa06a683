"""Exact search of large galleries: memory nominates, the tables decide.

What is in memory may be out of date. So one statement looks each nominated template up, adds what
was written since the memory was read, and ranks what it has found. That a subject is there, and how
far from the probe, is said by the tables alone; that nobody nearer was passed over follows from the
distances of those who were not nominated. Where it does not, more are nominated, and in the end the
database looks at all.
"""

import math
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.search import Near, nearest, nearest_subjects, vector_literal
from db.session import Database, transaction
from db.snapshots.keeper import Keeper
from db.snapshots.shelf import Held, Key, Nominated, Shelf
from pipeline.nearest import Floats

FEW_PROBES = 4
"""So many are searched by the database at once, sooner than a large gallery could be read."""
SPARE_SUBJECTS = 3
"""Nominated beyond those that were asked for, should one be gone."""
FIRST_DEPTH = 32
"""Templates among which those subjects are looked for, at the least."""
DEEPER = 8
DEEPEST = 4096
"""A probe for which so many are not enough is left to the database."""
NEWS = 200
"""Templates that are read into memory when there are so many that are not in it."""
MOST_NEWER = 1000
"""With so many of them a gallery is searched by the database alone, until they are read."""
NEWS_AGE_S = 2.0
"""They are not read more often than that."""
PORTION, PORTION_OF_DATABASE = 64, 8
"""Probes that are searched at once, and likewise where a large gallery is left to the database."""

# What is newer comes in the order of its index: else the server would guess that a third of the
# table is, and read that from its beginning until it has found enough.
_SEARCH = text("""
    WITH probe AS MATERIALIZED (
        SELECT n, vector
        FROM unnest(CAST(CAST(:probes AS text[]) AS vector[])) WITH ORDINALITY AS probe (vector, n)
    ), nominated AS MATERIALIZED (
        SELECT nominee.n, t.subject_id, t.vector
        FROM unnest(CAST(:numbers AS bigint[]), CAST(:ids AS bigint[])) AS nominee (n, id)
        JOIN template t ON t.id = nominee.id
        WHERE t.tenant_id = :tenant_id
          AND t.gallery_id = ANY(CAST(CAST(:gallery_ids AS text[]) AS uuid[]))
    ), newer AS MATERIALIZED (
        SELECT latest.subject_id, latest.vector
        FROM unnest(CAST(CAST(:gallery_ids AS text[]) AS uuid[]), CAST(:horizons AS bigint[]))
             AS held (gallery_id, horizon)
        CROSS JOIN LATERAL (
            SELECT t.subject_id, t.vector FROM template t
            WHERE t.tenant_id = :tenant_id AND t.gallery_id = held.gallery_id
              AND t.written_by >= held.horizon AND NOT t.id = ANY(CAST(:known AS bigint[]))
            ORDER BY t.written_by LIMIT :most_newer
        ) AS latest
    ), near AS (
        SELECT n, subject_id, nominated.vector <-> probe.vector AS distance
        FROM nominated JOIN probe USING (n)
        UNION ALL
        SELECT n, subject_id, newer.vector <-> probe.vector
        FROM newer CROSS JOIN probe
    ), ranked AS (
        SELECT n, subject_id, min(distance) AS distance,
               row_number() OVER (PARTITION BY n ORDER BY min(distance), subject_id) AS rank
        FROM near
        GROUP BY n, subject_id
    )
    SELECT (SELECT count(*) FROM nominated) AS there, (SELECT count(*) FROM newer) AS newer,
           ranked.n, ranked.subject_id, ranked.distance
    FROM (SELECT) AS always LEFT JOIN ranked ON ranked.rank <= :top_k
    ORDER BY ranked.n, ranked.rank
""")
_GONE = text("""
    SELECT nominee.id FROM unnest(CAST(:ids AS bigint[])) AS nominee (id)
    WHERE NOT EXISTS (
        SELECT FROM template t
        WHERE t.id = nominee.id AND t.tenant_id = :tenant_id
          AND t.gallery_id = ANY(CAST(CAST(:gallery_ids AS text[]) AS uuid[]))
    )
""")
_NEWER = text("""
    SELECT held.gallery_id, (
        SELECT count(*) FROM (
            SELECT FROM template t
            WHERE t.tenant_id = :tenant_id AND t.gallery_id = held.gallery_id
              AND t.written_by >= held.horizon
            ORDER BY t.written_by LIMIT :most
        ) AS counted
    ) AS newer
    FROM unnest(CAST(CAST(:gallery_ids AS text[]) AS uuid[]), CAST(:horizons AS bigint[]))
         AS held (gallery_id, horizon)
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranked:
    """What the tables say of the templates that were nominated, and of those that are newer."""

    near: list[list[Near]]
    """For each probe."""
    there: int
    """Nominations whose template is there."""
    newer: int


class Searcher:
    """Searches galleries for one process, with the large ones in its memory."""

    def __init__(self, database: Database, *, max_bytes: int) -> None:
        self._database = database
        self.shelf = Shelf(max_bytes=max_bytes)
        self.keeper = Keeper(database, self.shelf)

    def close(self) -> None:
        """Lets go of everything in memory."""
        self.keeper.close()
        self.shelf.clear()

    def prepare(
        self, tenant_id: int, gallery_ids: Sequence[uuid.UUID], *, probes: int, wait_s: float
    ) -> bool:
        """Whether the galleries are as ready for so many probes as they will be.

        Waits for that, `wait_s` at the most, where it is worth it: few probes are searched without.
        """
        keys = _keys(tenant_id, gallery_ids)
        if self.shelf.max_bytes:
            self.keeper.ask(keys)
        if probes <= FEW_PROBES:
            return True
        if not self.keeper.settled(keys, wait_s=wait_s):
            return False
        held = self.shelf.held(keys)
        if not held:
            return True
        with transaction(self._database) as session:
            newer = _newer(session, tenant_id, held)
        return not self._ask_for_news(tenant_id, [one for one in held if newer[one.gallery_id]])

    def portions(
        self, tenant_id: int, gallery_ids: Sequence[uuid.UUID], probes: Sequence[Floats]
    ) -> Iterator[Sequence[Floats]]:
        """The probes, in pieces that do not take long each."""
        left = not self.shelf.max_bytes or self.keeper.has_left(_keys(tenant_id, gallery_ids))
        size = PORTION_OF_DATABASE if left else PORTION
        for start in range(0, len(probes), size):
            yield probes[start : start + size]

    def nearest(
        self,
        session: Session,
        tenant_id: int,
        gallery_ids: Sequence[uuid.UUID],
        probes: Sequence[Floats],
        *,
        top_k: int,
    ) -> list[list[Near]]:
        """As `db.search.nearest`, whose answer it gives to the last bit."""
        found: dict[int, list[Near]] = {}
        left = list(range(len(probes)))
        spare, depth = SPARE_SUBJECTS, FIRST_DEPTH + 2 * top_k
        while left and depth <= DEEPEST:
            some = [probes[n] for n in left]
            nominated = self.shelf.nominate(
                _keys(tenant_id, gallery_ids), np.stack(some), subjects=top_k + spare, depth=depth
            )
            if not nominated.held:
                break
            near = self._decided(session, tenant_id, nominated, some, top_k=top_k)
            if near is None:
                break
            certain = {n: one for n, one in zip(left, near, strict=True) if one is not None}
            in_memory = {one.gallery_id for one in nominated.held}
            others = [one for one in gallery_ids if one not in in_memory]
            found |= _with_others(session, tenant_id, others, probes, certain, top_k=top_k)
            left = [n for n in left if n not in found]
            spare, depth = spare * DEEPER, depth * DEEPER
        rest = nearest(session, tenant_id, gallery_ids, [probes[n] for n in left], top_k=top_k)
        found |= dict(zip(left, rest, strict=True))
        return [found[n] for n in range(len(probes))]

    def _decided(
        self,
        session: Session,
        tenant_id: int,
        nominated: Nominated,
        probes: Sequence[Floats],
        *,
        top_k: int,
    ) -> list[list[Near] | None] | None:
        """For each probe its nearest subjects; None where there may be others.

        None as a whole where there is so much that is not in memory that it was not looked through.
        """
        ranked = _ranked(session, tenant_id, nominated, probes, top_k=top_k)
        if ranked.there < sum(len(one.ids) for one in nominated.nominees):
            self._forget_gone(session, tenant_id, nominated)
        if ranked.newer >= NEWS:
            self._ask_for_news(tenant_id, nominated.held)
        if ranked.newer >= MOST_NEWER:
            return None
        return [
            near if _is_certain(near, top_k, nominees.beyond) else None
            for near, nominees in zip(ranked.near, nominated.nominees, strict=True)
        ]

    def _forget_gone(self, session: Session, tenant_id: int, nominated: Nominated) -> None:
        ids = {one for nominees in nominated.nominees for one in nominees.ids}
        galleries = [one.gallery_id for one in nominated.held]
        values = {"ids": _array(ids), "tenant_id": tenant_id, "gallery_ids": _texts(galleries)}
        gone = session.scalars(_GONE, values).all()
        self.shelf.forget(_keys(tenant_id, galleries), np.array(gone, dtype=np.int64))

    def _ask_for_news(self, tenant_id: int, held: Iterable[Held]) -> bool:
        """Has those galleries brought up to date that were not so a moment ago; whether any is."""
        due = [one for one in held if time.monotonic() - one.read_at >= NEWS_AGE_S]
        for one in due:
            self.keeper.ask_for_news((tenant_id, one.gallery_id))
        return bool(due)


def _with_others(
    session: Session,
    tenant_id: int,
    gallery_ids: Sequence[uuid.UUID],
    probes: Sequence[Floats],
    found: dict[int, list[Near]],
    *,
    top_k: int,
) -> dict[int, list[Near]]:
    """What was found for probes, by their numbers, with what galleries not in memory add."""
    if not gallery_ids or not found:
        return found
    more = nearest(session, tenant_id, gallery_ids, [probes[n] for n in found], top_k=top_k)
    return {
        n: nearest_subjects([*near, *others])[:top_k]
        for (n, near), others in zip(found.items(), more, strict=True)
    }


def _is_certain(near: Sequence[Near], top_k: int, beyond: float) -> bool:
    """Whether templates that were not nominated can change nothing, not even a tie."""
    if beyond == math.inf:
        return True
    return len(near) == top_k and near[-1].distance ** 2 < beyond


def _ranked(
    session: Session,
    tenant_id: int,
    nominated: Nominated,
    probes: Sequence[Floats],
    *,
    top_k: int,
) -> _Ranked:
    numbers = [n for n, one in enumerate(nominated.nominees, start=1) for _ in one.ids]
    rows = session.execute(
        _SEARCH,
        {
            "probes": [vector_literal(probe) for probe in probes],
            "numbers": _array(numbers),
            "ids": _array(one for nominees in nominated.nominees for one in nominees.ids),
            "tenant_id": tenant_id,
            "gallery_ids": _texts(one.gallery_id for one in nominated.held),
            "horizons": _array(one.horizon for one in nominated.held),
            "known": _array(one for held in nominated.held for one in held.known),
            "most_newer": MOST_NEWER,
            "top_k": top_k,
        },
    ).all()
    near: list[list[Near]] = [[] for _ in probes]
    for row in rows:
        if row.n is not None:
            near[row.n - 1].append(Near(subject_id=row.subject_id, distance=row.distance))
    return _Ranked(near=near, there=rows[0].there, newer=rows[0].newer)


def _newer(session: Session, tenant_id: int, held: Sequence[Held]) -> dict[uuid.UUID, bool]:
    """Whether many templates of the galleries are not in memory."""
    values = {
        "tenant_id": tenant_id,
        "gallery_ids": _texts(one.gallery_id for one in held),
        "horizons": _array(one.horizon for one in held),
        "most": NEWS + max(len(one.known) for one in held),
    }
    newer = {row.gallery_id: row.newer for row in session.execute(_NEWER, values)}
    return {one.gallery_id: newer[one.gallery_id] - len(one.known) >= NEWS for one in held}


def _keys(tenant_id: int, gallery_ids: Iterable[uuid.UUID]) -> list[Key]:
    return [(tenant_id, gallery_id) for gallery_id in gallery_ids]


def _texts(gallery_ids: Iterable[uuid.UUID]) -> list[str]:
    return [str(gallery_id) for gallery_id in gallery_ids]


def _array(numbers: Iterable[int]) -> str:
    """As PostgreSQL reads an array: a list would be taken apart as an expression, at length."""
    return "{" + ",".join(map(str, numbers)) + "}"
