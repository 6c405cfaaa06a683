"""What was delivered and what was not, for its owner to read, and to have sent again."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, Row, Select, Text, bindparam, func, select, text, update
from sqlalchemy.orm import Session

from db import nudge
from db.errors import DeliveryNotFoundError, DeliveryUnderWayError
from db.models import Event, WebhookDelivery
from db.states import DeliveryState, EventType
from db.webhooks.endpoints import require_enabled
from db.webhooks.events import NEW_ID, WANTS

SHOWN_ATTEMPTS = 20
"""Of one delivery, the latest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One attempt of a delivery."""

    attempt: int
    began_at: dt.datetime
    latency_ms: int
    status: int | None
    error_code: str | None
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """An event on its way to an endpoint, or to its job's callback URL."""

    id: uuid.UUID
    event_id: uuid.UUID
    type: EventType
    sequence: int
    job_id: uuid.UUID | None
    endpoint_id: uuid.UUID | None
    """None: it goes to the callback URL."""
    state: DeliveryState
    attempt: int
    due_at: dt.datetime
    error_code: str | None
    created_at: dt.datetime
    finished_at: dt.datetime | None
    attempts: tuple[AttemptView, ...]
    """The latest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedDeliveries:
    """Which deliveries to list; None: whichever."""

    endpoint_id: uuid.UUID | None = None
    job_id: uuid.UUID | None = None
    event_id: uuid.UUID | None = None
    state: DeliveryState | None = None


def list_deliveries(
    session: Session,
    tenant_id: int,
    wanted: WantedDeliveries,
    *,
    before: uuid.UUID | None = None,
    limit: int = 100,
) -> list[DeliveryView]:
    """Deliveries, the latest first, those older than `before`, at most `limit`."""
    query = _deliveries(tenant_id).order_by(WebhookDelivery.id.desc()).limit(limit)
    for column, value in (
        (WebhookDelivery.endpoint_id, wanted.endpoint_id),
        (Event.job_id, wanted.job_id),
        (WebhookDelivery.event_id, wanted.event_id),
        (WebhookDelivery.state, wanted.state),
    ):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(WebhookDelivery.id < before)
    return _with_attempts(session, tenant_id, session.execute(query).all())


def get_delivery(session: Session, tenant_id: int, delivery_id: uuid.UUID) -> DeliveryView:
    """The delivery; raises `DeliveryNotFoundError`."""
    query = _deliveries(tenant_id).where(WebhookDelivery.id == delivery_id)
    found = _with_attempts(session, tenant_id, session.execute(query).all())
    if not found:
        raise DeliveryNotFoundError("there is no such delivery; it may have been forgotten")
    return found[0]


def replay(session: Session, tenant_id: int, delivery_id: uuid.UUID) -> DeliveryView:
    """Has a delivery sent again, whatever became of it, from its first attempt on.

    Raises `DeliveryNotFoundError`, `DeliveryUnderWayError`, `WebhookDisabledError`.
    """
    found = get_delivery(session, tenant_id, delivery_id)
    if found.endpoint_id is not None:
        require_enabled(session, tenant_id, found.endpoint_id)
    again = session.scalars(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.tenant_id == tenant_id,
            WebhookDelivery.id == delivery_id,
            WebhookDelivery.state != DeliveryState.SENDING,
        )
        .values(**_AGAIN)
        .returning(WebhookDelivery.id)
        .execution_options(synchronize_session=False)
    ).all()
    if not again:
        raise DeliveryUnderWayError("the delivery is being sent; look again in a moment")
    nudge.notify_events(session)
    return get_delivery(session, tenant_id, delivery_id)


_AGAIN: dict[str, Any] = {
    "state": DeliveryState.WAITING,
    "attempt": 0,
    "due_at": func.now(),
    "finished_at": None,
}
_REPLAY = text("""
    UPDATE webhook_delivery AS d
    SET state = 'waiting', attempt = 0, due_at = now(), finished_at = NULL
    FROM event
    WHERE d.endpoint_id = :endpoint_id AND d.tenant_id = :tenant_id AND event.id = d.event_id
      AND event.tenant_id = :tenant_id
      AND event.created_at >= :since AND event.type <> 'endpoint.test'
      AND (d.state = 'failed' OR (d.state = 'delivered' AND :delivered_too))
    RETURNING d.id
""")
_ADD_MISSING = text(f"""
    INSERT INTO webhook_delivery (id, tenant_id, event_id, endpoint_id, lane, state)
    SELECT {NEW_ID}, event.tenant_id, event.id, endpoint.id, endpoint.id::text, 'waiting'
    FROM event JOIN webhook_endpoint AS endpoint ON endpoint.tenant_id = event.tenant_id
    WHERE endpoint.id = :endpoint_id AND endpoint.tenant_id = :tenant_id
      AND event.tenant_id = :tenant_id
      AND event.created_at >= :since AND event.sequence IS NOT NULL
      AND event.type <> 'endpoint.test' AND {WANTS}
    ORDER BY event.sequence
    ON CONFLICT DO NOTHING
    RETURNING id
""")  # noqa: S608 - put together from constants.


def replay_since(
    session: Session,
    tenant_id: int,
    endpoint_id: uuid.UUID,
    since: dt.datetime,
    *,
    delivered_too: bool,
) -> int:
    """Has the endpoint get all events of its types since then that it did not get; how many.

    With `delivered_too`, those that it got as well. What is waiting or being sent goes on as it is.
    Raises `WebhookNotFoundError`, `WebhookDisabledError`.
    """
    require_enabled(session, tenant_id, endpoint_id)
    values = {"tenant_id": tenant_id, "endpoint_id": endpoint_id, "since": since}
    again = session.execute(_REPLAY, {**values, "delivered_too": delivered_too}).all()
    added = session.execute(_ADD_MISSING, values).all()
    nudge.notify_events(session)
    return len(again) + len(added)


_OF_DELIVERY = ("id", "event_id", "endpoint_id", "state", "attempt", "due_at", "error_code")
_ATTEMPTS = text("""
    SELECT shown.* FROM unnest(:ids) AS delivery (id)
    CROSS JOIN LATERAL (
        SELECT delivery_id, attempt, began_at, latency_ms, status, error_code, answer
        FROM webhook_attempt
        WHERE tenant_id = :tenant_id AND delivery_id = CAST(delivery.id AS uuid)
        ORDER BY id DESC LIMIT :limit
    ) AS shown
""").bindparams(bindparam("ids", type_=ARRAY(Text)))


def _deliveries(tenant_id: int) -> Select[*tuple[Any, ...]]:
    return (
        select(
            *(getattr(WebhookDelivery, name) for name in _OF_DELIVERY),
            *(WebhookDelivery.created_at, WebhookDelivery.finished_at),
            *(Event.type, Event.sequence, Event.job_id),
        )
        .join(Event, Event.id == WebhookDelivery.event_id)
        .where(WebhookDelivery.tenant_id == tenant_id, Event.tenant_id == tenant_id)
    )


def _with_attempts(
    session: Session, tenant_id: int, rows: Sequence[Row[*tuple[Any, ...]]]
) -> list[DeliveryView]:
    if not rows:
        return []
    attempts: dict[uuid.UUID, list[AttemptView]] = defaultdict(list)
    values = {
        "tenant_id": tenant_id,
        "ids": [str(row.id) for row in rows],
        "limit": SHOWN_ATTEMPTS,
    }
    for found in session.execute(_ATTEMPTS, values):
        told = dict(found._mapping)
        attempts[told.pop("delivery_id")].append(AttemptView(**told))
    return [DeliveryView(**row._mapping, attempts=tuple(attempts[row.id])) for row in rows]
