"""`facebatch search` and `facebatch crop`, against a server that is there."""

import io
import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_kit import NOWHERE, Api, BackgroundWorker
from command_kit import listening, run
from faces_kit import faces_of, of_nobody, of_the_sample
from ledger_kit import Kit
from PIL import Image

from cli.sample import Sample
from db.results import job_items
from db.session import transaction
from facebatch.client import Client, connection


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with listening(api) as url:
        yield url


def test_a_person_is_found_by_a_photo_a_face_and_a_subject(
    api: Api, worker: BackgroundWorker, url: str, sample: Sample, tmp_path: Path
) -> None:
    job = of_the_sample(api, sample)
    probe = sample.people_dir / "obama" / "obama.jpg"
    done = run("search", job["id"], "--probe", probe, "--threshold", 0.6, "--api", url)
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert {name for _, _, name in lines} == {"obama2.jpg", "obama3.jpg", "obama_and_biden.jpg"}
    assert [distance for distance, *_ in lines] == sorted(distance for distance, *_ in lines)
    said = done.stderr.decode()
    assert "faces within 0.6 of a person" in said
    assert "among 5 faces" in said
    face = lines[0][1]
    again = run("search", job["id"], "--face", face, "--json", "--limit", 1, "--api", url)
    (one,) = map(json.loads, again.stdout.splitlines())
    assert (one["distance"], str(one["face"]["id"])) == (0, face)
    subject = api.enrol(api.gallery(), "Barack", (probe.name, probe.read_bytes()))
    found = run("search", job["id"], "--subject", subject, "--threshold", 0.6, "--api", url)
    assert found.stdout.decode().splitlines()[0].split()[2] == lines[0][2]
    out = tmp_path / "face.jpg"
    run("crop", job["id"], face, "--out", out, "--size", 50, "--margin", 0, "--api", url)
    with Image.open(io.BytesIO(out.read_bytes())) as picture:
        assert (picture.format, max(picture.size)) == ("JPEG", 50)
    (box,) = [one["box"] for one in faces_of(job, lines[0][2]) if str(one["id"]) == face]
    assert (picture.width > picture.height) == (box[2] - box[0] > box[3] - box[1])


def test_pages_are_read_to_the_end(
    api: Api, local: Kit, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = of_nobody(local, *[(1,)] * 7)
    with transaction(local.database) as session:
        face = job_items(session, local.tenant_id, job, limit=1)[0].faces[0].id
    monkeypatch.setattr(connection, "PAGE", 2)
    with Client(url) as asking:
        pages = list(asking.faces.search_pages(job, face=face))
    assert [len(page.photos) for page in pages] == [2, 2, 2, 1]
    assert len({one.name for page in pages for one in page.photos}) == 7


def test_what_is_not_there_is_said(api: Api, local: Kit, url: str, tmp_path: Path) -> None:
    out = tmp_path / "face.jpg"
    done = run("crop", NOWHERE, 1, "--out", out, "--api", url, status=1)
    assert "no such job" in done.stderr.decode()
    job = of_nobody(local, (1,))
    done = run("crop", job, 999_999, "--out", out, "--api", url, status=1)
    assert "no such face" in done.stderr.decode()
    assert not out.exists()
    done = run("search", uuid.uuid4(), "--face", 1, "--api", url, status=1)
    assert "no such job" in done.stderr.decode()
