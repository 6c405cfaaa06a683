"""What the user is told beside the results."""

from pathlib import Path

import pytest

from cli.scan import FoundPhotos
from cli.telling import counted, warn_of_left_out


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 photos, 0 people"), (1, "1 photo, 1 person"), (2, "2 photos, 2 pe")]
)
def test_one_is_counted_in_the_singular(count: int, words: str) -> None:
    assert f"{counted(count, 'photo')}, {counted(count, 'person', 'people')}".startswith(words)


@pytest.mark.parametrize(
    ("left_out", "said"),
    [(0, ""), (1, "1 file in a is no photo and was"), (2, "2 files in a are no photos and were")],
)
def test_files_that_are_no_photos_are_counted(
    capsys: pytest.CaptureFixture[str], left_out: int, said: str
) -> None:
    found = FoundPhotos(root=Path("a"), relative=(), left_out=left_out, linked=(), unreadable=())
    warn_of_left_out(found)
    assert capsys.readouterr().err == (f"facebatch: {said} left out\n" if said else "")
