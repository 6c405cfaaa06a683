"""Asking for a face that is cut out, and keeping what was made for others who ask soon."""

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import nudge
from db.errors import FaceNotFoundError
from db.ids import new_id
from db.models import Crop
from db.states import OPEN_CROP_STATES, CropState

KEPT = dt.timedelta(minutes=10)
"""So long after it was asked for a crop is kept. A page that shows many is mostly reloaded soon."""
MAX_KEPT = 1000
"""Of one tenant: some 30 MB."""
MAX_OPEN = 100
"""Of one tenant, that no worker has made yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCrop:
    """Which face, and how much of what is around it."""

    face_id: int
    margin_percent: int
    size_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CropView:
    """Where it stands."""

    id: uuid.UUID
    state: CropState
    data: bytes | None
    """The JPEG, where it is done."""
    error_code: str | None
    error_detail: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state not in OPEN_CROP_STATES


GONE = "the face was deleted with its photo"
_VIEW = (Crop.id, Crop.state, Crop.data, Crop.error_code, Crop.error_detail)
# Of what is made or has failed, the first that would go anyway.
_MAKE_ROOM = text("""
    WITH first AS MATERIALIZED (
        SELECT id FROM crop
        WHERE tenant_id = :tenant_id AND state IN ('done', 'failed')
        ORDER BY expires_at LIMIT :number FOR UPDATE SKIP LOCKED
    )
    DELETE FROM crop USING first WHERE crop.tenant_id = :tenant_id AND crop.id = first.id
""")


def ask_for_crop(session: Session, tenant_id: int, wanted: WantedCrop) -> CropView | None:
    """The crop, which is asked for where nobody has; None where the tenant waits for too many.

    The caller has checked that the tenant has the face. Raises `FaceNotFoundError` where that is
    deleted at this moment.
    """
    found = select(*_VIEW).where(
        Crop.tenant_id == tenant_id,
        Crop.face_id == wanted.face_id,
        Crop.margin_percent == wanted.margin_percent,
        Crop.size_px == wanted.size_px,
        Crop.expires_at > func.now(),
    )
    if (row := session.execute(found).one_or_none()) is not None:
        return CropView(**row._mapping)
    if not _has_room(session, tenant_id):
        return None
    try:
        _insert(session, tenant_id, wanted)
    except IntegrityError as exc:
        raise FaceNotFoundError(GONE) from exc
    nudge.notify_crop(session)
    # It may be another's, who asked at the same moment.
    if (row := session.execute(found).one_or_none()) is None:
        raise FaceNotFoundError(GONE)
    return CropView(**row._mapping)


def read_crop(session: Session, tenant_id: int, crop_id: uuid.UUID) -> CropView | None:
    """Where it stands; None where it is gone, with its face or by its age."""
    query = select(*_VIEW).where(Crop.tenant_id == tenant_id, Crop.id == crop_id)
    row = session.execute(query).one_or_none()
    return None if row is None else CropView(**row._mapping)


def drop_expired_crops(session: Session) -> int:
    """Deletes crops whose time is over; returns how many."""
    gone = session.execute(text("DELETE FROM crop WHERE expires_at < now()"))
    return int(cast("CursorResult[Any]", gone).rowcount)


def _has_room(session: Session, tenant_id: int) -> bool:
    counts = select(func.count(), func.count().filter(Crop.state.in_(OPEN_CROP_STATES))).where(
        Crop.tenant_id == tenant_id
    )
    total, n_open = session.execute(counts).one()
    if total >= MAX_KEPT:
        session.execute(_MAKE_ROOM, {"tenant_id": tenant_id, "number": total - MAX_KEPT + 1})
    return bool(n_open < MAX_OPEN)


def _insert(session: Session, tenant_id: int, wanted: WantedCrop) -> None:
    fresh: dict[str, Any] = {
        "id": new_id(),
        "state": CropState.QUEUED,
        "attempt": 0,
        "expires_at": func.now() + KEPT,
    }
    anew = {
        **fresh,
        "due_at": func.now(),
        "fence": Crop.fence + 1,
        **dict.fromkeys(("dispatched_at", "lease_until", "data", "error_code", "error_detail")),
    }
    session.execute(
        insert(Crop)
        .values(
            tenant_id=tenant_id,
            face_id=wanted.face_id,
            margin_percent=wanted.margin_percent,
            size_px=wanted.size_px,
            fence=0,
            **fresh,
        )
        .on_conflict_do_update(
            index_elements=["face_id", "margin_percent", "size_px"],
            set_=anew,
            where=Crop.expires_at <= func.now(),
        )
        .execution_options(synchronize_session=False)
    )
