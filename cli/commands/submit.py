"""`facebatch submit`: a folder, a zip, a manifest or what lies in a bucket becomes a job."""

from typing import Any

import click

from cli.numbers import Count
from cli.reaching import API, reached
from cli.stack.home import Home, home_of, open_home
from cli.stack.state import live_state
from cli.submitting.memory import memory_of
from cli.submitting.options import JOB, wanted_job
from cli.submitting.report import Report
from cli.submitting.run import Submitting
from cli.submitting.targets import InBucket, Target, target_of
from cli.telling import warn
from cli.waiting import SUCCEEDED, ended_job, tell_end
from db.settings import load_settings


@click.command(short_help="Send a folder, a zip or a place in a bucket as one job.")
@click.argument("target", metavar="DIR|FILE|URL")
@JOB
@click.option(
    "--parallel",
    "threads",
    type=Count(1, 64),
    default=4,
    show_default=True,
    metavar="N",
    help="Requests that send photos at the same time.",
)
@click.option("--new", "afresh", is_flag=True, help="Begin a new job, whatever was begun before.")
@click.option("--wait", is_flag=True, help="Wait until the job has ended.")
@click.option("--json", "as_json", is_flag=True, help="Tell everything as lines of JSON.")
@API
def submit(target: str, api_url: str | None, **chosen: Any) -> int:
    """Send a folder's photos as one job, or a zip, a manifest or what lies in a bucket.

    DIR is a folder, of which all photos are sent that the server does not know; FILE.zip is sent as
    it is, and so is a manifest, FILE.ndjson; s3://BUCKET/PREFIX, or a .zip or .ndjson in a bucket,
    is read by the server. Photos are looked up in the --gallery; see --detect and --enrol-as.

    Interrupted and run again, it goes on with the same job, and sends only what is missing. The
    job's id goes to standard output at once. Exit status: 0 when all photos are in the job, and
    with --wait when it has succeeded; 1 when not, 2 for bad arguments, 128 and the signal's number
    when it was told to end.
    """
    found = target_of(target)
    wanted = wanted_job(chosen)
    home = open_home(home_of(load_settings()))
    report = Report(as_json=chosen["as_json"])
    with memory_of(home, _name(found), api_url) as memory, reached(api_url) as client:
        submitting = Submitting(
            client=client,
            memory=memory,
            wanted=wanted.fields(client),
            report=report,
            threads=chosen["threads"],
            afresh=chosen["afresh"],
        )
        job = client.jobs.get(submitting.run(found))
        report.submitted()
        if chosen["wait"]:
            job = ended_job(client, str(job.id))
            tell_end(client, job)
        elif api_url is None:
            _warn_of_end(home)
        report.end(job)
    is_well = job.state == SUCCEEDED or not chosen["wait"]
    return 0 if is_well and not report.n_refused else 1


def _name(target: Target) -> str:
    return target.url if isinstance(target, InBucket) else str(target.path)


def _warn_of_end(home: Home) -> None:
    """Says that nothing will be done for the job, where the stack was started for this command."""
    view = live_state(home)
    if view is not None and view.temporary:
        warn("the job goes on when the local stack runs: `facebatch up`, or submit with --wait")
