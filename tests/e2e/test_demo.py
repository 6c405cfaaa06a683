"""`facebatch demo`: who is in the sample's photos, and a stack that goes on serving."""

import json
import urllib.request
from pathlib import Path

import pytest
from place import Place

from cli.sample import Sample

EXPECTED = {
    ("32bit.png", "obama"),
    ("biden_mirrored.jpg", "biden"),
    ("obama2.jpg", "obama"),
    ("obama3.jpg", "obama"),
    ("obama_and_biden.jpg", "obama"),
    ("obama_and_biden.jpg", "biden"),
    ("obama_partial_face.jpg", "obama"),
    ("obama_partial_face2.jpg", "obama"),
}


def table(out: str) -> list[list[str]]:
    heading, _, *lines = out.splitlines()
    assert heading.split() == ["photo", "face", "person", "distance"]
    return [line.split() for line in lines if not line.startswith(("The API", "It goes"))]


def api_url(out: str) -> str:
    (line,) = [line for line in out.splitlines() if line.startswith("The API listens at ")]
    return line.split()[4]


@pytest.mark.usefixtures("sample")  # Skips where the sample cannot be had.
def test_the_demo_names_who_is_in_which_photo_and_goes_on_serving(place: Place) -> None:
    first = place.run("demo")
    assert first.returncode == 0, first.stderr
    rows = table(first.stdout)
    assert {(photo, person) for photo, _, person, _ in rows} == EXPECTED
    assert all(0 <= float(distance) <= 0.6 for *_, distance in rows)
    assert "enrolling photos: 2 done" in first.stderr
    assert "matching photos: 7 done" in first.stderr
    with urllib.request.urlopen(f"{api_url(first.stdout)}/health") as answer:
        assert json.load(answer)["status"] == "healthy"

    again = place.run("demo")
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert place.run("status").returncode == 0

    assert place.run("down").returncode == 0
    assert place.leftovers() == []
    assert place.run("status").returncode == 1


def test_the_demo_takes_folders_of_ones_own(place: Place, sample: Sample, tmp_path: Path) -> None:
    photos = tmp_path / "mine"
    photos.mkdir()
    (photos / "me.jpg").write_bytes((sample.photos_dir / "obama2.jpg").read_bytes())
    done = place.run("demo", "--people", sample.people_dir, "--photos", photos)
    assert done.returncode == 0, done.stderr
    ((name, _, person, _),) = table(done.stdout)
    assert (name, person) == ("me.jpg", "obama")
    half = place.run("demo", "--people", sample.people_dir)
    assert half.returncode == 2
    assert "give both, or neither" in half.stderr
