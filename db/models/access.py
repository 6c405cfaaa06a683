"""Who may call the HTTP API."""

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import Created, TenantId, UuidId, belongs_to
from db.models.base import Base
from db.scopes import Scope

_ALL = ", ".join(f"'{one.value}'" for one in Scope)


class ApiKey(Base):
    """A key with which a tenant's programs call; nobody can read it out of here."""

    __tablename__ = "api_key"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("handle"),
        belongs_to("api_key", "replaced_by", "SET NULL"),
        CheckConstraint(
            f"cardinality(scopes) > 0 AND scopes <@ ARRAY[{_ALL}]::text[]", name="scopes"
        ),
    )

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    name: Mapped[str]
    handle: Mapped[str]
    """The part of the key by which it is looked up, and shown."""
    secret_hash: Mapped[bytes]
    """HMAC-SHA256 of the whole key, under a key of the deployment's own."""
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    created_at: Mapped[Created]
    expires_at: Mapped[dt.datetime | None]
    last_used_at: Mapped[dt.datetime | None]
    """To the minute."""
    revoked_at: Mapped[dt.datetime | None]
    replaced_by: Mapped[uuid.UUID | None]
    """The key that was made in its place; until `expires_at` both are good."""
