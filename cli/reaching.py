"""The server that a command speaks to: the one at an address, or the local stack's."""

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit

import click

from cli.stack.session import interrupts_told, running_stack
from cli.telling import warn
from db.settings import Settings, load_settings
from facebatch.client import Client

PATIENCE_S = 120.0
"""How long a server may be away: any part of a stack is back well before."""


def _checked(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise click.BadParameter(f"{value} is no address of a server; give http://HOST:PORT")
    return value


API = click.option(
    "--api",
    "api_url",
    callback=_checked,
    metavar="URL",
    help="The server to ask. Default: the local stack, which is started where it does not run.",
)
"""The option of commands that speak to a server."""


def client_of(api_url: str, settings: Settings) -> Client:
    """A client of the server, with the key of the settings; raises `click.UsageError`."""
    try:
        return Client(
            api_url,
            api_key=settings.api_key,
            patience_s=PATIENCE_S,
            endures_limits=True,
            tell=warn,
        )
    except ValueError as exc:
        raise click.UsageError(f"FACEBATCH_API_KEY or the address is wrong: {exc}") from exc


@contextlib.contextmanager
def reached(api_url: str | None) -> Iterator[Client]:
    """A client of the server at `api_url`, or of the local stack's. Raises `StackError`."""
    settings = load_settings()
    with contextlib.ExitStack() as opened:
        if api_url is None:
            api_url = opened.enter_context(running_stack(settings)).api_url
        else:
            opened.enter_context(interrupts_told())
        yield opened.enter_context(client_of(api_url, settings))
