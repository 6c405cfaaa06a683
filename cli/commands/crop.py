"""`facebatch crop`: a face of a job as a picture."""

import uuid
from pathlib import Path

import click

from cli.files import whole_binary_file
from cli.numbers import Count, Number
from cli.reaching import API, reached


@click.command(short_help="Cut a face out of its photo.")
@click.argument("job", type=click.UUID)
@click.argument("face", type=Count(1, 2**63 - 1))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="FILE",
    help="The JPEG to write.",
)
@click.option(
    "--margin",
    type=Number(0, 2),
    default=0.25,
    show_default=True,
    metavar="M",
    help="What is added on each side, in widths and heights of the face.",
)
@click.option(
    "--size",
    type=Count(16, 1024),
    default=256,
    show_default=True,
    metavar="PX",
    help="The longest side, at the most.",
)
@API
def crop(
    job: uuid.UUID, face: int, api_url: str | None, *, out: Path, margin: float, size: int
) -> None:
    """Cut a face out of its photo: upright, and without EXIF data or a position.

    JOB is the job's id, FACE the face's, as `facebatch results` and `facebatch search` list it.
    """
    with reached(api_url) as client:
        picture = client.faces.crop(job, face, margin=margin, size_px=size)
    try:
        with whole_binary_file(out) as file:
            file.write(picture)
    except OSError as exc:
        raise click.BadParameter(
            f"{out} cannot be written: {exc.strerror}", param_hint="--out"
        ) from exc
