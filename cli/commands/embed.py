"""`facebatch embed`: the engine alone, without a stack."""

import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click

from cli.embedding.face_file import SUFFIXES, FaceFile, Failure, face_file
from cli.embedding.messages import Done, Orders
from cli.embedding.pool import Pool, in_order
from cli.numbers import Count, Number
from cli.scan import FolderError, FoundPhotos, find_photos
from cli.telling import counted, warn, warn_of_left_out
from db.settings import load_settings
from pipeline.engine_spec import EngineSpec
from pipeline.face_limits import MAX_MIN_FACE_PX, FaceLimits
from pipeline.specs import DEFAULT_ENGINE, ENGINE_SPECS, engine_spec

SHOWN_FAILURES = 5


def _known_form(_ctx: click.Context, _param: click.Parameter, out: Path) -> Path:
    if out.suffix.lower() not in SUFFIXES:
        raise click.BadParameter(f"{out} must end in {' or '.join(SUFFIXES)}, which says its form")
    return out


@click.command(short_help="Make embeddings of all faces of a folder, without a stack.")
@click.argument(
    "photos_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
)
@click.option(
    "--engine",
    type=click.Choice(sorted(ENGINE_SPECS)),
    default=DEFAULT_ENGINE.name,
    show_default=True,
    help="What finds faces and makes embeddings of them.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    callback=_known_form,
    metavar="FILE",
    help="Where they go: arrays for NumPy in a .npz, or a table in a .parquet.",
)
@click.option(
    "--workers",
    type=Count(1, 1024),
    metavar="N",
    help="Processes. Default: FACEBATCH_WORKERS, or one per core.",
)
@click.option(
    "--min-face-px",
    type=Count(0, MAX_MIN_FACE_PX),
    default=0,
    metavar="PX",
    help="Leave out faces that are narrower.",
)
@click.option(
    "--min-quality",
    type=Number(0, 1),
    default=0.0,
    metavar="Q",
    help="Leave out faces of a lower quality, from 0 to 1.",
)
def embed(  # noqa: PLR0917 - click calls it by name.
    photos_dir: Path,
    engine: str,
    out: Path,
    workers: int | None,
    min_face_px: int,
    min_quality: float,
) -> None:
    """Write photo, box, quality and embedding of every face below the folder DIR to FILE.

    Neither starts nor needs a stack. A photo that cannot be read stops nothing: it is told of at
    the end, and listed in FILE. Exit status: 0 when every photo came to its end, 1 when not, 2 for
    bad arguments, 128 and the signal's number when it was told to end; FILE is there whole, or as
    it was before.
    """
    settings = load_settings()
    photos = _photos_of(photos_dir)
    orders = Orders(
        engine=engine,
        models_dir=settings.models_dir,
        photos_dir=photos_dir.absolute(),
        max_pixels=settings.max_pixels,
        max_file_bytes=settings.max_upload_bytes,
        limits=FaceLimits(min_face_px=min_face_px, min_quality=min_quality),
    )
    with Pool(orders, photos.relative, workers or settings.worker_processes) as pool:
        pool.start()  # Engines take a while to load: nothing stands before it that can come after.
        with _written_to(out, engine_spec(engine), photos) as file:
            face_count, failures = _write(pool.results(), photos.relative, file)
    _tell(face_count, len(photos.relative), failures, out)


def _photos_of(folder: Path) -> FoundPhotos:
    try:
        photos = find_photos(folder)
    except FolderError as exc:
        raise click.UsageError(str(exc)) from exc
    warn_of_left_out(photos)
    return photos


@contextlib.contextmanager
def _written_to(out: Path, spec: EngineSpec, photos: FoundPhotos) -> Iterator[FaceFile]:
    with contextlib.ExitStack() as opened:
        try:
            file = opened.enter_context(face_file(out, spec, photos.relative))
        except OSError as exc:
            raise click.BadParameter(
                f"{out} cannot be written: {exc.strerror}", param_hint="--out"
            ) from exc
        yield file


def _write(
    results: Iterator[Done], photos: Sequence[str], file: FaceFile
) -> tuple[int, list[Failure]]:
    """Writes everything to `file`; returns how many faces, and which photos failed."""
    from cli.progress import Step, steps_for  # Its library takes long to load: see `embed`.

    face_count = 0
    failures: list[Failure] = []
    with Step(steps_for(sys.stderr), "embedding photos", len(photos)) as step:
        for done in in_order(_counted(results, step.at)):
            file.add(done.rows)
            face_count += len(done.rows)
            failures += (Failure(photo=photos[number], code=code) for number, code in done.failed)
        file.finish(failures)
    return face_count, failures


def _counted(results: Iterator[Done], show: Callable[[int], None]) -> Iterator[Done]:
    """Shows how many photos are done, in whatever order they are."""
    photo_count = 0
    for done in results:
        photo_count += done.photo_count
        show(photo_count)
        yield done


def _tell(face_count: int, photo_count: int, failures: Sequence[Failure], out: Path) -> None:
    stand = "is" if face_count == 1 else "are"
    warn(f"{counted(face_count, 'face')} of {counted(photo_count, 'photo')} {stand} in {out}")
    if not failures:
        return
    for failure in itertools.islice(failures, SHOWN_FAILURES):
        warn(f"{failure.photo} failed: {failure.code}")
    if len(failures) > SHOWN_FAILURES:
        codes = Counter(failure.code for failure in failures).most_common()
        by_code = ", ".join(f"{count} {code}" for code, count in codes)
        warn(f"{len(failures)} photos failed ({by_code}); {out} lists them all")
