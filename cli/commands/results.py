"""`facebatch results`: all that came of a job, as a file or as sidecars beside the photos."""

import contextlib
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click

from cli.files import whole_binary_file
from cli.progress import Step, steps_for
from cli.reaching import API, reached
from cli.sidecars import Sidecars
from cli.telling import counted, warn
from db.exports.formats import OF_SUBJECTS, chunks_of
from db.exports.lines import Line
from db.states import ExportFormat
from facebatch.client import Client
from facebatch.client.models.base import Answer
from facebatch.client.models.jobs import Job

BINARY = (ExportFormat.PARQUET,)
"""Formats that no terminal should get."""
PAGE = 500


@click.command(short_help="Write what came of a job.")
@click.argument("job", type=click.UUID)
@click.option(
    "--format",
    "wanted",
    type=click.Choice([one.value for one in ExportFormat]),
    default=ExportFormat.JSONL.value,
    show_default=True,
    help="jsonl: a photo a line. csv, parquet: a face a row. xmp: sidecar files with the faces as "
    "regions. subjects.jsonl, subjects.csv: a subject a line.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FILE|DIR",
    help="Where it goes: a file, or for xmp the photos' folder. Default: standard output.",
)
@click.option(
    "--known-only",
    is_flag=True,
    help="For xmp: leave out the faces that are taken for nobody.",
)
@API
def results(
    job: uuid.UUID, wanted: str, out: Path | None, api_url: str | None, *, known_only: bool
) -> None:
    """Write all that came of a job.

    JOB is its id, as `facebatch jobs` lists it. While the job runs, its photos are written as they
    stand. A file appears when all is written, whole; until then it is as it was. Sidecars of other
    programs are left as they are. Exit status: 0 when all is written, 1 when not, 2 for bad
    arguments.
    """
    export_format = ExportFormat(wanted)
    _check(export_format, out, known_only=known_only)
    with contextlib.ExitStack() as opened:
        # The file first: no hour of reading ends at a folder that cannot be written.
        target = None if export_format is ExportFormat.XMP else opened.enter_context(_written(out))
        client = opened.enter_context(reached(api_url))
        pages = _Reading(client, str(job), export_format).pages()
        if target is None:
            assert out is not None  # noqa: S101 - see `_check`.
            _write_sidecars(pages, out, known_only=known_only)
            return
        for chunk in chunks_of(export_format, pages):
            target.write(chunk)
        target.flush()


def _check(export_format: ExportFormat, out: Path | None, *, known_only: bool) -> None:
    if known_only and export_format is not ExportFormat.XMP:
        raise click.UsageError(f"--known-only is for xmp, and not for {export_format.value}")
    if out is None and export_format in {*BINARY, ExportFormat.XMP}:
        raise click.UsageError(f"{export_format.value} is not for a terminal; name --out")
    if export_format is ExportFormat.XMP and out is not None and not out.is_dir():
        raise click.BadParameter(f"{out} is no folder; xmp needs one", param_hint="--out")


@contextlib.contextmanager
def _written(out: Path | None) -> Iterator[BinaryIO]:
    """What takes the bytes; raises `click.UsageError` for what cannot."""
    if out is None:
        if sys.stdout is None:
            raise click.UsageError("standard output is closed; name a file with --out")
        yield sys.stdout.buffer
        return
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(whole_binary_file(out))
        except OSError as exc:
            raise click.BadParameter(
                f"{out} cannot be written: {exc.strerror}", param_hint="--out"
            ) from exc
        yield file


class _Reading:
    """A job's results, page by page; a server that is away meanwhile is waited for."""

    def __init__(self, client: Client, job_id: str, export_format: ExportFormat) -> None:
        self._client = client
        self._job_id = job_id
        self._of_subjects = export_format in OF_SUBJECTS

    def pages(self) -> Iterator[Sequence[Line]]:
        job = self._client.jobs.get(self._job_id)
        if not job.ended:
            warn(f"the job is {job.state}: {_not_ended(job)}")
        if self._of_subjects:
            yield from _grouped(self._client.jobs.subjects(self._job_id))
            return
        with Step(steps_for(sys.stderr), "results", job.counts.total) as step:
            done = 0
            for page in _grouped(self._client.jobs.results(self._job_id)):
                yield page
                done += len(page)
                step.at(done)


def _not_ended(job: Job) -> str:
    left = job.counts.total - job.counts.ended
    return f"{counted(left, 'photo')} of {job.counts.total} so far have no result"


def _grouped(answers: Iterable[Answer]) -> Iterator[list[Line]]:
    page: list[Line] = []
    for one in answers:
        page.append(one.as_json())
        if len(page) >= PAGE:
            yield page
            page = []
    if page:
        yield page


def _write_sidecars(pages: Iterable[Sequence[Line]], out: Path, *, known_only: bool) -> None:
    sidecars = Sidecars(out, unknown_faces=not known_only)
    for page in pages:
        for line in page:
            sidecars.write(line)
    for message in sidecars.told():
        warn(message)
