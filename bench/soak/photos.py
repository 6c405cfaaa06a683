"""Distinct real photos to submit, and what the bare engine finds in each, undisturbed."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image

from bench.photos import DATA, below
from cli.sample import prepare_sample
from pipeline.errors import PhotoError
from pipeline.loader import load_engine
from pipeline.specs import DEFAULT_ENGINE

LONGEST_SIDE_PX = 400
FACELESS_EVERY = 20
"""Of so many photos one shows a corner of its original alone, where nobody is."""
TORN_EVERY = 50
"""Of so many photos one breaks off half-way."""
MAX_PIXELS = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakPhoto:
    """A file with bytes of its own."""

    name: str
    path: Path
    sha256: str
    """In hex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a photo shows: a number of faces, or the error with which it fails."""

    faces: int = 0
    error_code: str | None = None


def make_photos(folder: Path, count: int, rng: Random) -> list[SoakPhoto]:
    """`count` photos in `folder`, all different, each made anew of a real one."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = _sources(folder)
    rng.shuffle(sources)
    return [_made(folder, n, sources[n % len(sources)], rng) for n in range(count)]


def undisturbed(photos: Iterable[SoakPhoto], models_dir: Path) -> dict[str, Finding]:
    """What the engine finds in each photo when nothing is in its way, by the photo's hash."""
    return {photo.sha256: _finding(photo.path.read_bytes(), models_dir) for photo in photos}


def _sources(folder: Path) -> list[Path]:
    """The people of LFW where they are there, else the demo's sample."""
    people = below(DATA / "lfw" / "images")
    if people:
        return people
    sample = prepare_sample(folder.parent / "sample")
    return below(sample.photos_dir) + below(sample.people_dir)


def _made(folder: Path, number: int, source: Path, rng: Random) -> SoakPhoto:
    with Image.open(source) as opened:
        image = opened.convert("RGB")
    image.thumbnail((LONGEST_SIDE_PX, LONGEST_SIDE_PX))
    if number % FACELESS_EVERY == FACELESS_EVERY - 1:
        image = image.crop((0, 0, image.width // 5, image.height // 5))
    written = io.BytesIO()
    # The comment tells apart what was made of the same photo.
    image.save(written, "JPEG", quality=rng.randint(80, 95), comment=f"{number}")
    data = written.getvalue()
    if number % TORN_EVERY == TORN_EVERY - 1:
        data = data[: len(data) // 2]
    path = folder / f"{number:06}-{source.stem}.jpg"
    path.write_bytes(data)
    return SoakPhoto(name=path.name, path=path, sha256=hashlib.sha256(data).hexdigest())


def _finding(data: bytes, models_dir: Path) -> Finding:
    engine = load_engine(DEFAULT_ENGINE.name, models_dir)
    try:
        detected = engine.detect(engine.open(data, max_pixels=MAX_PIXELS))
    except PhotoError as exc:
        return Finding(error_code=exc.code)
    return Finding(faces=len(detected.faces))


def hashes(photos: Sequence[SoakPhoto]) -> list[tuple[str, str]]:
    """Client id and hash of each, as the API takes them."""
    return [(photo.name, photo.sha256) for photo in photos]
