"""Bytes that were sent to us are kept, even where their owner's bucket has shown us them before."""

import hashlib
import uuid
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from api_kit import Api, BackgroundWorker, accepted, image, made
from ledger_kit import Kit
from source_kit import Lister, prefix, zipped
from test_api_uploads import begin, name, open_job, send

from db.settings import Settings
from db.storage import ObjectStore
from workers.reconciler import Reconciler
from workers.stages.chunk import process_chunk

PHOTO = image(70, 64)
WAIT = {"Prefer": "wait=60"}


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return ObjectStore.from_settings(settings)


@pytest.fixture
def cleaned_up(api: Api, worker: BackgroundWorker, store: ObjectStore) -> None:
    """A photo was listed in the owner's bucket and searched for faces, and then deleted there."""
    folder = f"sources/local/{uuid.uuid4().hex}/"
    key = store.put(f"{folder}p.jpg", [PHOTO]).key
    source = {"kind": "prefix", "prefix": folder}
    job = accepted(api.post("/v1/jobs", json={"kind": "detect", "sources": [source]}))
    assert statuses(api, job) == ["no_face"]
    store.delete([key])


def statuses(api: Api, job: str) -> list[Any]:
    """How the job's photos ended."""
    assert api.get(f"/v1/jobs/{job}", headers=WAIT).json["state"] != "running"
    results = api.get(f"/v1/jobs/{job}/results").json["results"]
    return [one["error"]["code"] if one["error"] else one["status"] for one in results]


def add_by_hash(api: Api, job: str) -> list[str]:
    """Names the photo by its hash; returns the ids of what is to be sent."""
    photos = [{"client_id": "p.jpg", "sha256": hashlib.sha256(PHOTO).hexdigest()}]
    answer = api.post(f"/v1/jobs/{job}/photos", json={"photos": photos})
    assert answer.status_code == 200, answer.text
    return list(answer.json["missing"])


def by_request(api: Api) -> str:
    return accepted(api.submit(("p.jpg", PHOTO), kind="detect"))


def by_form(api: Api) -> str:
    upload = begin(api, [PHOTO, PHOTO])
    for form in upload["files"]:
        assert send(form, PHOTO) == 204
    job = open_job(api)
    assert name(api, job, upload, 0, 1).json["accepted"] == 2
    api.post(f"/v1/jobs/{job}/seal")
    return job


def by_zip(api: Api) -> str:
    archive = (BytesIO(zipped({"p.jpg": PHOTO, "same.jpg": PHOTO})), "photos.zip")
    return accepted(api.post("/v1/jobs", data={"kind": "detect", "archive": archive}))


@pytest.mark.parametrize("way", [by_request, by_form, by_zip])
@pytest.mark.usefixtures("cleaned_up")
def test_bytes_that_were_sent_outlive_their_owners_object(
    api: Api, local: Kit, settings: Settings, store: ObjectStore, way: Callable[[Api], str]
) -> None:
    before = {*store.keys("")}
    assert {*statuses(api, way(api))} == {"no_face"}
    Reconciler(settings, local.database, store).reconcile()
    # One object has the bytes; of what was sent twice, the other is gone.
    assert len({*store.keys("")} - before) == 1
    # Another engine has to read them.
    job = made(api.post("/v1/jobs", json={"kind": "detect", "engine": "sface"}))
    assert add_by_hash(api, job) == []
    api.post(f"/v1/jobs/{job}/seal")
    assert statuses(api, job) == ["no_face"]


@pytest.mark.usefixtures("cleaned_up")
def test_bytes_that_only_their_owners_bucket_had_are_to_be_sent(api: Api) -> None:
    job = made(api.post("/v1/jobs", json={"kind": "detect", "engine": "sface"}))
    assert add_by_hash(api, job) == ["p.jpg"]
    answer = api.send(f"/v1/jobs/{job}/photos", [("p.jpg", PHOTO)])
    assert answer.json == {"accepted": 1, "missing": []}
    assert add_by_hash(api, job) == []
    api.post(f"/v1/jobs/{job}/seal")
    assert statuses(api, job) == ["no_face"]


def test_of_two_objects_of_the_same_bytes_one_is_read_each_time_they_are_listed(
    lister: Lister,
) -> None:
    folder = lister.folder()
    lister.fill(folder, "a.jpg", "b.jpg", data=PHOTO)

    def listed() -> list[bytes | None]:
        """What is known of each photo of a job of both before it is read."""
        job_id = lister.job(prefix(folder))
        lister.list_all()
        photos = lister.photos()
        hashes = [photos[one.photo_id].sha256 for one in lister.items(job_id)]
        for chunk in lister.kit.dispatch():
            process_chunk(lister.context, chunk)
        return hashes

    assert listed() == [None, None]
    known = hashlib.sha256(PHOTO).digest()
    for _ in range(2):
        assert {*listed()} == {known, None}
