"""The demo's photos: fetched from a package at set-up, for the repository holds no photo."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from pipeline.errors import FaceBatchError

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements" / "sample.txt"
SDIST = "face_recognition-1.3.0"
DOWNLOAD_TIMEOUT_S = 300

# A new layout gets a new name, so that an old one in the cache is not taken for it.
FOLDER = "sample-1"
PEOPLE = {"obama": "obama.jpg", "biden": "biden.jpg"}
PHOTOS = (
    "obama2.jpg",
    "obama3.jpg",
    "obama_partial_face.jpg",
    "obama_partial_face2.jpg",
    "32bit.png",
)
DERIVED = ("biden_mirrored.jpg", "obama_and_biden.jpg")

OWN_FOLDERS = "or use photos of your own: make demo PEOPLE=dir PHOTOS=dir"


class SampleError(FaceBatchError):
    """The demo's photos cannot be had; the message says why and what to do."""

    code = "sample_unavailable"
    permanent = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The folders that `facebatch match` takes."""

    people_dir: Path
    """A folder per person with one photo in it."""
    photos_dir: Path


def prepare_sample(cache_dir: Path, *, python: str = sys.executable) -> Sample:
    """The sample below `cache_dir`, made at the first call; `python` is one that has pip.

    Seven photos come from face_recognition's tests as they are. They hold one of Biden only, so two
    more are made here: `biden_mirrored.jpg`, that photo mirrored, smaller and compressed anew, and
    `obama_and_biden.jpg`, `obama3.jpg` and the mirrored one side by side.

    The folder appears whole or not at all. Raises `SampleError`.
    """
    folder = cache_dir / FOLDER
    sample = _sample_in(folder)
    if _complete(sample):
        return sample
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{FOLDER}-", dir=cache_dir) as scratch:
            sdist = _download(Path(scratch) / "download", python)
            made = Path(scratch) / FOLDER
            _lay_out(sdist, _sample_in(made))
            _move_into_place(made, folder)
    except OSError as exc:
        raise SampleError(
            f"the demo's photos cannot be stored in {cache_dir} ({exc.strerror or exc}); "
            "make room there, or choose another folder"
        ) from exc
    return sample


def _sample_in(folder: Path) -> Sample:
    return Sample(people_dir=folder / "people", photos_dir=folder / "photos")


def _complete(sample: Sample) -> bool:
    people = [sample.people_dir / person / name for person, name in PEOPLE.items()]
    photos = [sample.photos_dir / name for name in (*PHOTOS, *DERIVED)]
    return all(path.is_file() for path in (*people, *photos))


def _download(folder: Path, python: str) -> Path:
    """Has pip fetch the source package, whose hash pip checks; returns the archive's path."""
    folder.mkdir()
    # pip runs the package's setup.py to learn its name. Without build isolation the setuptools that
    # is installed does for that (70.1 or later); with it, pip would fetch one that nobody pinned.
    options = "--quiet --no-input --disable-pip-version-check --no-deps --no-build-isolation"
    command = [python, "-m", "pip", "download", *options.split(), "--no-binary", ":all:"]
    command += ["--require-hashes", "--requirement", str(REQUIREMENTS), "--dest", str(folder)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise SampleError(
            f"{SDIST} did not arrive in {DOWNLOAD_TIMEOUT_S} s; try again, {OWN_FOLDERS}"
        ) from exc
    if done.returncode != 0:
        raise SampleError(_why(done.stderr))
    return folder / f"{SDIST}.tar.gz"


def _why(stderr: str) -> str:
    """What to tell of pip's failure."""
    if "do not match the hashes" in stderr.lower():
        return (
            f"the download of {SDIST} is damaged or not the file that {REQUIREMENTS.name} pins; "
            f"empty pip's cache (pip cache purge) and try again, {OWN_FOLDERS}"
        )
    errors = [line.strip() for line in stderr.splitlines() if "error:" in line.lower()]
    return (
        f"{SDIST} cannot be downloaded; check the network and pip's settings and try again, "
        f"{OWN_FOLDERS} (pip says: {'; '.join(errors) or 'nothing'})"
    )


def _lay_out(sdist: Path, sample: Sample) -> None:
    sample.photos_dir.mkdir(parents=True)
    with tarfile.open(sdist, "r:gz") as archive:
        for person, name in PEOPLE.items():
            (sample.people_dir / person).mkdir(parents=True)
            _copy_out(archive, name, sample.people_dir / person / name)
        for name in PHOTOS:
            _copy_out(archive, name, sample.photos_dir / name)
    _derive(sample)


def _copy_out(archive: tarfile.TarFile, name: str, target: Path) -> None:
    """Copies the content of one photo; the archive decides no path, mode or link."""
    try:
        source = archive.extractfile(f"{SDIST}/tests/test_images/{name}")
    except KeyError:
        source = None
    if source is None:
        raise SampleError(f"{SDIST} holds no photo {name}; {OWN_FOLDERS.removeprefix('or ')}")
    with source, target.open("wb") as file:
        shutil.copyfileobj(source, file)


def _derive(sample: Sample) -> None:
    """Makes the photos of Biden that the package lacks; see `prepare_sample`."""
    with Image.open(sample.people_dir / "biden" / PEOPLE["biden"]) as photo:
        biden = ImageOps.scale(ImageOps.mirror(photo.convert("RGB")), 0.75)
    with Image.open(sample.photos_dir / "obama3.jpg") as photo:
        obama = photo.convert("RGB")
    biden.save(sample.photos_dir / "biden_mirrored.jpg", quality=80)
    _side_by_side(obama, biden).save(sample.photos_dir / "obama_and_biden.jpg", quality=85)


def _side_by_side(left: Image.Image, right: Image.Image, *, height_px: int = 1000) -> Image.Image:
    parts = [ImageOps.scale(image, height_px / image.height) for image in (left, right)]
    joined = Image.new("RGB", (sum(part.width for part in parts), height_px))
    joined.paste(parts[0], (0, 0))
    joined.paste(parts[1], (parts[0].width, 0))
    return joined


def _move_into_place(made: Path, folder: Path) -> None:
    """Renames `made` to `folder`, in place of what is left of a damaged one."""
    if folder.exists():
        shutil.rmtree(folder)
    made.rename(folder)
