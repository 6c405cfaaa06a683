"""Endpoints: the URLs of a tenant, what each wants to be told, and the secrets to sign with."""

import datetime as dt
import uuid
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.orm import Session

from db.errors import (
    CallbackSecretMissingError,
    SubjectNotFoundError,
    TooManyWebhooksError,
    WebhookDisabledError,
    WebhookNotFoundError,
)
from db.holding import hold
from db.ids import new_id
from db.models import CallbackSecret, Subject, WebhookEndpoint, WebhookWatch
from db.states import DisabledReason, EventType
from db.webhooks.events import endpoint_disabled, endpoint_tested
from db.webhooks.secrets import Safe, new_secret, owner_of_callbacks, owner_of_endpoint

_LOCK_KEY = 0x686F6F6B << 24  # Any number, and behind it that of a tenant; it says "hook".
MAX_ENDPOINTS = 50
"""Of one tenant."""
DISABLED = "endpoint_disabled"
"""What is said of deliveries that were waiting when their endpoint was disabled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndpoint:
    """What its owner asks for."""

    url: str
    event_types: Sequence[EventType]
    subject_ids: Set[uuid.UUID] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointChange:
    """What is to be another; None: as it was."""

    url: str | None = None
    event_types: Sequence[EventType] | None = None
    subject_ids: Set[uuid.UUID] | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointView:
    """An endpoint as its owner sees it."""

    id: uuid.UUID
    url: str
    event_types: tuple[EventType, ...]
    subject_ids: tuple[uuid.UUID, ...]
    is_enabled: bool
    disabled_reason: DisabledReason | None
    disabled_at: dt.datetime | None
    failing_since: dt.datetime | None
    previous_until: dt.datetime | None
    created_at: dt.datetime
    changed_at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackSecretView:
    """What is said of the secret of callbacks; never itself."""

    created_at: dt.datetime
    previous_until: dt.datetime | None


def create_endpoint(
    session: Session, tenant_id: int, new: NewEndpoint, safe: Safe
) -> tuple[EndpointView, bytes]:
    """Makes an endpoint; returns it and its secret, which nobody sees again.

    Raises `TooManyWebhooksError`, `SubjectNotFoundError`.
    """
    # Two at a time would both find room for the last.
    hold(session, _LOCK_KEY + tenant_id)
    count = select(func.count()).where(WebhookEndpoint.tenant_id == tenant_id)
    if session.scalars(count).one() >= MAX_ENDPOINTS:
        raise TooManyWebhooksError(f"you have {MAX_ENDPOINTS} webhooks; delete one")
    endpoint_id, secret = new_id(), new_secret()
    session.execute(
        insert(WebhookEndpoint).values(
            id=endpoint_id,
            tenant_id=tenant_id,
            url=new.url,
            event_types=[one.value for one in new.event_types],
            secret=safe.sealed(secret, owner_of_endpoint(endpoint_id)),
        )
    )
    _watch(session, tenant_id, endpoint_id, new.subject_ids)
    return get_endpoint(session, tenant_id, endpoint_id), secret


def get_endpoint(session: Session, tenant_id: int, endpoint_id: uuid.UUID) -> EndpointView:
    """The endpoint; raises `WebhookNotFoundError`."""
    row = session.execute(
        _endpoints(tenant_id).where(WebhookEndpoint.id == endpoint_id)
    ).one_or_none()
    if row is None:
        raise WebhookNotFoundError("there is no such webhook")
    return _view(row)


def hold_endpoint(session: Session, tenant_id: int, endpoint_id: uuid.UUID) -> EndpointView:
    """The endpoint, which nobody changes or has anything sent to before the commit.

    Raises `WebhookNotFoundError`.
    """
    query = select(WebhookEndpoint.id).where(
        WebhookEndpoint.tenant_id == tenant_id, WebhookEndpoint.id == endpoint_id
    )
    session.execute(query.with_for_update())
    return get_endpoint(session, tenant_id, endpoint_id)


def list_endpoints(
    session: Session, tenant_id: int, *, after: uuid.UUID | None = None, limit: int = 100
) -> list[EndpointView]:
    """Endpoints, the oldest first, those behind `after`, at most `limit`."""
    query = _endpoints(tenant_id).order_by(WebhookEndpoint.id).limit(limit)
    if after is not None:
        query = query.where(WebhookEndpoint.id > after)
    return [_view(row) for row in session.execute(query)]


def change_endpoint(
    session: Session, tenant_id: int, endpoint_id: uuid.UUID, change: EndpointChange
) -> EndpointView:
    """Changes what is named; raises `WebhookNotFoundError`, `SubjectNotFoundError`.

    One that is disabled gives up what waits for it; one that is enabled begins anew, as if it had
    never failed.
    """
    was = _lock(session, tenant_id, endpoint_id)
    values: dict[str, Any] = {"changed_at": func.now()}
    if change.url is not None:
        values["url"] = change.url
    if change.event_types is not None:
        values["event_types"] = [one.value for one in change.event_types]
    if change.enabled and not was.is_enabled:
        values |= {"is_enabled": True, "disabled_reason": None, "disabled_at": None}
        values |= {"failing_since": None, "last_failed_at": None}
    session.execute(
        update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).values(**values)
    )
    if change.enabled is False:
        disable(session, endpoint_id, DisabledReason.OWNER)
    if change.subject_ids is not None:
        session.execute(delete(WebhookWatch).where(WebhookWatch.endpoint_id == endpoint_id))
        _watch(session, tenant_id, endpoint_id, change.subject_ids)
    return get_endpoint(session, tenant_id, endpoint_id)


def delete_endpoint(session: Session, tenant_id: int, endpoint_id: uuid.UUID) -> None:
    """Deletes the endpoint with its deliveries; raises `WebhookNotFoundError`.

    What is being sent to it this moment may still arrive.
    """
    deleted = session.scalars(
        delete(WebhookEndpoint)
        .where(WebhookEndpoint.tenant_id == tenant_id, WebhookEndpoint.id == endpoint_id)
        .returning(WebhookEndpoint.id)
    ).all()
    if not deleted:
        raise WebhookNotFoundError("there is no such webhook")


def rotate_secret(
    session: Session,
    tenant_id: int,
    endpoint_id: uuid.UUID,
    safe: Safe,
    *,
    overlap: dt.timedelta,
) -> tuple[EndpointView, bytes]:
    """Gives the endpoint a new secret; events are signed with the old one too for the `overlap`.

    Returns the endpoint and the secret. Raises `WebhookNotFoundError`.
    """
    was = _lock(session, tenant_id, endpoint_id)
    secret = new_secret()
    session.execute(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id)
        .values(
            secret=safe.sealed(secret, owner_of_endpoint(endpoint_id)),
            changed_at=func.now(),
            **_previous(was.secret, overlap),
        )
    )
    return get_endpoint(session, tenant_id, endpoint_id), secret


def test_endpoint(session: Session, tenant_id: int, endpoint_id: uuid.UUID) -> uuid.UUID:
    """Has an event sent to the endpoint that tells of nothing; the event's id.

    Raises `WebhookNotFoundError`, `WebhookDisabledError`.
    """
    require_enabled(session, tenant_id, endpoint_id)
    return endpoint_tested(session, tenant_id, endpoint_id)


def require_enabled(session: Session, tenant_id: int, endpoint_id: uuid.UUID) -> None:
    """Raises `WebhookNotFoundError`, `WebhookDisabledError`; it stays so until the commit."""
    if not _lock(session, tenant_id, endpoint_id).is_enabled:
        raise WebhookDisabledError("the webhook is disabled; enable it first")


def rotate_callback_secret(
    session: Session, tenant_id: int, safe: Safe, *, overlap: dt.timedelta
) -> tuple[CallbackSecretView, bytes]:
    """Makes a secret for the tenant's callbacks, its first or a new one; returns it too."""
    secret = new_secret()
    sealed = safe.sealed(secret, owner_of_callbacks(tenant_id))
    statement = insert(CallbackSecret).values(tenant_id=tenant_id, secret=sealed)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant_id"],
            set_={
                "secret": sealed,
                "created_at": func.now(),
                **_previous(CallbackSecret.secret, overlap),
            },
        )
    )
    return callback_secret(session, tenant_id), secret


def callback_secret(session: Session, tenant_id: int) -> CallbackSecretView:
    """Since when there is one; raises `CallbackSecretMissingError`."""
    columns = (CallbackSecret.created_at, CallbackSecret.previous_until)
    row = session.execute(
        select(*columns).where(CallbackSecret.tenant_id == tenant_id)
    ).one_or_none()
    if row is None:
        raise CallbackSecretMissingError(
            "callbacks are signed, and there is no secret for that; make one first: "
            "POST /v1/callback-secret"
        )
    return CallbackSecretView(**row._mapping)


def require_signable(session: Session, tenant_id: int, callback_url: str | None) -> None:
    """That a callback, if there is one, can be signed; raises `CallbackSecretMissingError`."""
    if callback_url is not None:
        callback_secret(session, tenant_id)


_GIVE_UP = text("""
    UPDATE webhook_delivery
    SET state = 'failed', error_code = :code, finished_at = now()
    WHERE endpoint_id = :endpoint_id AND state = 'waiting'
""")


def disable(session: Session, endpoint_id: uuid.UUID, reason: DisabledReason) -> bool:
    """Lets no further event go to an endpoint, and gives up what waits; False where it was so.

    Where it was not its owner's doing, the tenant's other endpoints are told.
    """
    disabled = session.scalars(
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.is_enabled)
        .values(is_enabled=False, disabled_reason=reason, disabled_at=func.now())
        .returning(WebhookEndpoint.tenant_id)
    ).all()
    if not disabled:
        return False
    session.execute(_GIVE_UP, {"endpoint_id": endpoint_id, "code": DISABLED})
    if reason is not DisabledReason.OWNER:
        endpoint_disabled(session, disabled[0], endpoint_id, reason)
    return True


def _previous(secret: Any, overlap: dt.timedelta) -> dict[str, Any]:
    if not overlap:
        return {"previous_secret": None, "previous_until": None}
    return {"previous_secret": secret, "previous_until": func.now() + overlap}


def _lock(session: Session, tenant_id: int, endpoint_id: uuid.UUID) -> WebhookEndpoint:
    query = select(WebhookEndpoint).where(
        WebhookEndpoint.tenant_id == tenant_id, WebhookEndpoint.id == endpoint_id
    )
    locked = session.scalars(
        query.with_for_update(key_share=True).execution_options(populate_existing=True)
    ).one_or_none()
    if locked is None:
        raise WebhookNotFoundError("there is no such webhook")
    return locked


def _watch(
    session: Session, tenant_id: int, endpoint_id: uuid.UUID, subject_ids: Set[uuid.UUID]
) -> None:
    if not subject_ids:
        return
    query = select(Subject.id).where(Subject.tenant_id == tenant_id, Subject.id.in_(subject_ids))
    locked = query.order_by(Subject.id).with_for_update(read=True, key_share=True)
    if len(session.scalars(locked).all()) < len(subject_ids):
        raise SubjectNotFoundError("one of the subjects to watch is not there")
    session.execute(
        insert(WebhookWatch),
        [
            {"tenant_id": tenant_id, "endpoint_id": endpoint_id, "subject_id": one}
            for one in sorted(subject_ids)
        ],
    )


_SUBJECTS = (
    select(func.array_agg(aggregate_order_by(WebhookWatch.subject_id, WebhookWatch.subject_id)))
    .where(
        WebhookWatch.endpoint_id == WebhookEndpoint.id,
        WebhookWatch.tenant_id == bindparam("tenant_id"),
    )
    .scalar_subquery()
)
_AS_THEY_ARE = [
    getattr(WebhookEndpoint, name)
    for name in EndpointView.__dataclass_fields__
    if name != "subject_ids"
]


def _endpoints(tenant_id: int) -> Select[*tuple[Any, ...]]:
    query = select(*_AS_THEY_ARE, _SUBJECTS.label("subject_ids"))
    return query.where(WebhookEndpoint.tenant_id == bindparam("tenant_id")).params(
        tenant_id=tenant_id
    )


def _view(row: Row[*tuple[Any, ...]]) -> EndpointView:
    values = dict(row._mapping)
    values["event_types"] = tuple(map(EventType, values["event_types"]))
    values["subject_ids"] = tuple(values["subject_ids"] or ())
    if values["previous_until"] and values["previous_until"] < dt.datetime.now(dt.UTC):
        values["previous_until"] = None
    return EndpointView(**values)
