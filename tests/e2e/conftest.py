"""Places to run the command in, and a stack that serves."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from place import ARCHIVED, Place, cleaned, wait_for

from cli.sample import Sample
from cli.stack.home import Home


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty home; whatever runs for it is stopped at the end."""
    with cleaned(Place(Home(tmp_path / "home"))) as here:
        yield here


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A stack that serves for all tests that do not harm it."""
    here = Place(Home(tmp_path_factory.mktemp("served") / "home"))
    with cleaned(here):
        serving = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up"],
            # Else whoever tries keys from this address would lock it out, for the tests beside it.
            env=here.environ(FACEBATCH_WRONG_KEY_LIMIT="off"),
            cwd=here.home.path.parent,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: (view := here.view()) is not None and view.phase == "ready")
        yield here
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(timeout=60) == 0
        assert here.leftovers() == []


@pytest.fixture(scope="session")
def archive(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 different photos, each with Obama or Biden in it, in sub-folders."""
    folder = tmp_path_factory.mktemp("archive")
    sources = [sample.photos_dir / name for name in ("obama3.jpg", "biden_mirrored.jpg")]
    for source in sources:
        with Image.open(source) as photo:
            small = photo.convert("RGB")
        small.thumbnail((400, 400))
        for n in range(ARCHIVED // len(sources)):
            below = folder / f"folder {n % 7}"
            below.mkdir(exist_ok=True)
            # One pixel tells them apart.
            small.putpixel((0, 0), (n, n, n))
            small.save(below / f"{source.stem}-{n:03}.png")
    return folder
