"""`facebatch import-encodings` beside a stack that serves, and without one."""

import json
from pathlib import Path

import numpy as np
import pytest
from place import Place


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Encodings of nobody, under a name of the test's own."""
    vector = np.random.default_rng(0).normal(0, 0.12, 128).tolist()
    path = tmp_path / "people.json"
    path.write_text(json.dumps({f"somebody of {tmp_path.name}": vector}))
    return path


def test_a_stack_is_started_and_stopped_and_keeps_the_people(place: Place, file: Path) -> None:
    first = place.run("import-encodings", file, "--gallery", "people")
    assert first.returncode == 0, first.stderr
    assert "Added 1 subject with 1 template to the gallery people (id " in first.stdout
    assert place.leftovers() == []
    again = place.run("import-encodings", file, "--gallery", "people")
    assert (again.returncode, again.stdout) == (1, "")
    assert "facebatch: nothing was imported: the gallery people has somebody of" in again.stderr
    assert "Traceback" not in again.stderr
    assert place.leftovers() == []
    logs = b"".join(path.read_bytes() for path in place.home.logs.iterdir())
    assert b"somebody of" not in logs


def test_a_stack_that_serves_goes_on(served: Place, file: Path) -> None:
    done = served.run("import-encodings", file, "--gallery", "beside")
    assert (done.returncode, done.stderr) == (0, "")
    assert served.view()


def test_a_bad_file_is_refused_before_anything_starts(place: Place, file: Path) -> None:
    file.write_bytes(b"\x80\x04")
    done = place.run("import-encodings", file, "--gallery", "people")
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds a pickle" in done.stderr
    assert not place.home.path.exists()
