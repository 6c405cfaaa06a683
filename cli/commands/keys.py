"""`facebatch keys`: who may call the HTTP API."""

import datetime as dt
import uuid
from collections.abc import Sequence

import click

from cli.columns import table
from cli.directory import TENANT, on_tenant, with_hashing_key
from cli.names import checked_name
from cli.numbers import Count
from cli.telling import warn
from db import api_keys
from db.api_keys import KeyView, MadeKey, NewKey
from db.scopes import Scope
from db.session import Session
from pipeline.names import spelt

MAX_DAYS = 3650
DAY_S = 24 * 3600
MAX_OVERLAP_S = 30 * DAY_S
PAGE = 1000
HEADING = ("id", "prefix", "name", "scopes", "state", "expires", "last used")


@click.group(short_help="Make, list, rotate and revoke API keys.")
def keys() -> None:
    """Make, list, rotate and revoke the keys with which programs call the HTTP API.

    Works on the database of DATABASE_URL, with the secret key of FACEBATCH_SECRET_KEY, or on the
    local stack's; where none is running, it starts one and stops it at the end.
    """


@keys.command()
@click.argument("name", callback=checked_name)
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([one.value for one in Scope]),
    multiple=True,
    required=True,
    help="What it may do; name each. None brings another with it.",
)
@click.option(
    "--days", type=Count(1, MAX_DAYS), metavar="N", help="Days after which it ends. Default: never."
)
@TENANT
def create(name: str, scopes: Sequence[str], days: int | None, tenant: str) -> None:
    """Make a key, called NAME. It goes to standard output, this once."""
    new = NewKey(
        name=name,
        scopes=[Scope(one) for one in scopes],
        valid_for=None if days is None else dt.timedelta(days=days),
    )
    _show(
        with_hashing_key(
            tenant,
            lambda session, tenant_id, hashing_key: api_keys.create_key(
                session, tenant_id, new, hashing_key
            ),
        )
    )


@keys.command("list")
@TENANT
def list_(tenant: str) -> None:
    """List keys, the oldest first, those that have ended included."""
    click.echo(table([HEADING, *map(_row, on_tenant(tenant, _all_keys))]))


@keys.command()
@click.argument("key", type=click.UUID)
@TENANT
def revoke(key: uuid.UUID, tenant: str) -> None:
    """Revoke a key, by its id, for good and at once."""
    on_tenant(tenant, lambda session, tenant_id: api_keys.revoke_key(session, tenant_id, key))


@keys.command()
@click.argument("key", type=click.UUID)
@click.option(
    "--overlap",
    "overlap_s",
    type=Count(0, MAX_OVERLAP_S),
    default=DAY_S,
    show_default=True,
    metavar="SECONDS",
    help="How long the old key is good yet.",
)
@TENANT
def rotate(key: uuid.UUID, overlap_s: int, tenant: str) -> None:
    """Make a key in place of another, named by its id. The new one goes to standard output."""
    _show(
        with_hashing_key(
            tenant,
            lambda session, tenant_id, hashing_key: api_keys.rotate_key(
                session,
                tenant_id,
                key,
                hashing_key,
                overlap=dt.timedelta(seconds=overlap_s),
            ),
        )
    )


def _all_keys(session: Session, tenant_id: int) -> list[KeyView]:
    found: list[KeyView] = []
    while page := api_keys.list_keys(
        session, tenant_id, after=found[-1].id if found else None, limit=PAGE
    ):
        found += page
    return found


def _show(made: MadeKey) -> None:
    click.echo(made.text)
    warn(f"keep the key: it is shown this once; its id is {made.view.id}")


def _row(key: KeyView) -> tuple[str, ...]:
    return (
        str(key.id),
        key.prefix,
        spelt(key.name),
        ",".join(key.scopes),
        key.state.value,
        _minute(key.expires_at),
        _minute(key.last_used_at),
    )


def _minute(moment: dt.datetime | None) -> str:
    return "-" if moment is None else f"{moment:%Y-%m-%d %H:%M}Z"
