"""`facebatch jobs`: what was submitted, how it stands, and what is to become of it."""

from itertools import islice

import click

from cli.columns import table
from cli.commands.of_jobs.changes import CHANGES
from cli.commands.of_jobs.rematch import rematch
from cli.commands.of_jobs.show import show
from cli.job_options import given
from cli.numbers import Count
from cli.reaching import API, reached
from facebatch.client import Client
from facebatch.client.models.jobs import Job

COLUMNS = ("id", "kind", "state", "photos", "done", "no_face", "failed", "created")


@click.group(invoke_without_command=True, short_help="List jobs, and control them.")
@click.option(
    "--limit",
    type=Count(1, 100_000),
    default=20,
    show_default=True,
    metavar="N",
    help="Jobs to list, at the most.",
)
@API
@click.pass_context
def jobs(context: click.Context, limit: int, api_url: str | None) -> None:
    """List jobs, the latest first: a line each, in columns. Or show one, and control it."""
    if context.invoked_subcommand is not None:
        if flags := given("limit", "api_url"):
            raise click.UsageError(f"{flags[0]} goes behind {context.invoked_subcommand}")
        return
    with reached(api_url) as client:
        click.echo(_table(client, limit))


for command in (show, *CHANGES, rematch):
    jobs.add_command(command)


def _table(client: Client, limit: int) -> str:
    return table([COLUMNS, *map(_row, islice(client.jobs.list(), limit))])


def _row(job: Job) -> tuple[str, ...]:
    counts = job.counts.as_json()
    numbers = (str(counts[name]) for name in ("total", "done", "no_face", "failed"))
    created = f"{job.created_at:%Y-%m-%dT%H:%M:%S}Z"
    return (str(job.id), job.kind, job.state, *numbers, created)
