"""A browser whose camera shows what a test wants."""

import contextlib
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Playwright

SIZE_PX = (1280, 720)
FRAMES = 12


def film(photos: list[Path], path: Path) -> Path:
    """A film of these photos side by side, which move a little: JPEGs one after the other."""
    width, height = SIZE_PX
    shown = []
    for photo in photos:
        with Image.open(photo) as opened:
            one = opened.convert("RGB")
        one.thumbnail((width // len(photos), height - 40))
        shown.append(one)
    with path.open("wb") as out:
        for n in range(FRAMES):
            frame = Image.new("RGB", SIZE_PX, (70, 90, 110))
            for column, one in enumerate(shown):
                left = column * width // len(shown) + (width // len(shown) - one.width) // 2
                frame.paste(one, (left + n, (height - one.height) // 2))
            jpeg = BytesIO()
            frame.save(jpeg, "JPEG", quality=92)
            out.write(jpeg.getvalue())
    return path


@contextlib.contextmanager
def chromium(playwright: Playwright, camera: Path | None) -> Iterator[Browser]:
    """Debian's Chromium, whose camera plays the film over and over; None: it has no camera."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("there is no chromium here (Debian: apt-get install chromium)")
    arguments = ["--use-fake-ui-for-media-stream"]
    if camera is not None:
        arguments += [
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={camera}",
        ]
    browser = playwright.chromium.launch(executable_path=found, args=arguments)
    try:
        yield browser
    finally:
        browser.close()
