"""Webhooks, what was delivered to them, and the secret of callbacks."""

import datetime as dt
from collections.abc import Iterator, Sequence

from facebatch.client.connection import Connection, headers_of, value_of
from facebatch.client.fields import Id, as_json
from facebatch.client.models.webhooks import (
    CallbackSecret,
    Deliveries,
    Delivery,
    DeliveryState,
    EventType,
    NewCallbackSecret,
    NewWebhook,
    Replayed,
    Tested,
    Webhook,
    Webhooks,
)

PATH = "/v1/webhooks"


class WebhookCalls:
    """`client.webhooks`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self, url: str, events: Sequence[EventType], *, subjects: Sequence[Id] = ()
    ) -> NewWebhook:
        """Has events sent to a URL. Keep the `secret`: it is shown this once."""
        body = as_json({"url": url, "events": events, "subjects": subjects})
        return self._connection.post(NewWebhook, PATH, json=body, once=True)

    def list(self) -> Iterator[Webhook]:
        """All webhooks, the oldest first."""
        return self._connection.pages(Webhooks, PATH)

    def get(self, webhook: Id) -> Webhook:
        """The webhook as it is now."""
        return self._connection.read(Webhook, f"{PATH}/{webhook}")

    def change(
        self,
        webhook: Id,
        *,
        url: str | None = None,
        events: Sequence[EventType] | None = None,
        subjects: Sequence[Id] | None = None,
        enabled: bool | None = None,
        if_match: str | None = None,
    ) -> Webhook:
        """Changes what is given, and leaves the rest."""
        asked = {"url": url, "events": events, "subjects": subjects, "enabled": enabled}
        response = self._connection.call(
            "PATCH",
            f"{PATH}/{webhook}",
            json=as_json(asked),
            headers=headers_of(if_match=if_match),
            # Done once, it is not any more as `if_match` says.
            repeat=if_match is None,
        )
        return value_of(Webhook, response)

    def delete(self, webhook: Id, *, if_match: str | None = None) -> None:
        """Deletes the webhook, with what waits for it."""
        self._connection.delete(f"{PATH}/{webhook}", if_match=if_match)

    def rotate(
        self, webhook: Id, *, overlap_s: int | None = None, if_match: str | None = None
    ) -> NewWebhook:
        """A new secret; for `overlap_s` events are signed with the old one too."""
        return self._connection.post(
            NewWebhook,
            f"{PATH}/{webhook}/rotate",
            json=as_json({"overlap_s": overlap_s}),
            headers=headers_of(if_match=if_match),
            once=True,
        )

    def test(self, webhook: Id) -> Tested:
        """Sends a test event."""
        return self._connection.post(Tested, f"{PATH}/{webhook}/test", once=True)

    def replay(
        self, webhook: Id, *, since: dt.datetime | str, delivered_too: bool = False
    ) -> Replayed:
        """Sends all events since a moment again that did not arrive."""
        moment = since.isoformat() if isinstance(since, dt.datetime) else since
        body = {"since": moment, "delivered_too": delivered_too}
        return self._connection.post(Replayed, f"{PATH}/{webhook}/replay", json=body, once=True)

    def deliveries(
        self,
        *,
        webhook: Id | None = None,
        job: Id | None = None,
        event: Id | None = None,
        state: DeliveryState | None = None,
    ) -> Iterator[Delivery]:
        """What was sent, the latest first."""
        asked = {"webhook": webhook, "job": job, "event": event, "state": state}
        return self._connection.pages(Deliveries, "/v1/deliveries", asked)

    def delivery(self, delivery: Id) -> Delivery:
        """How one delivery stands."""
        return self._connection.read(Delivery, f"/v1/deliveries/{delivery}")

    def replay_delivery(self, delivery: Id) -> Delivery:
        """Sends one event again."""
        path = f"/v1/deliveries/{delivery}/replay"
        return self._connection.post(Delivery, path, once=True)

    def callback_secret(self) -> CallbackSecret:
        """Since when there is a secret of callbacks; raises `NotFoundError` where there is none."""
        return self._connection.read(CallbackSecret, "/v1/callback-secret")

    def make_callback_secret(self, *, overlap_s: int | None = None) -> NewCallbackSecret:
        """The first secret of callbacks, or a new one. Keep it: it is shown this once."""
        body = as_json({"overlap_s": overlap_s})
        return self._connection.post(NewCallbackSecret, "/v1/callback-secret", json=body, once=True)
