"""`facebatch match`: who is in these photos?"""

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

import click

from cli.files import whole_file
from cli.job_options import ENGINE, LIMITS, MULTIPLE_FACES, THRESHOLD, TOP
from cli.matching import MatchedPhoto, Matcher, MatchOptions
from cli.output import stdout, write_jsonl, writer_for
from cli.progress import steps_for
from cli.reaching import client_of
from cli.scan import FolderError, FoundPeople, FoundPhotos, find_people, find_photos
from cli.stack.session import running_stack
from cli.telling import warn, warn_of_left_out
from cli.thresholds import wanted_threshold
from db.settings import Settings, load_settings
from facebatch.client.models.jobs import MultipleFaces
from pipeline.face_limits import FaceLimits

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option(
    "--people",
    "people_dir",
    type=FOLDER,
    required=True,
    metavar="DIR",
    help="Who to look for: a sub-folder per person, or photos named for them.",
)
@click.option(
    "--photos",
    "photos_dir",
    type=FOLDER,
    required=True,
    metavar="DIR",
    help="Where to look: all photos below this folder.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE: CSV where it ends in .csv, else JSON lines. Default: standard output.",
)
@ENGINE
@THRESHOLD
@TOP
@MULTIPLE_FACES
@LIMITS
def match(  # noqa: PLR0917 - click calls it by name.
    people_dir: Path,
    photos_dir: Path,
    out: Path | None,
    engine: str,
    threshold_distance: float | None,
    target_fmr: float | None,
    target_fpir: float | None,
    top_k: int,
    multiple_faces: MultipleFaces,
    min_face_px: int,
    min_quality: float,
) -> None:
    """Find the people of one folder in the photos of another.

    Uses the local stack of this home; where none is running, it starts one and stops it at the
    end. Exit status: 0 when every photo has its result, 1 when not, 2 for bad arguments, 128 and
    the signal's number when it was told to end.
    """
    threshold = wanted_threshold(
        engine, distance=threshold_distance, target_fmr=target_fmr, target_fpir=target_fpir
    )
    options = MatchOptions(
        engine=engine,
        threshold=threshold,
        top_k=top_k,
        multiple_faces=multiple_faces,
        limits=FaceLimits(min_face_px=min_face_px, min_quality=min_quality),
    )
    settings = load_settings()
    people, photos = folders_of(people_dir, photos_dir)
    _refuse_to_overwrite(out, people, photos)
    with (
        _written_to(out) as write,
        matched_photos(settings, people, photos, options) as results,
    ):
        write(results)


def folders_of(people_dir: Path, photos_dir: Path) -> tuple[FoundPeople, FoundPhotos]:
    """What the folders hold; warns of what is left out, and raises `click.UsageError`."""
    try:
        people, photos = find_people(people_dir), find_photos(photos_dir)
    except FolderError as exc:
        raise click.UsageError(str(exc)) from exc
    for name in people.empty:
        warn(f"{people_dir / name} holds no photo, so nobody is looked for by that name")
    warn_of_left_out(people, photos)
    return people, photos


@contextlib.contextmanager
def matched_photos(
    settings: Settings, people: FoundPeople, photos: FoundPhotos, options: MatchOptions
) -> Iterator[Iterator[MatchedPhoto]]:
    """Runs the match on a stack that is there or is started for it; yields the results."""
    with (
        running_stack(settings) as stack,
        client_of(stack.api_url, settings) as client,
        Matcher(client, steps_for(sys.stderr), warn).matched(people, photos, options) as results,
    ):
        yield results


def _refuse_to_overwrite(out: Path | None, people: FoundPeople, photos: FoundPhotos) -> None:
    """Raises `click.BadParameter` where the result would take the place of a photo."""
    if out is None or not out.exists():
        return
    for path in itertools.chain(*people.photos.values(), map(photos.path, photos.relative)):
        # A photo may be a link that leads nowhere.
        with contextlib.suppress(OSError):
            if out.samefile(path):
                raise click.BadParameter(f"{out} is one of the photos", param_hint="--out")


@contextlib.contextmanager
def _written_to(out: Path | None) -> Iterator[Callable[[Iterable[MatchedPhoto]], None]]:
    """What writes the results. It is opened first: no hours of work end at a folder that is not."""
    if out is None:
        if (stream := stdout()) is None:
            raise click.UsageError("standard output is closed; name a file with --out")
        yield lambda photos: _write_through(photos, stream)
        return
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(whole_file(out))
        except OSError as exc:
            raise click.BadParameter(
                f"{out} cannot be written: {exc.strerror}", param_hint="--out"
            ) from exc
        yield lambda photos: writer_for(out)(photos, file)


def _write_through(photos: Iterable[MatchedPhoto], stream: TextIO) -> None:
    write_jsonl(photos, stream)
    stream.flush()
