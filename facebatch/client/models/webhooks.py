"""Webhooks, and what was delivered to them."""

import datetime as dt
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import SecretStr

from facebatch.client.models.base import OPEN, Answer, Page, Tagged

EventType = Annotated[
    Literal[
        "job.completed",
        "job.failed",
        "job.progress",
        "match.found",
        "endpoint.disabled",
        "endpoint.test",
    ],
    OPEN,
]
DisabledReason = Annotated[Literal["owner", "gone", "failing"], OPEN]
DeliveryState = Annotated[Literal["waiting", "sending", "delivered", "failed"], OPEN]


class Webhook(Tagged):
    """A URL that gets events."""

    id: UUID
    url: str
    events: tuple[EventType, ...]
    subjects: tuple[UUID, ...]
    enabled: bool
    disabled_reason: DisabledReason | None
    disabled_at: dt.datetime | None
    failing_since: dt.datetime | None
    previous_secret_until: dt.datetime | None
    created_at: dt.datetime
    changed_at: dt.datetime


class NewWebhook(Webhook):
    """A webhook at the one moment at which its secret is shown."""

    secret: SecretStr
    """`secret.get_secret_value()` is for `verify_webhook`. Keep it."""


class Webhooks(Page[Webhook]):
    """A page of webhooks."""

    FIELD: ClassVar = "webhooks"

    webhooks: tuple[Webhook, ...]


class Tested(Answer):
    """A test that is on its way."""

    event: UUID
    """Its `webhook-id`."""


class Replayed(Answer):
    """How many events are sent again."""

    deliveries: int


class Attempt(Answer):
    """One attempt to deliver an event."""

    attempt: int
    began_at: dt.datetime
    latency_ms: int
    status: int | None
    error: str | None
    """None: it arrived."""
    answer: str


class Delivery(Answer):
    """An event on its way to a webhook, or to the callback URL of its job."""

    id: UUID
    event: UUID
    type: EventType
    sequence: int
    job: UUID | None
    webhook: UUID | None
    state: DeliveryState
    next_attempt_at: dt.datetime | None
    error: str | None
    created_at: dt.datetime
    finished_at: dt.datetime | None
    attempts: tuple[Attempt, ...]
    """The latest first."""


class Deliveries(Page[Delivery]):
    """A page of deliveries."""

    FIELD: ClassVar = "deliveries"

    deliveries: tuple[Delivery, ...]


class CallbackSecret(Answer):
    """That there is a secret which callbacks are signed with."""

    created_at: dt.datetime
    previous_secret_until: dt.datetime | None


class NewCallbackSecret(CallbackSecret):
    """The secret itself, which is shown this once."""

    secret: SecretStr
