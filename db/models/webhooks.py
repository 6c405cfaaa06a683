"""Events, who is to be told of them, and how that went."""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import BigId, Created, TenantId, UuidId, belongs_to
from db.models.base import Base
from db.states import DeliveryState, DisabledReason, EventType


class Event(Base):
    """Something that happened, written in the transaction that caused it, once.

    What it tells of a job outlives the job: its end is told even where it is deleted meanwhile.
    """

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("number"),
        belongs_to("subject", "subject_id", "CASCADE"),
        belongs_to("webhook_endpoint", "endpoint_id", "CASCADE"),
        Index(
            "uq_event_of_job_end",
            *("job_id", "type", "round"),
            unique=True,
            postgresql_where=text("type IN ('job.completed', 'job.failed')"),
        ),
        Index(
            "uq_event_of_match",
            *("item_id", "subject_id"),
            unique=True,
            postgresql_where=text("type = 'match.found'"),
        ),
        Index("ix_event_new", "number", postgresql_where=text("sequence IS NULL")),
        Index(None, "subject_id", postgresql_where=text("subject_id IS NOT NULL")),
        Index(None, "endpoint_id", postgresql_where=text("endpoint_id IS NOT NULL")),
        Index("ix_event_job_of_match", "job_id", postgresql_where=text("type = 'match.found'")),
        Index(None, "tenant_id", "created_at"),
        Index(None, "created_at"),
    )

    id: Mapped[UuidId]
    """The same over all attempts to deliver it."""
    tenant_id: Mapped[TenantId]
    number: Mapped[int] = mapped_column(BigInteger, Identity())
    """The order of those that were committed together."""
    sequence: Mapped[int | None]
    """The tenant's own count of events, in the order of their commits; None: not yet given out."""
    type: Mapped[EventType]
    job_id: Mapped[uuid.UUID | None]
    round: Mapped[int] = mapped_column(Integer, default=1, server_default=text("1"))
    """The job's, when it happened."""
    item_id: Mapped[int | None]
    subject_id: Mapped[uuid.UUID | None]
    """Whom a match shows. The event goes with the subject."""
    endpoint_id: Mapped[uuid.UUID | None]
    """For a test: the one endpoint that gets it."""
    callback_url: Mapped[str | None]
    """Of the job, for its end."""
    data: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    """Ids and counts as they were then; never a name, an embedding or a photo."""
    created_at: Mapped[Created]


class WebhookEndpoint(Base):
    """A URL that wants to be told of some types of events."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        CheckConstraint("is_enabled = (disabled_reason IS NULL)", name="enabled"),
        CheckConstraint(
            "(previous_secret IS NULL) = (previous_until IS NULL)", name="previous_secret"
        ),
    )

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    url: Mapped[str]
    event_types: Mapped[list[str]] = mapped_column(ARRAY(Text))
    is_enabled: Mapped[bool] = mapped_column(default=True, server_default=text("true"))
    disabled_reason: Mapped[DisabledReason | None]
    disabled_at: Mapped[dt.datetime | None]
    failing_since: Mapped[dt.datetime | None]
    """The first failure since something was delivered, while attempts go on."""
    last_failed_at: Mapped[dt.datetime | None]
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """Encrypted, as `previous_secret` is: see `db.webhooks.secrets`."""
    previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    """With which events are signed as well until `previous_until`."""
    previous_until: Mapped[dt.datetime | None]
    created_at: Mapped[Created]
    changed_at: Mapped[Created]


class WebhookWatch(Base):
    """A subject of whose matches an endpoint is told."""

    __tablename__ = "webhook_watch"
    __table_args__ = (
        belongs_to("webhook_endpoint", "endpoint_id", "CASCADE"),
        belongs_to("subject", "subject_id", "CASCADE"),
        Index(None, "subject_id"),
    )

    endpoint_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    subject_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]


class CallbackSecret(Base):
    """With what a tenant's callbacks of single jobs are signed."""

    __tablename__ = "callback_secret"
    __table_args__ = (
        CheckConstraint(
            "(previous_secret IS NULL) = (previous_until IS NULL)", name="previous_secret"
        ),
    )

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    previous_secret: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_until: Mapped[dt.datetime | None]
    created_at: Mapped[Created]


class WebhookDelivery(Base):
    """One event on its way to one endpoint, or to the callback URL of its job."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("endpoint_id", "event_id"),
        belongs_to("event", "event_id", "CASCADE"),
        belongs_to("webhook_endpoint", "endpoint_id", "CASCADE"),
        Index(
            "uq_webhook_delivery_callback",
            "event_id",
            unique=True,
            postgresql_where=text("endpoint_id IS NULL"),
        ),
        Index(None, "event_id"),
        Index(None, "endpoint_id", "id"),
        Index(
            "ix_webhook_delivery_waiting",
            *("tenant_id", "lane", "due_at", "id"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index(
            "ix_webhook_delivery_sending",
            "lease_until",
            postgresql_where=text("state = 'sending'"),
        ),
        CheckConstraint("(state = 'sending') = (lease_until IS NOT NULL)", name="lease"),
        CheckConstraint("(endpoint_id IS NULL) = (callback_url IS NOT NULL)", name="target"),
    )

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    event_id: Mapped[uuid.UUID]
    endpoint_id: Mapped[uuid.UUID | None]
    callback_url: Mapped[str | None]
    lane: Mapped[str]
    """What shares a limit of requests at a time: the endpoint, or the callbacks to one host."""
    state: Mapped[DeliveryState] = mapped_column(default=DeliveryState.WAITING)
    attempt: Mapped[int] = mapped_column(SmallInteger, default=0, server_default=text("0"))
    fence: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    """Counts claims. Only the holder of the latest may record."""
    due_at: Mapped[Created]
    lease_until: Mapped[dt.datetime | None]
    error_code: Mapped[str | None]
    """Why the latest attempt failed, or why there is none."""
    created_at: Mapped[Created]
    finished_at: Mapped[dt.datetime | None]


class WebhookAttempt(Base):
    """One attempt of a delivery, for its owner to look at."""

    __tablename__ = "webhook_attempt"
    __table_args__ = (
        belongs_to("webhook_delivery", "delivery_id", "CASCADE"),
        Index(None, "delivery_id", "id"),
    )

    id: Mapped[BigId]
    tenant_id: Mapped[TenantId]
    delivery_id: Mapped[uuid.UUID]
    attempt: Mapped[int] = mapped_column(SmallInteger)
    began_at: Mapped[dt.datetime]
    latency_ms: Mapped[int] = mapped_column(Integer)
    status: Mapped[int | None] = mapped_column(Integer)
    """Of the answer; None where there was none."""
    error_code: Mapped[str | None]
    answer: Mapped[str]
    """The first bytes of the answer's body, as text."""
