"""The demo's sample is fetched by hash, made whole or not at all, and shows whom it says."""

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cli.sample
from cli.sample import Sample, SampleError, prepare_sample
from pipeline.decode import decode
from pipeline.loader import load_engine
from pipeline.scene import ArrayScene

# A package that needs no setuptools to tell its name, so that pip can be run for real and offline.
BACKEND = """
import pathlib
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder, "face_recognition-1.3.0.dist-info")
    info.mkdir()
    lines = ["Metadata-Version: 2.1", "Name: face_recognition", "Version: 1.3.0", ""]
    info.joinpath("METADATA").write_text("\\n".join(lines))
    return info.name
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


def _sdist(folder: Path, *, without: str = "") -> Path:
    """A package with the names of the real one and photos of nobody."""
    names = {*cli.sample.PEOPLE.values(), *cli.sample.PHOTOS} - {without}
    members = {"pyproject.toml": PYPROJECT.encode(), "backend.py": BACKEND.encode()}
    for number, name in enumerate(sorted(names)):
        photo = io.BytesIO()
        Image.new("RGB", (200 + number, 300), (number * 20, 90, 90)).save(
            photo, "PNG" if name.endswith("png") else "JPEG"
        )
        members[f"tests/test_images/{name}"] = photo.getvalue()
    path = folder / "face_recognition-1.3.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"face_recognition-1.3.0/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all pip can fetch from."""
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _pin(monkeypatch: pytest.MonkeyPatch, sdist: Path) -> None:
    digest = hashlib.sha256(sdist.read_bytes()).hexdigest()
    requirements = sdist.parent / "sample.txt"
    requirements.write_text(f"face_recognition==1.3.0 --hash=sha256:{digest}\n")
    monkeypatch.setattr(cli.sample, "REQUIREMENTS", requirements)


def _names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_the_sample_is_made_once_and_made_anew_when_a_photo_is_gone(
    tmp_path: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdist = _sdist(links)
    _pin(monkeypatch, sdist)
    cache = tmp_path / "cache"
    sample = prepare_sample(cache)
    assert _names(sample.people_dir) == ["biden/biden.jpg", "obama/obama.jpg"]
    assert _names(sample.photos_dir) == sorted((*cli.sample.PHOTOS, *cli.sample.DERIVED))
    assert list(cache.iterdir()) == [cache / cli.sample.FOLDER]

    (sample.photos_dir / "32bit.png").unlink()
    (sample.photos_dir / "left over.txt").touch()
    assert prepare_sample(cache) == sample
    assert _names(sample.photos_dir) == sorted((*cli.sample.PHOTOS, *cli.sample.DERIVED))

    sdist.unlink()
    assert prepare_sample(cache) == sample


def test_a_download_that_is_not_the_pinned_file_is_refused_by_name(
    tmp_path: Path, links: Path
) -> None:
    _sdist(links)
    with pytest.raises(SampleError, match=r"face_recognition-1\.3\.0 is damaged or not the file"):
        prepare_sample(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_network_the_message_says_what_to_do(tmp_path: Path, links: Path) -> None:
    with pytest.raises(SampleError, match=r"check the network.*make demo PEOPLE=dir PHOTOS=dir"):
        prepare_sample(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_package_without_its_photos_leaves_no_half_sample(
    tmp_path: Path, links: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pin(monkeypatch, _sdist(links, without="obama3.jpg"))
    with pytest.raises(SampleError, match=r"holds no photo obama3\.jpg"):
        prepare_sample(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SampleError, match=r"cannot be stored in .*file/cache"):
        prepare_sample(tmp_path / "file" / "cache")


EXPECTED = {
    "32bit.png": {"obama"},
    "biden_mirrored.jpg": {"biden"},
    "obama2.jpg": {"obama"},
    "obama3.jpg": {"obama"},
    "obama_and_biden.jpg": {"obama", "biden"},
    "obama_partial_face.jpg": {"obama"},
    "obama_partial_face2.jpg": {"obama"},
}


def test_every_photo_of_the_real_sample_shows_whom_its_name_says(
    sample: Sample, models_dir: Path
) -> None:
    engine = load_engine("dlib-classic", models_dir)

    def embeddings(path: Path) -> list[np.ndarray]:
        (photo,) = engine.extract_batch(
            [ArrayScene(decode(path.read_bytes(), max_pixels=10_000_000))]
        )
        return [face.embedding for face in photo.faces]

    people = {}
    for path in sorted(sample.people_dir.glob("*/*")):
        (people[path.parent.name],) = embeddings(path)
    found = {}
    for path in sorted(sample.photos_dir.iterdir()):
        faces = embeddings(path)
        near = [
            {name for name, known in people.items() if np.linalg.norm(face - known) <= 0.6}
            for face in faces
        ]
        assert all(len(names) == 1 for names in near), path.name
        found[path.name] = set().union(*near)
    assert found == EXPECTED
