"""Where a job stands, as lines for a person or as JSON for a script."""

import json
from collections.abc import Iterable, Iterator

import click

from cli.telling import counted
from facebatch.client import Client
from facebatch.client.models.files import Source
from facebatch.client.models.jobs import Job
from pipeline.names import spelt

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Tell it as a line of JSON.")


def show(client: Client, job: Job, *, as_json: bool) -> None:
    """Writes where the job stands, and its sources, to standard output."""
    sources = list(client.jobs.sources(job.id))
    if as_json:
        click.echo(json.dumps(job.as_json() | {"sources": [one.as_json() for one in sources]}))
        return
    for name, value in _lines(job, sources):
        click.echo(f"{name:<9} {value}")


def _lines(job: Job, sources: Iterable[Source]) -> Iterator[tuple[str, str]]:
    counts = job.counts.as_json()
    yield "id", str(job.id)
    yield "kind", job.kind
    yield "state", job.state + _but(job)
    numbers = ", ".join(f"{n} {state}" for state, n in counts.items() if n and state != "total")
    yield "photos", f"{counts['total']}" + (f": {numbers}" if numbers else "")
    if job.rate_per_s is not None:
        left_s = job.seconds_left
        yield "rate", f"{job.rate_per_s:.1f}/s" + (f", {left_s:.0f} s left" if left_s else "")
    for source in sources:
        yield "source", _source(source)


def _but(job: Job) -> str:
    """What the state alone does not say."""
    flags = {"paused": job.paused, "cancelling": job.cancelling}
    said = [word for word, holds in flags.items() if holds and not job.ended]
    if job.sealed_at is None:
        said.append("open for further photos")
    if job.round > 1:
        said.append(f"round {job.round}")
    return f" ({', '.join(said)})" if said else ""


def _source(source: Source) -> str:
    named = source.key or source.prefix or source.job or "a file that was sent"
    told = f"{source.kind} {spelt(str(named))}: {source.state}, {counted(source.photos, 'photo')}"
    if source.skipped:
        told += f", {source.skipped} passed over"
    if source.error is not None:
        told += f"; {source.error.detail} ({source.error.code})"
    return told
