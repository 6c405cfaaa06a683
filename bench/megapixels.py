"""Real photos of about a megapixel, as many as are asked for, no two of the same bytes."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

from bench.photos import DATA, below

PIXELS = 1_000_000
FOLDERS = ("demo", "groups", "dlib-faces")


def real_photos() -> list[Path]:
    """Those of the test data that are whole photos."""
    if not DATA.is_dir():
        raise SystemExit(f"no photos: {DATA} is absent; name a folder with PHOTOS=dir")
    return [path for name in FOLDERS for path in below(DATA / name)]


def write_photos(folder: Path, photos: Sequence[Path], count: int) -> list[Path]:
    """`count` JPEGs in `folder`: the photos at about a megapixel, again and again.

    Each round has another size, by up to six percent, and another quality.
    """
    folder.mkdir()
    written = []
    for number in range(count):
        turn, which = divmod(number, len(photos))
        with Image.open(photos[which]) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        pixels = PIXELS * (1 + 0.02 * (turn % 7 - 3))
        scale = (pixels / (image.width * image.height)) ** 0.5
        size = round(image.width * scale), round(image.height * scale)
        path = folder / f"{number:05}.jpg"
        image.resize(size, Image.Resampling.LANCZOS).save(path, quality=85 + turn % 10)
        written.append(path)
    return written


def copies(folder: Path, photos: Sequence[Path], mark: str) -> list[Path]:
    """The same photos as other files: a comment behind their end makes other bytes of them."""
    folder.mkdir(parents=True)
    made = []
    for photo in photos:
        path = folder / photo.name
        path.write_bytes(photo.read_bytes() + mark.encode())
        made.append(path)
    return made
