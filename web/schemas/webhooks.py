"""Webhooks, what was delivered to them, and the secret of callbacks: in and out."""

import datetime as dt
import uuid
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from db.states import DeliveryState, DisabledReason, EventType
from db.webhooks.endpoints import CallbackSecretView, EndpointView
from db.webhooks.log import AttemptView, DeliveryView
from web.schemas.base import Incoming, JsonBody, Moment, Outgoing, PageQuery, Url

MAX_SUBJECTS = 1000
DAY_S = 86_400
Subscribed = Literal[
    EventType.JOB_COMPLETED,
    EventType.JOB_FAILED,
    EventType.JOB_PROGRESS,
    EventType.MATCH_FOUND,
    EventType.ENDPOINT_DISABLED,
]
Events = Annotated[
    list[Subscribed],
    Field(min_length=1, max_length=len(EventType), description="Types of events that it gets."),
]
Subjects = Annotated[
    list[uuid.UUID],
    Field(
        max_length=MAX_SUBJECTS,
        description="For `match.found`: ids of the subjects of whose matches it is told.",
    ),
]


class WebhookIn(JsonBody):
    """A URL, and what it is to be told."""

    url: Url
    events: Events
    subjects: Subjects = Field(default_factory=list)

    @model_validator(mode="after")
    def _watches_somebody(self) -> Self:
        if bool(self.subjects) != (EventType.MATCH_FOUND in self.events):
            raise ValueError("match.found and subjects go together; give both or neither")
        return self


class WebhookPatch(JsonBody):
    """What is to be another."""

    url: Url | None = None
    events: Events | None = None
    subjects: Subjects | None = None
    enabled: bool | None = Field(
        None,
        description="False: it gets nothing, and what waits for it is given up. True: it gets "
        "events from now on; have those of before replayed.",
    )

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("name what is to be changed")
        return self


class RotateIn(JsonBody):
    """How long the old secret is to hold beside the new one."""

    overlap_s: int = Field(
        DAY_S,
        ge=0,
        le=30 * DAY_S,
        description="Seconds for which events are signed with both. 0: the old one ends at once.",
    )


class ReplayIn(JsonBody):
    """What is to be sent again."""

    since: Moment = Field(description="Events from this moment on.")
    delivered_too: bool = Field(
        default=False, description="Whether events that arrived are sent again as well."
    )


class WebhookPath(Incoming):
    webhook_id: uuid.UUID


class DeliveryPath(Incoming):
    delivery_id: uuid.UUID


class DeliveriesQuery(PageQuery):
    """Which deliveries."""

    webhook: uuid.UUID | None = Field(None, description="To this webhook alone.")
    job: uuid.UUID | None = Field(None, description="Of this job's events, its callback included.")
    event: uuid.UUID | None = Field(None, description="Of this event.")
    state: DeliveryState | None = Field(None, description="That stand so.")


class WebhookOut(Outgoing):
    """A URL that gets events."""

    PASSING: ClassVar = {"failing_since", "previous_secret_until"}
    """What deliveries and the clock change. A rotation shows in `changed_at` too."""

    id: uuid.UUID
    url: str
    events: list[EventType]
    subjects: list[uuid.UUID]
    enabled: bool
    disabled_reason: DisabledReason | None = Field(
        description="`owner`: it was switched off; `gone`: it answered 410; `failing`: nothing "
        "arrived for five days."
    )
    disabled_at: dt.datetime | None
    failing_since: dt.datetime | None = Field(description="Since when nothing arrives.")
    previous_secret_until: dt.datetime | None = Field(
        description="Until when events are signed with the secret before this one too."
    )
    created_at: dt.datetime
    changed_at: dt.datetime

    @classmethod
    def of(cls, view: EndpointView, **more: str) -> Self:
        """From what the query returned."""
        return cls(
            id=view.id,
            url=view.url,
            events=list(view.event_types),
            subjects=list(view.subject_ids),
            enabled=view.is_enabled,
            disabled_reason=view.disabled_reason,
            disabled_at=view.disabled_at,
            failing_since=view.failing_since,
            previous_secret_until=view.previous_until,
            created_at=view.created_at,
            changed_at=view.changed_at,
            **more,
        )


class WebhookWithSecretOut(WebhookOut):
    """A webhook with its secret, which is shown this once."""

    PASSING: ClassVar = {*WebhookOut.PASSING, "secret"}
    """And what no reader is shown: its tag is that of the webhook."""

    secret: str = Field(description="`whsec_…`; verify signatures with it. It is not shown again.")


class WebhooksOut(Outgoing):
    """A page of webhooks, the oldest first."""

    webhooks: list[WebhookOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class TestedOut(Outgoing):
    """A test that is on its way."""

    event: uuid.UUID = Field(description="Its `webhook-id`; deliveries can be asked for by it.")


class ReplayedOut(Outgoing):
    """What is sent again."""

    deliveries: int = Field(description="How many events that is.")


class AttemptOut(Outgoing):
    """One attempt to deliver an event."""

    attempt: int
    began_at: dt.datetime
    latency_ms: int
    status: int | None = Field(description="Of the answer; null where there was none.")
    error: str | None = Field(description="Null: it arrived. Else why it did not.")
    answer: str = Field(description="The first 1,000 bytes of the answer's body.")

    @classmethod
    def of(cls, view: AttemptView) -> Self:
        """From what the query returned."""
        return cls(
            attempt=view.attempt,
            began_at=view.began_at,
            latency_ms=view.latency_ms,
            status=view.status,
            error=view.error_code,
            answer=view.answer,
        )


class DeliveryOut(Outgoing):
    """An event on its way to a webhook, or to the callback URL of its job."""

    id: uuid.UUID
    event: uuid.UUID = Field(description="The same over all attempts: the header `webhook-id`.")
    type: EventType
    sequence: int
    job: uuid.UUID | None
    webhook: uuid.UUID | None = Field(description="Null: it goes to the job's callback URL.")
    state: DeliveryState
    next_attempt_at: dt.datetime | None
    error: str | None = Field(description="Why the latest attempt failed, or why there is none.")
    created_at: dt.datetime
    finished_at: dt.datetime | None
    attempts: list[AttemptOut] = Field(description="The latest first, 20 at the most.")

    @classmethod
    def of(cls, view: DeliveryView) -> Self:
        """From what the query returned."""
        return cls(
            id=view.id,
            event=view.event_id,
            type=view.type,
            sequence=view.sequence,
            job=view.job_id,
            webhook=view.endpoint_id,
            state=view.state,
            next_attempt_at=view.due_at if view.state is DeliveryState.WAITING else None,
            error=view.error_code,
            created_at=view.created_at,
            finished_at=view.finished_at,
            attempts=[AttemptOut.of(one) for one in view.attempts],
        )


class DeliveriesOut(Outgoing):
    """A page of deliveries, the latest first."""

    deliveries: list[DeliveryOut]
    next_cursor: str | None = Field(description="For the next page; null at the end.")


class CallbackSecretOut(Outgoing):
    """The secret that callbacks are signed with, without itself."""

    created_at: dt.datetime
    previous_secret_until: dt.datetime | None = Field(
        description="Until when callbacks are signed with the secret before this one too."
    )

    @classmethod
    def of(cls, view: CallbackSecretView, **more: str) -> Self:
        """From what the query returned."""
        return cls(created_at=view.created_at, previous_secret_until=view.previous_until, **more)


class NewCallbackSecretOut(CallbackSecretOut):
    """The secret itself, which is shown this once."""

    secret: str = Field(description="`whsec_…`; verify signatures with it. It is not shown again.")
