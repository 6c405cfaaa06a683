"""Names on the command line: those that the API would take."""

import click
from pydantic import TypeAdapter, ValidationError

from web.schemas.base import Name


def checked_name(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    """The name, for an option or an argument; raises `click.BadParameter`."""
    try:
        return TypeAdapter[str](Name).validate_python(value)
    except ValidationError as exc:
        raise click.BadParameter(exc.errors()[0]["msg"]) from exc
