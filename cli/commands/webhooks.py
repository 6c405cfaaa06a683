"""`facebatch webhooks`: who is told of what, whether that arrives, and having it sent again."""

import json
import uuid
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TypeVar

import click

from cli.columns import table
from cli.numbers import Count
from cli.reaching import API, reached
from facebatch.client.models.base import Answer
from facebatch.client.models.webhooks import Delivery, EventType, Webhook

AS_JSON = click.option("--json", "as_json", is_flag=True, help="A JSON object a line.")
WEBHOOK = click.argument("webhook", type=click.UUID)
Told = TypeVar("Told", bound=Answer)
EVENTS = ("job.completed", "job.failed", "job.progress", "match.found", "endpoint.disabled")


@click.group(short_help="Have events sent to a URL, and see whether they arrive.")
def webhooks() -> None:
    """Have events sent to a URL, and see whether they arrive."""


@webhooks.command("list", short_help="List webhooks.")
@AS_JSON
@API
def list_webhooks(api_url: str | None, *, as_json: bool) -> None:
    """List webhooks, the oldest first."""
    with reached(api_url) as client:
        found = list(client.webhooks.list())
    _tell(found, ("id", "state", "events", "url"), _webhook, as_json=as_json)


@webhooks.command(short_help="Have events sent to a URL.")
@click.argument("url")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice(EVENTS),
    default=("job.completed",),
    show_default=True,
    help="A type of events that it gets; more than once for several.",
)
@click.option(
    "--subject",
    "subjects",
    multiple=True,
    type=click.UUID,
    metavar="ID",
    help="For match.found: a subject of whose matches it is told; more than once for several.",
)
@AS_JSON
@API
def create(
    url: str,
    events: Sequence[EventType],
    subjects: Sequence[uuid.UUID],
    api_url: str | None,
    *,
    as_json: bool,
) -> None:
    """Have events sent to a URL. Its secret, to verify them with, is shown this once."""
    with reached(api_url) as client:
        made = client.webhooks.create(url, events, subjects=subjects)
    secret = made.secret.get_secret_value()
    if as_json:
        click.echo(json.dumps(made.as_json() | {"secret": secret}))
        return
    click.echo(f"webhook {made.id}")
    click.echo(f"secret  {secret}  (it is not shown again)")


@webhooks.command(short_help="Delete a webhook.")
@WEBHOOK
@API
def delete(webhook: uuid.UUID, api_url: str | None) -> None:
    """Delete a webhook, with what waits for it."""
    with reached(api_url) as client:
        client.webhooks.delete(webhook)


@webhooks.command(short_help="Give a webhook a new secret.")
@WEBHOOK
@click.option(
    "--overlap",
    "overlap_s",
    type=Count(0, 30 * 86_400),
    default=86_400,
    show_default=True,
    metavar="SECONDS",
    help="How long events are signed with the old one too.",
)
@API
def rotate(webhook: uuid.UUID, overlap_s: int, api_url: str | None) -> None:
    """Give a webhook a new secret, which is shown this once."""
    with reached(api_url) as client:
        changed = client.webhooks.rotate(webhook, overlap_s=overlap_s)
    click.echo(f"secret  {changed.secret.get_secret_value()}  (it is not shown again)")


@webhooks.command(short_help="Send a test event to a webhook.")
@WEBHOOK
@API
def test(webhook: uuid.UUID, api_url: str | None) -> None:
    """Send a test event to a webhook; `deliveries` shows whether it has arrived."""
    with reached(api_url) as client:
        sent = client.webhooks.test(webhook)
    click.echo(f"event   {sent.event}")


@webhooks.command(short_help="Send events to a webhook again.")
@WEBHOOK
@click.option(
    "--since",
    required=True,
    metavar="TIME",
    help="Events from this moment on, like 2026-01-31T12:00:00Z.",
)
@click.option("--delivered-too", is_flag=True, help="Those that have arrived as well.")
@API
def replay(webhook: uuid.UUID, since: str, api_url: str | None, *, delivered_too: bool) -> None:
    """Send all events since a moment again that did not arrive."""
    with reached(api_url) as client:
        sent = client.webhooks.replay(webhook, since=since, delivered_too=delivered_too)
    click.echo(f"events  {sent.deliveries}")


@webhooks.command(short_help="List what was sent, and with what answer.")
@click.option("--webhook", type=click.UUID, metavar="ID", help="To this webhook alone.")
@click.option("--job", type=click.UUID, metavar="ID", help="Of this job's events alone.")
@click.option(
    "--limit",
    type=Count(1, 100_000),
    default=20,
    show_default=True,
    metavar="N",
    help="Deliveries to list, at the most.",
)
@AS_JSON
@API
def deliveries(
    webhook: uuid.UUID | None,
    job: uuid.UUID | None,
    limit: int,
    api_url: str | None,
    *,
    as_json: bool,
) -> None:
    """List what was sent, the latest first, and with what answer."""
    with reached(api_url) as client:
        found = list(islice(client.webhooks.deliveries(webhook=webhook, job=job), limit))
    columns = ("id", "type", "state", "attempts", "status", "error", "created")
    _tell(found, columns, _delivery, as_json=as_json)


def _webhook(one: Webhook) -> tuple[str, ...]:
    state = "enabled" if one.enabled else f"disabled ({one.disabled_reason})"
    return str(one.id), state, ",".join(one.events), one.url


def _delivery(one: Delivery) -> tuple[str, ...]:
    status = one.attempts[0].status if one.attempts else None
    return (
        *(str(one.id), one.type, one.state, str(len(one.attempts))),
        *(str(status or "-"), one.error or "-", f"{one.created_at:%Y-%m-%dT%H:%M:%S}Z"),
    )


def _tell(
    found: Sequence[Told],
    columns: tuple[str, ...],
    row: Callable[[Told], tuple[str, ...]],
    *,
    as_json: bool,
) -> None:
    if as_json:
        for one in found:
            click.echo(json.dumps(one.as_json()))
        return
    click.echo(table([columns, *map(row, found)]))
