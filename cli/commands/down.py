"""`facebatch down`: ends the local stack."""

import click

from cli.stack.control import stop_stack
from cli.stack.home import existing_home, home_errors, home_of
from db.settings import load_settings


@click.command(short_help="Stop the local stack.")
def down() -> None:
    """Stop the local stack of this home, and whatever an earlier one left running."""
    home = existing_home(home_of(load_settings()))
    if home is None:
        click.echo("The stack is not running.")
        return
    with home_errors(home.path):
        stopped = stop_stack(home)
    click.echo("The stack has stopped." if stopped else "The stack is not running.")
