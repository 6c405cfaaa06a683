"""What every test may ask for: the real photos, which are no part of the repository."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def photos_dir() -> Path:
    """The folder of real photos: FACEBATCH_TEST_DATA, or `../shared/data` beside the checkout."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("FACEBATCH_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no photos: FACEBATCH_TEST_DATA is not set and {default} is absent")
    return folder
