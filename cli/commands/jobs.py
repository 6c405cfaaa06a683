"""`facebatch jobs`: what was submitted, and how it stands."""

from itertools import islice

import click

from cli.client import Client, Json
from cli.numbers import Count
from cli.reaching import API, reached

COLUMNS = ("id", "kind", "state", "photos", "done", "no_face", "failed", "created")


@click.command(short_help="List jobs, the latest first.")
@click.option(
    "--limit",
    type=Count(1, 100_000),
    default=20,
    show_default=True,
    metavar="N",
    help="Jobs to list, at the most.",
)
@API
def jobs(limit: int, api_url: str | None) -> None:
    """List jobs, the latest first: a line each, in columns."""
    with reached(api_url) as client:
        click.echo(_table(client, limit))


def _table(client: Client, limit: int) -> str:
    rows = [COLUMNS, *map(_row, islice(client.jobs(), limit))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _row(job: Json) -> tuple[str, ...]:
    counts = job["counts"]
    numbers = (str(counts[name]) for name in ("total", "done", "no_face", "failed"))
    return (job["id"], job["kind"], job["state"], *numbers, job["created_at"][:19] + "Z")
