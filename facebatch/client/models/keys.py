"""API keys."""

import datetime as dt
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import SecretStr

from facebatch.client.models.base import OPEN, Answer, Page

Scope = Annotated[Literal["read", "submit", "manage", "admin"], OPEN]
KeyState = Annotated[Literal["active", "expired", "revoked"], OPEN]


class Key(Answer):
    """A key, without what makes it one."""

    id: UUID
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    state: KeyState
    created_at: dt.datetime
    expires_at: dt.datetime | None
    last_used_at: dt.datetime | None
    revoked_at: dt.datetime | None
    replaced_by: UUID | None


class NewKey(Key):
    """A key at the one moment at which it is shown."""

    key: SecretStr
    """`key.get_secret_value()` is what a client takes. Keep it."""


class Keys(Page[Key]):
    """A page of keys."""

    FIELD: ClassVar = "keys"

    keys: tuple[Key, ...]
