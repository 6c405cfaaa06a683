"""The ledger of crops: sent to workers, claimed under a lease, ended once."""

import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from db import nudge
from db.errands import Errand, ErrandKind
from db.ledger import SET_ASIDE
from db.places import PLACE_COLUMNS, PhotoPlace, place_of
from pipeline.box import Box
from pipeline.cut import Cut
from pipeline.errors import FaceBatchError

FAILURE_KEPT_S = 10.0
"""For those who wait for it; who asks later may find the photo in its place again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CropClaim:
    """A crop that a worker holds, and where its photo lies."""

    id: uuid.UUID
    fence: int
    cut: Cut
    place: PhotoPlace
    sha256: bytes | None


# In line, those of a tenant stand behind those that it has under way. Whoever deletes one is not
# waited for.
_DISPATCH = text("""
    WITH busy AS (
        SELECT tenant_id, count(*) AS n FROM crop
        WHERE (state = 'queued' AND dispatched_at IS NOT NULL) OR state = 'running'
        GROUP BY tenant_id
    ), line AS (
        SELECT crop.id, coalesce(busy.n, 0) + row_number() OVER (
                   PARTITION BY crop.tenant_id ORDER BY crop.due_at, crop.id
               ) AS place
        FROM crop LEFT JOIN busy ON busy.tenant_id = crop.tenant_id
        WHERE state = 'queued' AND dispatched_at IS NULL AND due_at <= now()
    ), due AS (
        SELECT crop.id FROM crop JOIN line ON line.id = crop.id
        WHERE crop.state = 'queued' AND crop.dispatched_at IS NULL
        ORDER BY line.place, crop.id
        LIMIT greatest(:in_flight - (SELECT coalesce(sum(n), 0) FROM busy), 0)
        FOR UPDATE OF crop SKIP LOCKED
    )
    UPDATE crop SET dispatched_at = clock_timestamp() FROM due WHERE crop.id = due.id
    RETURNING crop.id, crop.tenant_id
""")
_LEASE = "clock_timestamp() + make_interval(secs => :lease_s)"
_CLAIM = text(f"""
    WITH claimed AS (
        UPDATE crop
        SET state = 'running', fence = fence + 1, attempt = attempt + 1, lease_until = {_LEASE}
        WHERE id = :id AND attempt < :max_attempts
          AND (state = 'queued' OR (state = 'running' AND lease_until < now()))
        RETURNING id, fence, face_id, margin_percent, size_px
    )
    SELECT claimed.id, claimed.fence, claimed.margin_percent, claimed.size_px,
           face.left_px, face.top_px, face.right_px, face.bottom_px, extraction.rotation,
           photo.sha256, {", ".join(f"photo.{name}" for name in PLACE_COLUMNS)}
    FROM claimed
    JOIN face ON face.id = claimed.face_id
    JOIN extraction ON extraction.id = face.extraction_id
    JOIN photo ON photo.id = extraction.photo_id
""")  # noqa: S608 - put together from constants, as all that follow.
_PLACE = text(f"""
    SELECT {", ".join(f"photo.{name}" for name in PLACE_COLUMNS)}
    FROM crop
    JOIN face ON face.id = crop.face_id
    JOIN extraction ON extraction.id = face.extraction_id
    JOIN photo ON photo.id = extraction.photo_id
    WHERE crop.id = :id
""")  # noqa: S608
_HELD = "id = :id AND fence = :fence AND state = 'running'"
_FINISH = text(f"""
    UPDATE crop SET state = 'done', lease_until = NULL, data = :data WHERE {_HELD}
""")  # noqa: S608
_FAIL = text(f"""
    UPDATE crop
    SET state = 'failed', lease_until = NULL, error_code = :code, error_detail = :detail,
        expires_at = least(expires_at, now() + make_interval(secs => {FAILURE_KEPT_S:g}))
    WHERE {_HELD}
""")  # noqa: S608
_RELEASE = text(f"""
    UPDATE crop
    SET state = 'queued', lease_until = NULL, dispatched_at = NULL, attempt = attempt - 1,
        due_at = now() + make_interval(secs => :delay_s)
    WHERE {_HELD}
""")  # noqa: S608


def dispatch_crops(session: Session, *, in_flight: int) -> list[Errand]:
    """Marks due crops as sent, so that at most `in_flight` wait or run; returns them.

    The tenant that has the fewest of them goes first. The caller commits, then sends.
    """
    rows = session.execute(_DISPATCH, {"in_flight": in_flight})
    return [Errand(kind=ErrandKind.CROP, id=row.id, tenant_id=row.tenant_id) for row in rows]


def claim_crop(
    session: Session, crop_id: uuid.UUID, *, lease_s: float, max_attempts: int
) -> CropClaim | None:
    """Takes the crop, where nobody holds it; None where somebody does, or it is gone or made."""
    values = {"id": crop_id, "lease_s": lease_s, "max_attempts": max_attempts}
    row = session.execute(_CLAIM, values).one_or_none()
    if row is None or (place := place_of(row)) is None:
        return None
    return CropClaim(
        id=row.id,
        fence=row.fence,
        cut=Cut(
            box=Box(left=row.left_px, top=row.top_px, right=row.right_px, bottom=row.bottom_px),
            rotation=row.rotation,
            margin=row.margin_percent / 100,
            size_px=row.size_px,
        ),
        place=place,
        sha256=None if row.sha256 is None else bytes(row.sha256),
    )


def place_now(session: Session, claim: CropClaim) -> PhotoPlace | None:
    """Where the crop's photo lies by now: it may have been moved. None where it is deleted."""
    row = session.execute(_PLACE, {"id": claim.id}).one_or_none()
    return None if row is None else place_of(row)


def finish_crop(session: Session, claim: CropClaim, data: bytes) -> bool:
    """Keeps what was made; False where nobody wants it any more, or another worker has it."""
    return _ended(session, _FINISH, claim, data=data)


def fail_crop(session: Session, claim: CropClaim, error: FaceBatchError) -> bool:
    """Ends a crop that cannot be made; likewise."""
    return _ended(session, _FAIL, claim, code=error.code, detail=str(error))


def release_crop(session: Session, claim: CropClaim, *, delay_s: float) -> None:
    """Hands the crop back, uncounted; it is due again after `delay_s`."""
    _changed(session, _RELEASE, claim, delay_s=delay_s)
    nudge.notify_crop(session)


def _ended(session: Session, statement: Any, claim: CropClaim, **values: object) -> bool:
    nudge.notify_ended(session, claim.id)
    return _changed(session, statement, claim, **values)


def _changed(session: Session, statement: Any, claim: CropClaim, **values: object) -> bool:
    held: Any = session.execute(statement, {"id": claim.id, "fence": claim.fence, **values})
    return bool(held.rowcount == 1)


_RESEND = text("""
    UPDATE crop SET dispatched_at = NULL
    WHERE state = 'queued' AND dispatched_at < now() - make_interval(secs => :after_s)
""")
_REQUEUE_EXPIRED = text("""
    UPDATE crop SET state = 'queued', lease_until = NULL, dispatched_at = NULL, due_at = now()
    WHERE state = 'running' AND lease_until < now() AND attempt < :max_attempts
""")
_SET_ASIDE = text("""
    UPDATE crop
    SET state = 'failed', lease_until = NULL, error_code = :code,
        error_detail = 'cutting the face out took its worker down'
    WHERE state = 'running' AND lease_until < now() AND attempt >= :max_attempts
""")


def resend_stale_crops(session: Session, *, after_s: float) -> int:
    """Makes crops due again that were sent `after_s` ago and never claimed; how many."""
    return _count(session, _RESEND, after_s=after_s)


def requeue_expired_crops(session: Session, *, max_attempts: int) -> int:
    """Queues crops whose lease has run out; returns how many."""
    return _count(session, _REQUEUE_EXPIRED, max_attempts=max_attempts)


def set_aside_crops(session: Session, *, max_attempts: int) -> int:
    """Fails crops that took their worker down `max_attempts` times; returns how many."""
    return _count(session, _SET_ASIDE, max_attempts=max_attempts, code=SET_ASIDE)


def _count(session: Session, statement: Any, **values: float | str) -> int:
    done: Any = session.execute(statement, values)
    return int(done.rowcount)
