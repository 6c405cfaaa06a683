"""`facebatch up`: the local stack, in the foreground."""

import click

from cli.stack.home import home_of, open_home
from cli.stack.supervisor import Supervisor
from db.settings import load_settings


@click.command()
@click.option("--temporary", is_flag=True, hidden=True, help="Stop when nobody uses it any more.")
def up(*, temporary: bool) -> None:
    """Serve until interrupted.

    Starts every part of the local stack, restarts what dies, and stops everything, in order, at
    Ctrl-C or SIGTERM. Parts whose address is set (DATABASE_URL, REDIS_URL, S3_ENDPOINT_URL) are
    not started. State lives below FACEBATCH_HOME.
    """
    settings = load_settings()
    Supervisor(settings, open_home(home_of(settings)), temporary=temporary).run()
