"""API keys: make, look up, list, rotate, revoke, and note when one was last used."""

import datetime as dt
import enum
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Row, Select, case, func, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.errors import KeyEndedError, KeyNotFoundError, UnavailableError
from db.ids import new_id
from db.key_text import new_key_text, shown
from db.models import ApiKey, Tenant
from db.scopes import Scope
from db.session import Database, transaction

log = structlog.get_logger()
NOTED_EVERY = dt.timedelta(minutes=1)
"""A row that each request changed would be the busiest of all."""


class KeyState(enum.StrEnum):
    """Whether a key is good."""

    ACTIVE = "active"
    """It is."""
    EXPIRED = "expired"
    """Its time is over, or its replacement's overlap is."""
    REVOKED = "revoked"
    """It was withdrawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key to make."""

    name: str
    scopes: Sequence[Scope]
    valid_for: dt.timedelta | None = None
    """None: until it is revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyView:
    """A key as its owner sees it."""

    id: uuid.UUID
    name: str
    prefix: str
    """What the key begins with: enough to tell it from others, and no more."""
    scopes: tuple[Scope, ...]
    state: KeyState
    created_at: dt.datetime
    expires_at: dt.datetime | None
    last_used_at: dt.datetime | None
    revoked_at: dt.datetime | None
    replaced_by: uuid.UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeKey:
    """A key at the one moment at which it can be seen."""

    view: KeyView
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """What is known of a key of some handle, before anybody knows whether it is the caller's."""

    id: uuid.UUID
    tenant_id: int
    tenant_name: str
    secret_hash: bytes = field(repr=False)
    scopes: frozenset[Scope]
    state: KeyState
    use_is_due: bool
    """Whether its last use was so long ago that this one is to be noted."""


def find_key(session: Session, handle: str) -> FoundKey | None:
    """The key of this handle, whosever it is: no tenant is known before."""
    query = (
        select(
            ApiKey.id,
            ApiKey.tenant_id,
            Tenant.name.label("tenant_name"),
            ApiKey.secret_hash,
            ApiKey.scopes,
            _state().label("state"),
            _use_is_due().label("use_is_due"),
        )
        .join(Tenant, Tenant.id == ApiKey.tenant_id)
        .where(ApiKey.handle == handle)
    )
    row = session.execute(query).one_or_none()
    if row is None:
        return None
    return FoundKey(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant_name=row.tenant_name,
        secret_hash=row.secret_hash,
        scopes=frozenset(map(Scope, row.scopes)),
        state=KeyState(row.state),
        use_is_due=row.use_is_due,
    )


def note_use(database: Database, key_id: uuid.UUID) -> None:
    """Notes that the key is used now; whoever uses it waits for nobody, and meets no error."""
    free = (
        select(ApiKey.id)
        .where(ApiKey.id == key_id, _use_is_due())
        # Another request is noting it, or the key is being changed: there will be a next time.
        .with_for_update(skip_locked=True)
    )
    try:
        with transaction(database) as session:
            session.execute(
                update(ApiKey)
                .where(ApiKey.id.in_(free.scalar_subquery()))
                .values(last_used_at=func.now())
            )
    except (UnavailableError, DBAPIError) as exc:
        log.warning("key_use_not_noted", key_id=str(key_id), error=type(exc).__name__)


def create_key(session: Session, tenant_id: int, new: NewKey, hashing_key: bytes) -> MadeKey:
    """Makes a key; its text is nowhere but in what is returned."""
    made, key_id = new_key_text(), new_id()
    session.add(
        ApiKey(
            id=key_id,
            tenant_id=tenant_id,
            name=new.name,
            handle=made.handle,
            secret_hash=made.hashed(hashing_key),
            scopes=[one.value for one in Scope if one in new.scopes],
            expires_at=None if new.valid_for is None else func.now() + new.valid_for,
        )
    )
    session.flush()
    return MadeKey(view=get_key(session, tenant_id, key_id), text=made.text)


def get_key(session: Session, tenant_id: int, key_id: uuid.UUID) -> KeyView:
    """One key; raises `KeyNotFoundError`."""
    return _view(_require(session, _keys(tenant_id).where(ApiKey.id == key_id)))


def list_keys(
    session: Session, tenant_id: int, *, after: uuid.UUID | None = None, limit: int = 100
) -> list[KeyView]:
    """The tenant's keys, the oldest first, those that have ended included; those behind `after`."""
    query = _keys(tenant_id).order_by(ApiKey.id).limit(limit)
    if after is not None:
        query = query.where(ApiKey.id > after)
    return [_view(row) for row in session.execute(query)]


def revoke_key(session: Session, tenant_id: int, key_id: uuid.UUID) -> None:
    """Withdraws a key for good, from the commit on; again, it changes nothing.

    Raises `KeyNotFoundError`.
    """
    revoked = (
        update(ApiKey)
        .where(ApiKey.tenant_id == tenant_id, ApiKey.id == key_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
        .returning(ApiKey.id)
    )
    if session.scalars(revoked).one_or_none() is None:
        raise KeyNotFoundError("there is no such key")


def rotate_key(
    session: Session,
    tenant_id: int,
    key_id: uuid.UUID,
    hashing_key: bytes,
    *,
    overlap: dt.timedelta,
) -> MadeKey:
    """Makes a key in place of another, which is good for the `overlap` yet and no longer.

    The new one has the name, the scopes and the lifetime of the old. Raises `KeyNotFoundError`,
    and `KeyEndedError` where the old one is not good any more or was replaced before.
    """
    query = _keys(tenant_id).where(ApiKey.id == key_id).with_for_update()
    old = _view(_require(session, query))
    if old.state is not KeyState.ACTIVE or old.replaced_by is not None:
        raise KeyEndedError(
            "the key was revoked or replaced, or has expired; make a new one in its place"
        )
    lifetime = old.expires_at - old.created_at if old.expires_at else None
    new = NewKey(name=old.name, scopes=old.scopes, valid_for=lifetime)
    made = create_key(session, tenant_id, new, hashing_key)
    session.execute(
        update(ApiKey)
        .where(ApiKey.tenant_id == tenant_id, ApiKey.id == key_id)
        # LEAST passes over NULL: a key without an end gets one.
        .values(
            replaced_by=made.view.id,
            expires_at=func.least(ApiKey.expires_at, func.now() + overlap),
        )
    )
    return made


def _use_is_due() -> ColumnElement[bool]:
    return or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < func.now() - NOTED_EVERY)


def _state() -> ColumnElement[str]:
    return case(
        (ApiKey.revoked_at.is_not(None), KeyState.REVOKED.value),
        (ApiKey.expires_at <= func.now(), KeyState.EXPIRED.value),
        else_=KeyState.ACTIVE.value,
    )


def _keys(tenant_id: int) -> Select[*tuple[Any, ...]]:
    return select(
        ApiKey.id,
        ApiKey.name,
        ApiKey.handle,
        ApiKey.scopes,
        _state().label("state"),
        ApiKey.created_at,
        ApiKey.expires_at,
        ApiKey.last_used_at,
        ApiKey.revoked_at,
        ApiKey.replaced_by,
    ).where(ApiKey.tenant_id == tenant_id)


def _require(session: Session, query: Select[*tuple[Any, ...]]) -> Row[*tuple[Any, ...]]:
    row = session.execute(query).one_or_none()
    if row is None:
        raise KeyNotFoundError("there is no such key")
    return row


def _view(row: Row[*tuple[Any, ...]]) -> KeyView:
    return KeyView(
        id=row.id,
        name=row.name,
        prefix=shown(row.handle),
        scopes=tuple(map(Scope, row.scopes)),
        state=KeyState(row.state),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        replaced_by=row.replaced_by,
    )
