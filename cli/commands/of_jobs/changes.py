"""`facebatch jobs pause`, `resume`, `cancel` and `retry`."""

import uuid
from collections.abc import Callable

import click

from cli.job_view import AS_JSON, show
from cli.reaching import API, reached
from facebatch.client.jobs import JobCalls
from facebatch.client.models.jobs import Job


def _change(how: str, change_job: Callable[[JobCalls, uuid.UUID], Job], told: str) -> click.Command:
    """A command that has a job do this, and shows where it stands then."""

    @click.command(how, help=told, short_help=f"{told.partition(':')[0].rstrip('.')}.")
    @click.argument("job", type=click.UUID)
    @AS_JSON
    @API
    def change(job: uuid.UUID, api_url: str | None, *, as_json: bool) -> None:
        with reached(api_url) as client:
            show(client, change_job(client.jobs, job), as_json=as_json)

    return change


CHANGES = (
    _change(
        "pause",
        JobCalls.pause,
        "Pause a job: what was begun ends, and nothing further begins until it is resumed.",
    ),
    _change("resume", JobCalls.resume, "Let a paused job go on."),
    _change(
        "cancel",
        JobCalls.cancel,
        "Cancel a job: photos that have ended keep their results, the others are left alone.",
    ),
    _change(
        "retry", JobCalls.retry, "Try a job's failed photos again: the others keep their results."
    ),
)
