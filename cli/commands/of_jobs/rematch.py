"""`facebatch jobs rematch`."""

import uuid
from typing import Any

import click

from cli.job_options import GALLERIES, LIMITS, PRIORITY, THRESHOLD, TOP
from cli.reaching import API, reached
from cli.submitting.options import identification
from cli.submitting.wanted import WantedJob
from pipeline.face_limits import FaceLimits


@click.command(short_help="Match a job's photos again.")
@click.argument("job", type=click.UUID)
@GALLERIES
@THRESHOLD
@TOP
@LIMITS
@PRIORITY
@API
def rematch(job: uuid.UUID, api_url: str | None, **chosen: Any) -> None:
    """Match the photos of a job that has ended again, against a gallery as it is now.

    Writes the id of the new job. Photos that the gallery's engine has searched are not read again.
    """
    wanted = WantedJob(
        what=identification(chosen),
        limits=FaceLimits(min_face_px=chosen["min_face_px"], min_quality=chosen["min_quality"]),
        priority=chosen["priority"],
    )
    with reached(api_url) as client:
        # In steps, of which each may be asked for again where its answer is lost.
        made = client.jobs.open(**wanted.fields(client)).id
        client.jobs.add_source(made, {"kind": "job", "job": job})
        client.jobs.seal(made)
        click.echo(made)
