"""The couriers' ledger: claiming what is due to be sent, and recording how that went.

An endpoint's row is locked before its deliveries, as whoever deletes or disables it locks them.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Text, bindparam, func, select, text, update
from sqlalchemy.orm import Session

from db.holding import hold
from db.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from db.states import DeliveryState, DisabledReason, EventType
from db.webhooks.endpoints import disable
from db.webhooks.payload import EventView
from db.webhooks.schedule import MAX_ATTEMPTS, pause_s
from db.webhooks.secrets import owner_of_callbacks, owner_of_endpoint

_LOCK_KEY = 0x73656E64  # Any number; it says "send".
FAILING_FOR = dt.timedelta(days=5)
"""So long after the first failure with nothing delivered since an endpoint is disabled."""
QUIET_FOR = dt.timedelta(hours=36)
"""Longer than any pause between attempts: after it, failing counts from its beginning again."""
GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many may be sent at a time."""

    free: int
    """By the courier that asks."""
    lane: int
    """To one endpoint, or in callbacks to one host, over all couriers; one where it fails."""
    tenant: int
    """Of one tenant, over all couriers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A delivery that a courier holds, with all it takes to send it."""

    id: uuid.UUID
    fence: int
    attempt: int
    tenant_id: int
    endpoint_id: uuid.UUID | None
    url: str
    event: EventView
    secrets: tuple[bytes, ...]
    """Encrypted, the newest first."""

    @property
    def owner(self) -> bytes:
        """To whom the secrets are bound."""
        if self.endpoint_id is None:
            return owner_of_callbacks(self.tenant_id)
        return owner_of_endpoint(self.endpoint_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """What came of one attempt."""

    began_at: dt.datetime
    latency_ms: int
    status: int | None = None
    """Of the answer; None where there was none."""
    error_code: str | None = None
    """None: delivered."""
    answer: str = ""
    """The first bytes of its body."""
    retry_after_s: float | None = None


# Lanes are looked up one behind the other, so that a long line before one of them costs nothing.
_LANES = """
    lane_of (tenant_id, lane) AS (
        (SELECT tenant_id, lane FROM webhook_delivery WHERE state = 'waiting'
         ORDER BY tenant_id, lane LIMIT 1)
        UNION ALL
        SELECT following.tenant_id, following.lane
        FROM lane_of CROSS JOIN LATERAL (
            SELECT tenant_id, lane FROM webhook_delivery AS d
            WHERE state = 'waiting' AND (d.tenant_id, d.lane) > (lane_of.tenant_id, lane_of.lane)
            ORDER BY tenant_id, lane LIMIT 1
        ) AS following
    )
"""
_DUE = text(f"""
    WITH RECURSIVE {_LANES}, busy AS (
        SELECT tenant_id, lane, count(*) AS n FROM webhook_delivery
        WHERE state = 'sending' GROUP BY tenant_id, lane
    ), of_tenant AS (
        SELECT tenant_id, sum(n) AS n FROM busy GROUP BY tenant_id
    ), due AS (
        SELECT first.id,
               coalesce(of_tenant.n, 0) + row_number() OVER (
                   PARTITION BY lane_of.tenant_id ORDER BY first.place, first.due_at
               ) AS place
        FROM lane_of
        LEFT JOIN busy USING (tenant_id, lane)
        LEFT JOIN of_tenant USING (tenant_id)
        LEFT JOIN webhook_endpoint AS endpoint
          ON endpoint.tenant_id = lane_of.tenant_id AND endpoint.id::text = lane_of.lane
        CROSS JOIN LATERAL (
            SELECT id, due_at, row_number() OVER (ORDER BY due_at, id) AS place
            FROM webhook_delivery AS d
            WHERE d.state = 'waiting' AND d.tenant_id = lane_of.tenant_id
              AND d.lane = lane_of.lane AND d.due_at <= now()
            ORDER BY due_at, id
            LIMIT greatest(0, CASE WHEN endpoint.failing_since IS NULL THEN :lane ELSE 1 END
                              - coalesce(busy.n, 0))
        ) AS first
    )
    SELECT id FROM due WHERE place <= :tenant ORDER BY place, id LIMIT :free
""")  # noqa: S608 - put together from constants.
_CLAIM = text("""
    WITH claimed AS (
        UPDATE webhook_delivery
        SET state = 'sending', fence = fence + 1, attempt = attempt + 1,
            lease_until = clock_timestamp() + make_interval(secs => :lease_s)
        WHERE id = ANY(CAST(:ids AS uuid[])) AND state = 'waiting'
        RETURNING *
    )
    SELECT claimed.id, claimed.fence, claimed.attempt, claimed.tenant_id, claimed.endpoint_id,
           coalesce(endpoint.url, claimed.callback_url) AS url,
           event.id AS event_id, event.type, event.sequence, event.created_at, event.job_id,
           event.item_id, event.subject_id, event.data,
           coalesce(endpoint.secret, callbacks.secret) AS secret,
           CASE WHEN coalesce(endpoint.previous_until, callbacks.previous_until) > now()
                THEN coalesce(endpoint.previous_secret, callbacks.previous_secret)
           END AS previous_secret
    FROM claimed
    JOIN event ON event.id = claimed.event_id
    LEFT JOIN webhook_endpoint AS endpoint ON endpoint.id = claimed.endpoint_id
    LEFT JOIN callback_secret AS callbacks
      ON claimed.endpoint_id IS NULL AND callbacks.tenant_id = claimed.tenant_id
    ORDER BY event.number
""").bindparams(bindparam("ids", type_=ARRAY(Text)))
_OF_EVENT = ("sequence", "created_at", "job_id", "item_id", "subject_id", "data")


def claim_deliveries(session: Session, room: Room, *, lease_s: float) -> list[Sending]:
    """Takes what is due and fits, the longest due of each lane first.

    Gives each a new fence, one more attempt and a lease. Tenants take turns.
    """
    # No two couriers fill the same room.
    hold(session, _LOCK_KEY)
    values = {"free": room.free, "lane": room.lane, "tenant": room.tenant}
    ids = [str(one) for one in session.scalars(_DUE, values)]
    if not ids:
        return []
    rows = session.execute(_CLAIM, {"ids": ids, "lease_s": lease_s})
    return [_sending(row._mapping) for row in rows]


def _sending(row: Any) -> Sending:
    event = EventView(
        id=row["event_id"],
        type=EventType(row["type"]),
        **{name: row[name] for name in _OF_EVENT},
    )
    names = ("id", "fence", "attempt", "tenant_id", "endpoint_id", "url")
    secrets = (row["secret"], row["previous_secret"])
    return Sending(
        event=event,
        secrets=tuple(bytes(one) for one in secrets if one is not None),
        **{name: row[name] for name in names},
    )


def record_attempt(session: Session, sending: Sending, attempted: Attempted) -> bool:
    """Writes down an attempt and what follows from it; False where the delivery is not ours.

    It may have been deleted meanwhile with its event or its endpoint, or somebody else has it.
    """
    endpoint = None
    if sending.endpoint_id is not None:
        query = select(WebhookEndpoint).where(WebhookEndpoint.id == sending.endpoint_id)
        endpoint = session.scalars(query.with_for_update(key_share=True)).one_or_none()
        if endpoint is None:
            return False
    if not _end(session, sending, attempted, given_up=_given_up(endpoint, attempted)):
        return False
    session.add(
        WebhookAttempt(
            tenant_id=sending.tenant_id,
            delivery_id=sending.id,
            attempt=sending.attempt,
            began_at=attempted.began_at,
            latency_ms=attempted.latency_ms,
            status=attempted.status,
            error_code=attempted.error_code,
            answer=attempted.answer,
        )
    )
    session.flush()
    if endpoint is not None:
        _note(session, endpoint, attempted)
    return True


def _given_up(endpoint: WebhookEndpoint | None, attempted: Attempted) -> bool:
    is_disabled = endpoint is not None and not endpoint.is_enabled
    return is_disabled or attempted.status == GONE


def _end(session: Session, sending: Sending, attempted: Attempted, *, given_up: bool) -> bool:
    pause = None if given_up else pause_s(sending.attempt, attempted.retry_after_s)
    values: dict[str, Any] = {"error_code": attempted.error_code, "lease_until": None}
    if attempted.error_code is None:
        values |= {"state": DeliveryState.DELIVERED, "finished_at": func.now()}
    elif pause is None:
        values |= {"state": DeliveryState.FAILED, "finished_at": func.now()}
    else:
        due_at = func.clock_timestamp() + dt.timedelta(seconds=pause)
        values |= {"state": DeliveryState.WAITING, "due_at": due_at}
    recorded = session.scalars(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == sending.id,
            WebhookDelivery.fence == sending.fence,
            WebhookDelivery.state == DeliveryState.SENDING,
        )
        .values(**values)
        .returning(WebhookDelivery.id)
        .execution_options(synchronize_session=False)
    ).all()
    return bool(recorded)


_FAILED = text("""
    UPDATE webhook_endpoint
    SET failing_since = CASE WHEN failing_since IS NULL OR last_failed_at < now() - :quiet_for
                             THEN now() ELSE failing_since END,
        last_failed_at = now()
    WHERE id = :id
    RETURNING failing_since <= now() - :failing_for AS for_too_long
""")


def _note(session: Session, endpoint: WebhookEndpoint, attempted: Attempted) -> None:
    """Counts the endpoint's luck, and disables one that is gone or fails for too long."""
    if attempted.error_code is None:
        if endpoint.failing_since is not None:
            session.execute(
                update(WebhookEndpoint)
                .where(WebhookEndpoint.id == endpoint.id)
                .values(failing_since=None, last_failed_at=None)
                .execution_options(synchronize_session=False)
            )
        return
    values = {"id": endpoint.id, "quiet_for": QUIET_FOR, "failing_for": FAILING_FOR}
    for_too_long = session.scalars(_FAILED, values).one()
    if attempted.status == GONE:
        disable(session, endpoint.id, DisabledReason.GONE)
    elif for_too_long:
        disable(session, endpoint.id, DisabledReason.FAILING)


_IS_DISABLED = """
    EXISTS (SELECT FROM webhook_endpoint AS e WHERE e.id = d.endpoint_id AND NOT e.is_enabled)
"""
_HAND_BACK = f"""
    UPDATE webhook_delivery AS d
    SET state = CASE WHEN {_IS_DISABLED} THEN 'failed' ELSE 'waiting' END,
        finished_at = CASE WHEN {_IS_DISABLED} THEN now() END,
        lease_until = NULL, attempt = attempt - 1, due_at = now()
    FROM unnest(:ids, :fences) AS mine (id, fence)
    WHERE d.id = CAST(mine.id AS uuid) AND d.fence = mine.fence AND d.state = 'sending'
"""  # noqa: S608 - put together from constants, as what follows.
_HANDING_BACK = text(_HAND_BACK).bindparams(
    bindparam("ids", type_=ARRAY(Text)), bindparam("fences", type_=ARRAY(BigInteger))
)


def hand_back(session: Session, sendings: Sequence[Sending]) -> None:
    """Lets others send what a courier that stops has not finished; the attempt does not count."""
    if sendings:
        ids, fences = [str(one.id) for one in sendings], [one.fence for one in sendings]
        session.execute(_HANDING_BACK, {"ids": ids, "fences": fences})


# The attempt counts: what takes its courier down each time must come to an end.
_ENDS = f"(attempt >= :max_attempts OR {_IS_DISABLED})"
_EXPIRE = text(f"""
    WITH expired AS (
        SELECT id FROM webhook_delivery
        WHERE state = 'sending' AND lease_until < now() ORDER BY id FOR UPDATE SKIP LOCKED
    )
    UPDATE webhook_delivery AS d
    SET state = CASE WHEN {_ENDS} THEN 'failed' ELSE 'waiting' END,
        finished_at = CASE WHEN {_ENDS} THEN now() END,
        error_code = 'courier_lost', lease_until = NULL, due_at = now()
    FROM expired WHERE d.id = expired.id
""")  # noqa: S608 - put together from constants.


def requeue_lost(session: Session) -> int:
    """Makes due again what a courier took and was not heard of; how many that were."""
    requeued = session.execute(_EXPIRE, {"max_attempts": MAX_ATTEMPTS})
    return int(requeued.rowcount)  # type: ignore[attr-defined]
