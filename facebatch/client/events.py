"""Events that come to a webhook: verified, and as values."""

import datetime as dt
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, SecretStr, TypeAdapter, ValidationError
from standardwebhooks.webhooks import (
    EmptyWebhookSecretError,
    Webhook,
    WebhookVerificationError,
)

from facebatch.client.models.base import Answer
from facebatch.client.models.jobs import JobKind, JobState
from facebatch.errors import WebhookError


class Links(Answer):
    """Paths of the API."""

    job: str | None = None
    results: str | None = None
    subject: str | None = None
    webhook: str | None = None


class EventCounts(Answer):
    """A job's photos by state."""

    total: int
    done: int
    no_face: int
    failed: int
    cancelled: int


class JobData(Answer):
    """A job as it was then."""

    job: UUID
    kind: JobKind
    state: JobState
    round: int
    counts: EventCounts
    links: Links


class MatchData(Answer):
    """A photo that shows a subject which the webhook watches."""

    job: UUID
    round: int
    item: int
    """For `client.jobs.result`."""
    subject: UUID
    gallery: UUID
    links: Links


class WebhookData(Answer):
    """A webhook, and why it gets no events any more."""

    endpoint: UUID
    reason: str | None = None
    links: Links


class _Event(Answer):
    id: UUID
    """The same at each attempt: note those that you have handled."""
    timestamp: dt.datetime
    sequence: int
    """Of two events about one thing, the greater number tells what holds."""


class JobEvent(_Event):
    """A job has ended, or goes on."""

    type: Literal["job.completed", "job.failed", "job.progress"]
    data: JobData


class MatchEvent(_Event):
    """A photo shows somebody who is watched."""

    type: Literal["match.found"]
    data: MatchData


class WebhookEvent(_Event):
    """Another webhook was disabled, or this one is tested."""

    type: Literal["endpoint.disabled", "endpoint.test"]
    data: WebhookData


class UnknownEvent(_Event):
    """A type that this client does not know: answer it with 2xx, and pass it by."""

    type: str
    data: dict[str, Any]


Event = JobEvent | MatchEvent | WebhookEvent | UnknownEvent
_KNOWN: TypeAdapter[JobEvent | MatchEvent | WebhookEvent] = TypeAdapter(
    Annotated[JobEvent | MatchEvent | WebhookEvent, Field(discriminator="type")]
)


def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str | SecretStr) -> Event:
    """The event in a request that came to a webhook; raises `WebhookError` where it is none.

    `body` is what came, to the byte. One whose signature is another's, or which is more than five
    minutes old, is refused. While a secret is rotated, events verify with either.
    """
    shown = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    by_name = {name.lower(): value for name, value in headers.items()}
    webhook = _webhook(shown)
    try:
        webhook.verify(body, by_name, json_parse=False)
    except (WebhookVerificationError, ValueError):
        # The package lets out what it stumbles over in a signature that is none.
        raise WebhookError("the request is not signed with this secret, or too old") from None
    return _event(body, by_name["webhook-id"])


def _webhook(secret: str) -> Webhook:
    """Raises `ValueError`, which does not tell the secret."""
    try:
        return Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        raise ValueError("the secret is none that facebatch has shown: whsec_...") from None


def _event(body: bytes, event_id: str) -> Event:
    try:
        told = {**json.loads(body), "id": event_id}
    except (ValueError, TypeError):
        raise WebhookError("the request is signed, and its body is no event") from None
    try:
        return _KNOWN.validate_python(told)
    except ValidationError:
        pass
    try:
        return UnknownEvent.model_validate(told)
    except ValidationError:
        raise WebhookError("the request is signed, and its body is no event") from None
