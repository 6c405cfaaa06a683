"""The ledger's moves: claim, extend, release, requeue. db.dispatch sends, db.record records."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from db.faults import Held, held_parameters
from db.faults import ids_parameter as _ids
from db.places import PhotoPlace, place_of
from db.progress import count_ended, finish_if_complete
from db.states import JobKind, MultipleFaces
from pipeline.face_limits import FaceLimits

SET_ASIDE = "worker_lost"
"""The error of an item that took its worker down too often."""
SILENCE = "no sign of life until its lease ran out"
"""What is said of a worker that was lost, where nobody has heard what ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An item that this worker holds, with all it takes to do it."""

    item_id: int
    fence: int
    attempt: int
    tenant_id: int
    job_id: uuid.UUID
    kind: JobKind
    model_id: int
    engine: str
    engine_version: str
    gallery_id: uuid.UUID | None
    further_gallery_ids: tuple[uuid.UUID, ...]
    """Searched together with the gallery."""
    threshold_distance: float
    top_k: int
    multiple_faces: MultipleFaces
    min_face_px: int
    min_quality: float
    subject_id: uuid.UUID | None
    new_subject: str | None
    photo_id: uuid.UUID | None
    place: PhotoPlace | None
    """None: the photo was deleted."""
    sha256: bytes | None
    """None where nobody has read the photo yet."""
    extraction_id: int | None
    """Set where this photo was searched by this model before."""

    @property
    def limits(self) -> FaceLimits:
        """What the job asks of a face."""
        return FaceLimits(min_face_px=self.min_face_px, min_quality=self.min_quality)


_MADE = {"kind", "further_gallery_ids", "multiple_faces", "sha256", "place"}
_CLAIMED = {one.name for one in fields(Claim)} - _MADE
"""Fields that the query gives as they are."""


_CLAIM = text("""
    WITH free AS (
        SELECT id
        FROM item
        WHERE id = ANY(:ids)
          AND (state = 'queued' OR (state = 'running' AND lease_until < now()))
          AND attempt < :max_attempts
          AND NOT EXISTS (
              SELECT FROM job WHERE job.id = item.job_id
                AND (job.paused_at IS NOT NULL OR job.cancel_requested_at IS NOT NULL)
          )
          AND (attempt = 0 OR :alone)
        ORDER BY id
        FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE item
        SET state = 'running', fence = fence + 1, attempt = attempt + 1, last_fault = NULL,
            lease_until = clock_timestamp() + make_interval(secs => :lease_s)
        FROM free
        WHERE item.id = free.id
        RETURNING item.*
    ), started AS (
        UPDATE job SET state = 'running', started_at = now()
        WHERE id IN (SELECT job_id FROM claimed) AND state = 'queued'
    )
    SELECT c.id AS item_id, c.fence, c.attempt, c.tenant_id, c.job_id, j.kind, j.model_id,
           m.engine, m.version AS engine_version, j.gallery_id, j.threshold_distance, j.top_k,
           ARRAY(SELECT g.gallery_id FROM job_gallery g WHERE g.job_id = j.id) AS further,
           j.multiple_faces, j.min_face_px, j.min_quality, c.subject_id, c.new_subject,
           c.photo_id, p.sha256, p.size_bytes, p.bucket, p.object_key, p.etag, p.entry_offset,
           p.entry_packed_bytes, p.entry_method, p.entry_crc32, p.entry_name,
           e.id AS extraction_id
    FROM claimed c
    JOIN job j ON j.id = c.job_id
    JOIN model m ON m.id = j.model_id
    LEFT JOIN photo p ON p.id = c.photo_id
    LEFT JOIN extraction e ON e.photo_id = c.photo_id AND e.model_id = j.model_id
    ORDER BY c.id
""").bindparams(_ids("ids"))


def claim(
    session: Session, item_ids: Sequence[int], *, lease_s: float, max_attempts: int
) -> list[Claim]:
    """Takes those of the items that are queued or whose lease has run out.

    Gives each a new fence, one more attempt and a lease. An item that is missing from the answer
    belongs to another worker, or has ended, or its job is paused or being cancelled. Or it ran
    before and may have taken its worker down: that one is claimed where nothing else comes with it,
    and a message for it alone is on its way.
    """
    rows = session.execute(
        _CLAIM,
        {
            "ids": list(item_ids),
            "lease_s": lease_s,
            "max_attempts": max_attempts,
            "alone": len(item_ids) == 1,
        },
    )
    return [_claim(row) for row in rows]


def _claim(row: Row[*tuple[Any, ...]]) -> Claim:
    return Claim(
        **{name: getattr(row, name) for name in _CLAIMED},
        kind=JobKind(row.kind),
        further_gallery_ids=tuple(row.further),
        multiple_faces=MultipleFaces(row.multiple_faces),
        sha256=None if row.sha256 is None else bytes(row.sha256),
        place=place_of(row),
    )


_MINE = """
    FROM unnest(:ids, :fences) AS mine (id, fence)
    WHERE item.id = mine.id AND item.fence = mine.fence AND item.state = 'running'
"""
_EXTEND = text(f"""
    UPDATE item SET lease_until = clock_timestamp() + make_interval(secs => :lease_s)
    {_MINE} RETURNING item.id
""").bindparams(_ids("ids"), _ids("fences"))  # noqa: S608 - put together from constants.
_RELEASE = text(f"""
    UPDATE item
    SET state = 'queued', attempt = attempt - :taken_back, lease_until = NULL, dispatched_at = NULL,
        due_at = clock_timestamp() + make_interval(secs => :delay_s)
    {_MINE} RETURNING item.id
""").bindparams(_ids("ids"), _ids("fences"))  # noqa: S608 - likewise.


def extend(session: Session, claims: Iterable[Held], *, lease_s: float) -> set[int]:
    """Lengthens the leases and returns the ids of the items that are still held."""
    held = held_parameters(claims)
    return set(session.scalars(_EXTEND, {**held, "lease_s": lease_s}))


def release(
    session: Session, claims: Iterable[Held], *, delay_s: float, counted: bool = False
) -> set[int]:
    """Hands items back, due again after `delay_s`; without counting the attempt unless `counted`.

    Returns the ids of those that were still held.
    """
    how = {"delay_s": delay_s, "taken_back": 0 if counted else 1}
    return set(session.scalars(_RELEASE, {**held_parameters(claims), **how}))


# They are due since before: behind all that came after them, they would wait for a whole archive.
_REQUEUE_EXPIRED = text("""
    WITH expired AS (
        SELECT id FROM item
        WHERE state = 'running' AND lease_until < now() AND attempt < :max_attempts
        ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    UPDATE item
    SET state = 'queued', lease_until = NULL, dispatched_at = NULL,
        last_fault = coalesce(last_fault, :silence)
    FROM expired WHERE item.id = expired.id
    RETURNING item.id
""")
# Each half has an index of its own. One that is queued has met a limit that was lowered since.
_SET_ASIDE = text("""
    WITH lost AS (
        SELECT id FROM item
        WHERE (state = 'running' AND lease_until < now() AND attempt >= :max_attempts)
           OR (state = 'queued' AND dispatched_at IS NOT NULL AND attempt >= :max_attempts)
        ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    UPDATE item
    SET state = 'failed', lease_until = NULL, finished_at = now(), error_code = :code,
        last_fault = coalesce(last_fault, :silence),
        error_detail = 'the photo was given up: its worker was lost '
            || CASE attempt WHEN 1 THEN 'once' ELSE attempt || ' times' END
            || ' over it; the last time: ' || coalesce(last_fault, :silence)
    FROM lost WHERE item.id = lost.id
    RETURNING item.id, item.job_id
""")
_RESEND = text("""
    WITH stale AS (
        SELECT id FROM item
        WHERE state = 'queued' AND dispatched_at < now() - make_interval(secs => :after_s)
        ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
    UPDATE item SET dispatched_at = NULL
    FROM stale WHERE item.id = stale.id
    RETURNING item.id
""")


def requeue_expired(session: Session, *, max_attempts: int) -> list[int]:
    """Queues items whose lease has run out; returns their ids."""
    return list(
        session.scalars(_REQUEUE_EXPIRED, {"max_attempts": max_attempts, "silence": SILENCE})
    )


def set_aside(session: Session, *, max_attempts: int) -> list[int]:
    """Fails items that took their worker down `max_attempts` times; returns their ids."""
    rows = session.execute(
        _SET_ASIDE, {"max_attempts": max_attempts, "code": SET_ASIDE, "silence": SILENCE}
    ).all()
    jobs = sorted({row.job_id for row in rows})
    for job_id in jobs:
        lost = sum(row.job_id == job_id for row in rows)
        count_ended(session, job_id, failed=lost)
    if jobs:
        finish_if_complete(session, jobs)
    return [row.id for row in rows]


def resend_stale(session: Session, *, after_s: float) -> list[int]:
    """Makes items due again that were sent `after_s` ago and never claimed; returns their ids."""
    return list(session.scalars(_RESEND, {"after_s": after_s}))
