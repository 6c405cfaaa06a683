"""`facebatch search`: every photo of a job that shows somebody."""

import json
import uuid
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from cli.job_options import THRESHOLD
from cli.numbers import Count
from cli.reaching import API, reached
from cli.telling import warn
from cli.thresholds import sentence, wanted_threshold
from facebatch.client.models.faces import FoundPhoto, Search
from pipeline.names import spelt


@click.command(short_help="Find every photo of a job that shows somebody.")
@click.argument("job", type=click.UUID)
@click.option(
    "--probe",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PHOTO",
    help="A photo of whom to look for: its largest face. It is not kept.",
)
@click.option(
    "--face", type=Count(1, 2**63 - 1), metavar="ID", help="Instead: a face of the job's results."
)
@click.option("--subject", type=click.UUID, metavar="ID", help="Instead: a subject of any gallery.")
@THRESHOLD
@click.option(
    "--limit", type=Count(1, 10_000_000), metavar="N", help="Photos to list, at the most."
)
@click.option("--json", "as_json", is_flag=True, help="List them as lines of JSON.")
@API
def search(job: uuid.UUID, api_url: str | None, **chosen: Any) -> None:
    """Find every photo of a job that shows somebody, the nearest first.

    JOB is its id, as `facebatch jobs` lists it; it must have ended. A line each: the distance, the
    face's id, and the photo.
    """
    probe: Path | None = chosen["probe"]
    wanted = _wanted(chosen)
    with reached(api_url) as client:
        pages = client.faces.search_pages(job, photo=probe, **wanted)
        for one in islice(_photos(pages), chosen["limit"]):
            click.echo(json.dumps(one.as_json()) if chosen["as_json"] else _line(one))


def _wanted(chosen: dict[str, Any]) -> dict[str, Any]:
    """The fields of the request; raises `click.UsageError`."""
    if sum(chosen[name] is not None for name in ("probe", "face", "subject")) != 1:
        raise click.UsageError("say whom to look for: --probe, --face or --subject")
    threshold = wanted_threshold(
        None,
        distance=chosen["threshold_distance"],
        target_fmr=chosen["target_fmr"],
        target_fpir=chosen["target_fpir"],
    )
    named = {
        "threshold": threshold.distance,
        "target_fmr": threshold.target_fmr,
        "target_fpir": threshold.target_fpir,
        "face": chosen["face"],
        "subject": str(chosen["subject"]) if chosen["subject"] else None,
    }
    return {name: value for name, value in named.items() if value is not None}


def _photos(pages: Iterator[Search]) -> Iterator[FoundPhoto]:
    for n, page in enumerate(pages):
        if n == 0:
            warn(sentence(page.threshold, page.engine.name, among=("face", "faces")))
        yield from page.photos


def _line(photo: FoundPhoto) -> str:
    name = photo.client_id or photo.name
    return f"{photo.distance:.3f}  {photo.face.id:>8}  {spelt(name)}"
