"""`facebatch status`: how the local stack stands."""

import click

from cli.stack.control import describe
from cli.stack.home import existing_home, home_errors, home_of
from db.settings import load_settings


@click.command(short_help="Show the parts and where the API listens.")
@click.pass_context
def status(context: click.Context) -> None:
    """Show the parts of the local stack and where its API listens.

    Exit status: 0 when every part runs, 1 when not.
    """
    path = home_of(load_settings())
    with home_errors(path):
        text, healthy = describe(existing_home(path))
    click.echo(text)
    context.exit(0 if healthy else 1)
