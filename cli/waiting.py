"""Waiting for a job to end, and telling how it did."""

import sys
import time

from cli.progress import Step, steps_for
from cli.telling import warn
from facebatch.client import Client
from facebatch.client.models.jobs import Job

POLL_S = 0.5
SUCCEEDED = "succeeded"


def ended_job(client: Client, job_id: str) -> Job:
    """The job once it has ended; shows meanwhile how far it is."""
    job = client.jobs.get(job_id)
    paused = False
    with Step(steps_for(sys.stderr), "photos of the job", job.counts.total) as step:
        while True:
            step.at(job.counts.ended, job.counts.total)
            if job.ended:
                return job
            if job.paused and not paused:
                warn(f"the job is paused; `facebatch jobs resume {job_id}` lets it go on")
            paused = job.paused
            time.sleep(POLL_S)
            job = client.jobs.get(job_id)


def tell_end(client: Client, job: Job) -> None:
    """Says how the job ended, and which of its sources could not be listed."""
    numbers = ", ".join(f"{count} {name}" for name, count in job.counts.as_json().items() if count)
    warn(f"the job is {job.state}: {numbers or 'no photos'}")
    for source in client.jobs.sources(job.id):
        if source.error is not None:
            warn(f"its {source.kind} was not listed to its end: {source.error.detail}")
