"""Webhooks: who is told of what, how that went, and having it told again."""

import datetime as dt
from http import HTTPStatus

from flask import Response, url_for

from db.session import Session, retried, transaction
from db.webhooks import endpoints, log
from db.webhooks.endpoints import EndpointChange, NewEndpoint
from db.webhooks.log import WantedDeliveries
from db.webhooks.secrets import shown
from web.answers import POLL_AFTER_S, answer
from web.claims import kept
from web.conditions import expect, tagged
from web.openapi import WEBHOOKS, blueprint, problems
from web.paging import cursors, page_of
from web.schemas.base import IfMatchHeader, IfNoneMatchHeader, PageQuery
from web.schemas.webhooks import (
    CallbackSecretOut,
    DeliveriesOut,
    DeliveriesQuery,
    DeliveryOut,
    DeliveryPath,
    NewCallbackSecretOut,
    ReplayedOut,
    ReplayIn,
    RotateIn,
    TestedOut,
    WebhookIn,
    WebhookOut,
    WebhookPatch,
    WebhookPath,
    WebhooksOut,
    WebhookWithSecretOut,
)
from web.services import services

api = blueprint("webhooks", __name__, WEBHOOKS)


@api.post(
    "/webhooks",
    description="The answer has its secret, which is not shown again.",
    responses={201: WebhookWithSecretOut, **problems(400, 404, 409, 415, 422, 503)},
)
def create_webhook(body: WebhookIn) -> Response:
    """Have events sent to a URL."""
    here = services()
    here.webhook_targets.check_url(body.url)
    new = NewEndpoint(url=body.url, event_types=body.events, subject_ids=set(body.subjects))

    def work(session: Session) -> Response:
        made, secret = endpoints.create_endpoint(session, here.tenant_id, new, here.webhook_secrets)
        location = url_for("webhooks.read_webhook", webhook_id=made.id)
        out = WebhookWithSecretOut.of(made, secret=shown(secret))
        return kept(session, tagged(out, HTTPStatus.CREATED, Location=location))

    return retried(here.database, work)


@api.get("/webhooks", responses={200: WebhooksOut, **problems(400, 422, 503)})
def list_webhooks(query: PageQuery) -> Response:
    """List webhooks, the oldest first."""
    here = services()
    pages = cursors(here)
    with transaction(here.database) as session:
        found = endpoints.list_endpoints(
            session, here.tenant_id, after=pages.next_id(query.cursor), limit=query.limit + 1
        )
    page, more = page_of(found, query.limit)
    body = WebhooksOut(
        webhooks=[WebhookOut.of(one) for one in page],
        next_cursor=pages.behind(page[-1].id) if more else None,
    )
    return answer(body)


@api.get(
    "/webhooks/<uuid:webhook_id>", responses={200: WebhookOut, 304: None, **problems(404, 503)}
)
def read_webhook(path: WebhookPath, header: IfNoneMatchHeader) -> Response:  # noqa: ARG001 - described.
    """Read a webhook."""
    here = services()
    with transaction(here.database) as session:
        found = endpoints.get_endpoint(session, here.tenant_id, path.webhook_id)
    return tagged(WebhookOut.of(found))


@api.patch(
    "/webhooks/<uuid:webhook_id>",
    description="What waits for it goes to its new URL.",
    responses={200: WebhookOut, **problems(400, 404, 415, 422, 503)},
)
def change_webhook(path: WebhookPath, header: IfMatchHeader, body: WebhookPatch) -> Response:  # noqa: ARG001 - described.
    """Change a webhook: its URL, what it gets, or whether it gets anything."""
    here = services()
    if body.url is not None:
        here.webhook_targets.check_url(body.url)
    change = EndpointChange(
        url=body.url,
        event_types=body.events,
        subject_ids=None if body.subjects is None else set(body.subjects),
        enabled=body.enabled,
    )

    def work(session: Session) -> Response:
        _expect(session, here.tenant_id, path)
        changed = endpoints.change_endpoint(session, here.tenant_id, path.webhook_id, change)
        return tagged(WebhookOut.of(changed))

    return retried(here.database, work)


@api.delete("/webhooks/<uuid:webhook_id>", responses={204: None, **problems(404, 503)})
def delete_webhook(path: WebhookPath, header: IfMatchHeader) -> Response:  # noqa: ARG001 - described.
    """Delete a webhook, with what was and what is to be delivered to it."""
    here = services()

    def work(session: Session) -> None:
        _expect(session, here.tenant_id, path)
        endpoints.delete_endpoint(session, here.tenant_id, path.webhook_id)

    retried(here.database, work)
    return Response(status=HTTPStatus.NO_CONTENT)


@api.post(
    "/webhooks/<uuid:webhook_id>/rotate",
    description="The answer has the new secret, which is not shown again. Until the overlap is "
    "over, events have a signature of each.",
    responses={200: WebhookWithSecretOut, **problems(400, 404, 415, 422, 503)},
)
def rotate_secret(path: WebhookPath, header: IfMatchHeader, body: RotateIn) -> Response:  # noqa: ARG001 - described.
    """Give a webhook a new secret."""
    here = services()

    def work(session: Session) -> Response:
        _expect(session, here.tenant_id, path)
        changed, secret = endpoints.rotate_secret(
            session,
            here.tenant_id,
            path.webhook_id,
            here.webhook_secrets,
            overlap=dt.timedelta(seconds=body.overlap_s),
        )
        return kept(session, tagged(WebhookWithSecretOut.of(changed, secret=shown(secret))))

    return retried(here.database, work)


@api.post(
    "/webhooks/<uuid:webhook_id>/test",
    description="The event is of type `endpoint.test`, and is tried again as any other.",
    responses={202: TestedOut, **problems(404, 409, 503)},
)
def test_webhook(path: WebhookPath) -> Response:
    """Have an event sent to a webhook, to see whether it arrives."""
    here = services()

    def work(session: Session) -> Response:
        event_id = endpoints.test_endpoint(session, here.tenant_id, path.webhook_id)
        return kept(session, answer(TestedOut(event=event_id), HTTPStatus.ACCEPTED))

    return retried(here.database, work)


@api.post(
    "/webhooks/<uuid:webhook_id>/replay",
    description="Each under its own id and sequence. Events that happened while it was disabled "
    "are among them.",
    responses={202: ReplayedOut, **problems(400, 404, 409, 415, 422, 503)},
)
def replay_since(path: WebhookPath, body: ReplayIn) -> Response:
    """Have all events since a moment sent again that did not arrive, or all there were."""
    here = services()

    def work(session: Session) -> Response:
        count = log.replay_since(
            session,
            here.tenant_id,
            path.webhook_id,
            body.since,
            delivered_too=body.delivered_too,
        )
        return kept(session, answer(ReplayedOut(deliveries=count), HTTPStatus.ACCEPTED))

    return retried(here.database, work)


@api.get("/deliveries", responses={200: DeliveriesOut, **problems(400, 422, 503)})
def list_deliveries(query: DeliveriesQuery) -> Response:
    """List what was sent to webhooks and callback URLs, the latest first."""
    here = services()
    pages = cursors(here)
    wanted = WantedDeliveries(
        endpoint_id=query.webhook, job_id=query.job, event_id=query.event, state=query.state
    )
    with transaction(here.database) as session:
        found = log.list_deliveries(
            session,
            here.tenant_id,
            wanted,
            before=pages.next_id(query.cursor),
            limit=query.limit + 1,
        )
    page, more = page_of(found, query.limit)
    body = DeliveriesOut(
        deliveries=[DeliveryOut.of(one) for one in page],
        next_cursor=pages.behind(page[-1].id) if more else None,
    )
    return answer(body)


@api.get("/deliveries/<uuid:delivery_id>", responses={200: DeliveryOut, **problems(404, 503)})
def read_delivery(path: DeliveryPath) -> Response:
    """Read how a delivery went."""
    here = services()
    with transaction(here.database) as session:
        found = log.get_delivery(session, here.tenant_id, path.delivery_id)
    return answer(DeliveryOut.of(found))


@api.post(
    "/deliveries/<uuid:delivery_id>/replay",
    responses={202: DeliveryOut, **problems(404, 409, 503)},
)
def replay_delivery(path: DeliveryPath) -> Response:
    """Have a delivery sent again, whether it arrived or not, with all its attempts anew."""
    here = services()

    def work(session: Session) -> Response:
        again = log.replay(session, here.tenant_id, path.delivery_id)
        response = answer(
            DeliveryOut.of(again),
            HTTPStatus.ACCEPTED,
            Location=url_for("webhooks.read_delivery", delivery_id=again.id),
            Retry_After=str(POLL_AFTER_S),
        )
        return kept(session, response)

    return retried(here.database, work)


@api.post(
    "/callback-secret",
    description="The first, or a new one: then callbacks have a signature of each until the "
    "overlap is over. The answer has the secret, which is not shown again.",
    responses={200: NewCallbackSecretOut, **problems(400, 415, 422, 503)},
)
def make_callback_secret(body: RotateIn) -> Response:
    """Make the secret that the callbacks of single jobs are signed with."""
    here = services()

    def work(session: Session) -> Response:
        made, secret = endpoints.rotate_callback_secret(
            session,
            here.tenant_id,
            here.webhook_secrets,
            overlap=dt.timedelta(seconds=body.overlap_s),
        )
        return kept(session, answer(NewCallbackSecretOut.of(made, secret=shown(secret))))

    return retried(here.database, work)


@api.get("/callback-secret", responses={200: CallbackSecretOut, **problems(404, 503)})
def read_callback_secret() -> Response:
    """Read since when there is a secret for callbacks; not the secret."""
    here = services()
    with transaction(here.database) as session:
        found = endpoints.callback_secret(session, here.tenant_id)
    return answer(CallbackSecretOut.of(found))


def _expect(session: Session, tenant_id: int, path: WebhookPath) -> None:
    """That it is as the request says, until the commit; raises `PreconditionFailedError`."""
    expect(lambda: WebhookOut.of(endpoints.hold_endpoint(session, tenant_id, path.webhook_id)))
