"""`facebatch jobs show`."""

import uuid

import click

from cli.job_view import AS_JSON
from cli.job_view import show as show_job
from cli.reaching import API, reached
from cli.waiting import ended_job


@click.command(short_help="Show where a job stands.")
@click.argument("job", type=click.UUID)
@click.option("--wait", is_flag=True, help="Wait until the job has ended.")
@AS_JSON
@API
def show(job: uuid.UUID, api_url: str | None, *, wait: bool, as_json: bool) -> None:
    """Show where a job stands: its photos by state, its rate, and how far it is listed."""
    with reached(api_url) as client:
        found = ended_job(client, str(job)) if wait else client.jobs.get(job)
        show_job(client, found, as_json=as_json)
