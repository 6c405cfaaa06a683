"""API keys, in and out."""

import datetime as dt
import uuid
from typing import Self

from pydantic import Field, field_validator

from db.api_keys import KeyState, KeyView, MadeKey, NewKey
from db.scopes import Scope
from web.schemas.base import Incoming, JsonBody, Name, Outgoing

MAX_DAYS = 3650
DAY_S = 24 * 3600
MAX_OVERLAP_S = 30 * DAY_S


class KeyPath(Incoming):
    key_id: uuid.UUID


class KeyIn(JsonBody):
    """A key to make."""

    name: Name
    scopes: list[Scope] = Field(
        min_length=1,
        max_length=len(Scope),
        description="What it may do; no scope brings another with it.",
        json_schema_extra={"uniqueItems": True},
    )
    expires_in_days: int | None = Field(
        None, ge=1, le=MAX_DAYS, description="Days after which it ends. Default: it does not."
    )

    @field_validator("scopes")
    @classmethod
    def _each_once(cls, value: list[Scope]) -> list[Scope]:
        if len({*value}) < len(value):
            raise ValueError("a scope is named twice")
        return value

    def new(self) -> NewKey:
        """As the tables take it."""
        days = self.expires_in_days
        return NewKey(
            name=self.name,
            scopes=self.scopes,
            valid_for=None if days is None else dt.timedelta(days=days),
        )


class KeyRotationIn(JsonBody):
    """How a key gives way to another."""

    overlap_s: int = Field(
        DAY_S,
        ge=0,
        le=MAX_OVERLAP_S,
        description="Seconds for which the old key is good yet, beside the new one.",
    )


class KeyOut(Outgoing):
    """A key, without what makes it one."""

    id: uuid.UUID
    name: str
    prefix: str = Field(description="What the key begins with, to tell it from others.")
    scopes: list[Scope]
    state: KeyState
    created_at: dt.datetime
    expires_at: dt.datetime | None
    last_used_at: dt.datetime | None = Field(description="To the minute; null: never.")
    revoked_at: dt.datetime | None
    replaced_by: uuid.UUID | None = Field(description="The key that was made in its place.")

    @classmethod
    def of(cls, view: KeyView) -> Self:
        """From what the query returned."""
        return cls(**_members(view))


class NewKeyOut(KeyOut):
    """A key at the one moment at which it is shown."""

    key: str = Field(description="The key itself. Keep it: it is shown this once.")

    @classmethod
    def of_made(cls, made: MadeKey) -> Self:
        """From what was made."""
        return cls(**_members(made.view), key=made.text)


class KeysOut(Outgoing):
    """A page of keys."""

    keys: list[KeyOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


def _members(view: KeyView) -> dict[str, object]:
    return {
        "id": view.id,
        "name": view.name,
        "prefix": view.prefix,
        "scopes": list(view.scopes),
        "state": view.state,
        "created_at": view.created_at,
        "expires_at": view.expires_at,
        "last_used_at": view.last_used_at,
        "revoked_at": view.revoked_at,
        "replaced_by": view.replaced_by,
    }
