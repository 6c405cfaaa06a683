"""Uploads past us: a client sends files to the bucket itself, and then names them to us."""

import base64
import hashlib
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import urllib3
from api_kit import NOWHERE, Api, BackgroundWorker, accepted, image, made, refused
from ledger_kit import Kit
from pydantic import SecretStr
from source_kit import zipped
from sqlalchemy import func, select, text
from worker_kit import wait_until

from db.models import Item, Upload
from db.session import transaction
from db.settings import Settings
from db.storage import ObjectStore
from web.app import create_app
from web.uploading import MAX_FORM_BYTES
from workers.reconciler import Reconciler

PHOTOS = [image(64, 64), image(65, 64), image(66, 64)]


def begin(api: Api, files: Sequence[bytes], *, hashed: bool = False, **more: Any) -> Any:
    """An upload of these files."""
    wanted = [
        {"size_bytes": len(data)} | ({"sha256": hashlib.sha256(data).hexdigest()} if hashed else {})
        for data in files
    ]
    answer = api.post("/v1/uploads", json={"files": wanted, **more})
    assert answer.status_code == 201, answer.text
    return answer.json


def send(form: Mapping[str, Any], data: bytes, **changed: str) -> int:
    """Sends a file with its form, as any client would; the bucket's status."""
    fields = [*{**form["fields"], **changed}.items(), ("file", ("photo.jpg", data))]
    with urllib3.PoolManager() as pool:
        return pool.request("POST", form["url"], fields=fields, retries=False).status


def open_job(api: Api, **fields: Any) -> str:
    return made(api.post("/v1/jobs", json={"kind": "detect", **fields}))


def name(api: Api, job: str, upload: Any, *parts: int) -> Any:
    """Names parts of the upload as photos of the job, each by its number."""
    photos = [{"client_id": f"{part}.jpg", "part": part} for part in parts]
    return api.post(f"/v1/jobs/{job}/photos", json={"upload": upload["id"], "photos": photos})


def test_photos_that_were_sent_to_the_bucket_become_a_jobs(
    api: Api, worker: BackgroundWorker
) -> None:
    upload = begin(api, PHOTOS, hashed=True)
    for form, data in zip(upload["files"], PHOTOS, strict=True):
        assert send(form, data) == 204
    job = open_job(api)
    assert name(api, job, upload, 0, 1, 2).json == {"accepted": 3, "missing": []}
    api.post(f"/v1/jobs/{job}/seal")
    answer = api.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"})
    assert answer.json["state"] == "succeeded"
    results = api.get(f"/v1/jobs/{job}/results").json["results"]
    assert [(one["client_id"], one["sha256"]) for one in results] == [
        (f"{n}.jpg", hashlib.sha256(data).hexdigest()) for n, data in enumerate(PHOTOS)
    ]


def test_what_was_not_sent_is_told_and_can_follow(api: Api) -> None:
    upload = begin(api, PHOTOS)
    send(upload["files"][1], PHOTOS[1])
    job = open_job(api)
    assert name(api, job, upload, 0, 1, 2).json == {"accepted": 1, "missing": ["0.jpg", "2.jpg"]}
    send(upload["files"][0], PHOTOS[0])
    # Sent again as a whole, as by a client that lost the answer.
    for _ in range(2):
        assert name(api, job, upload, 0, 1, 2).json == {"accepted": 2, "missing": ["2.jpg"]}
    assert api.counts(job)["total"] == 2


def test_the_bucket_takes_no_other_size_bytes_or_key(api: Api, settings: Settings) -> None:
    upload = begin(api, PHOTOS, hashed=True)
    first, second = upload["files"][:2]
    other = bytearray(PHOTOS[0])
    other[-1] ^= 1
    unhashed = begin(api, PHOTOS[:1])["files"][0]
    for form in (first, unhashed):
        assert send(form, PHOTOS[0] + b"x") == 400
        assert send(form, PHOTOS[0][:-1]) == 400
    assert send(first, bytes(other)) == 400
    assert send(first, PHOTOS[0], key=second["fields"]["key"]) == 403
    wrong = base64.b64encode(hashlib.sha256(bytes(other)).digest()).decode()
    assert send(first, bytes(other), **{"x-amz-checksum-sha256": wrong}) == 403
    assert list(ObjectStore.from_settings(settings).keys(f"{upload['id']}/")) == []
    assert send(first, PHOTOS[0]) == 204


def test_a_file_that_is_too_large_gets_no_form(api: Api, settings: Settings) -> None:
    def refusal(size_bytes: int, code: str, **more: Any) -> None:
        files = [{"size_bytes": size_bytes}]
        refused(api.post("/v1/uploads", json={"files": files, **more}), 413, code)

    refusal(settings.max_upload_bytes + 1, "file_too_large")
    refusal(MAX_FORM_BYTES + 1, "archive_too_large", kind="archive")
    refusal(10**9 + 1, "file_too_large", kind="manifest")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"files": []},
        {"files": [{"size_bytes": 0}]},
        {"files": [{"size_bytes": 1, "sha256": "abc"}]},
        {"files": [{"size_bytes": 1}] * 2, "kind": "archive"},
        {"files": [{"size_bytes": 1}] * 1001},
        {"files": [{"size_bytes": 1}], "kind": "film"},
    ],
)
def test_a_malformed_upload_is_refused(api: Api, body: dict[str, Any]) -> None:
    refused(api.post("/v1/uploads", json=body), 422, "invalid_request")


def test_names_that_are_there_twice_are_refused(api: Api) -> None:
    upload = begin(api, PHOTOS)
    job = open_job(api)
    for photos in (
        [{"client_id": "a", "part": 0}, {"client_id": "a", "part": 1}],
        [{"client_id": "a", "part": 0}, {"client_id": "b", "part": 0}],
    ):
        body = {"upload": upload["id"], "photos": photos}
        refused(api.post(f"/v1/jobs/{job}/photos", json=body), 422, "invalid_request")


def test_an_upload_that_is_not_there_is_told(api: Api, local: Kit) -> None:
    job = open_job(api)
    refused(name(api, job, {"id": NOWHERE}, 0), 404, "upload_not_found")
    upload = begin(api, PHOTOS)
    send(upload["files"][0], PHOTOS[0])
    execute(local, "DELETE FROM upload")
    refused(name(api, job, upload, 0), 404, "upload_not_found")


def test_a_part_can_be_a_photo_of_several_jobs(api: Api, local: Kit) -> None:
    upload = begin(api, PHOTOS)
    send(upload["files"][0], PHOTOS[0])
    for job in (open_job(api), open_job(api)):
        assert name(api, job, upload, 0).json["accepted"] == 1
    with transaction(local.database) as session:
        assert session.scalars(select(func.count(Item.photo_id.distinct()))).one() == 1


def execute(kit: Kit, statement: str) -> None:
    with transaction(kit.database) as session:
        session.execute(text(statement))


def test_an_upload_is_kept_for_a_day_and_then_swept_but_for_a_jobs_photos(
    api: Api, local: Kit, settings: Settings
) -> None:
    store = ObjectStore.from_settings(settings)
    reconciler = Reconciler(settings, local.database, store)
    upload = begin(api, PHOTOS)
    for form, data in zip(upload["files"], PHOTOS, strict=True):
        send(form, data)
    assert name(api, open_job(api), upload, 1).json["accepted"] == 1
    execute(local, "UPDATE upload SET created_at = created_at - interval '2 h'")
    reconciler.reconcile()
    with transaction(local.database) as session:
        assert session.scalars(select(func.count()).select_from(Upload)).one() == 1
    execute(local, "UPDATE upload SET expires_at = expires_at - interval '24 h'")
    reconciler.reconcile()
    execute(local, "UPDATE doomed_object SET created_at = created_at - interval '2 h'")
    reconciler.reconcile()
    assert list(store.keys(f"{upload['id']}/")) == [f"{upload['id']}/1"]


def test_a_photo_that_is_sent_anew_after_it_was_named_is_not_taken_for_it(
    api: Api, local: Kit, settings: Settings
) -> None:
    upload = begin(api, PHOTOS[:1])
    send(upload["files"][0], PHOTOS[0])
    job = open_job(api)
    name(api, job, upload, 0)
    other = bytearray(PHOTOS[0])
    other[-1] ^= 1
    assert send(upload["files"][0], bytes(other)) == 204
    with BackgroundWorker(settings):
        api.post(f"/v1/jobs/{job}/seal")
        api.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"})
    (one,) = api.get(f"/v1/jobs/{job}/results").json["results"]
    assert one["error"]["code"] == "object_changed"


def test_an_enrolment_names_the_subject_of_photos_that_were_sent(api: Api, local: Kit) -> None:
    gallery = api.gallery()
    subject = api.subject(gallery, "Ada")
    upload = begin(api, PHOTOS)
    send(upload["files"][0], PHOTOS[0])
    job = open_job(api, kind="enrol", gallery=gallery)
    refused(name(api, job, upload, 0), 422, "subject_required")
    body = {"upload": upload["id"], "photos": [{"client_id": "a", "part": 0}]}
    path = f"/v1/jobs/{job}/photos"
    refused(api.post(path, json=body, query_string={"subject": NOWHERE}), 404, "subject_not_found")
    assert api.post(path, json=body, query_string={"subject": subject}).json["accepted"] == 1
    with transaction(local.database) as session:
        assert str(session.scalars(select(Item.subject_id)).one()) == subject


@pytest.mark.parametrize("kind", ["archive", "manifest"])
def test_a_zip_or_a_manifest_that_was_sent_to_the_bucket_is_a_source(
    api: Api, worker: BackgroundWorker, local: Kit, settings: Settings, kind: str
) -> None:
    store = ObjectStore.from_settings(settings)
    key = store.put(f"sources/local/{uuid.uuid4().hex}.jpg", [PHOTOS[0]]).key
    data = {
        "archive": zipped({"a.jpg": PHOTOS[0]}),
        "manifest": f'{{"key": "{key}", "id": "a.jpg"}}'.encode(),
    }[kind]
    upload = begin(api, [data], kind=kind)
    source = {"kind": kind, "upload": upload["id"]}
    body = {"kind": "detect", "sources": [source]}
    refused(api.post("/v1/jobs", json=body), 409, "upload_incomplete")
    assert send(upload["files"][0], data) == 204
    job = accepted(api.post("/v1/jobs", json=body))
    answer = api.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"})
    assert answer.json["state"] == "succeeded", answer.json
    assert api.get(f"/v1/jobs/{job}/results").json["results"][0]["client_id"] == "a.jpg"
    # A manifest has done its duty; a zip is where its photos lie.
    Reconciler(settings, local.database, store).reconcile()
    kept = [f"{upload['id']}/0"] if kind == "archive" else []
    assert list(store.keys(f"{upload['id']}/")) == kept


def test_a_manifest_that_was_sent_is_one_source_however_often_it_is_added(
    api: Api, worker: BackgroundWorker
) -> None:
    data = b'{"key": "sources/local/a.jpg"}'
    upload = begin(api, [data], kind="manifest")
    assert send(upload["files"][0], data) == 204
    job = open_job(api)
    source = {"kind": "manifest", "upload": upload["id"]}
    for _ in range(2):
        assert api.post(f"/v1/jobs/{job}/sources", json=source).status_code == 202
        while api.get(f"/v1/jobs/{job}").json["counts"]["total"] == 0:
            time.sleep(0.05)
    (one,) = api.get(f"/v1/jobs/{job}/sources").json["sources"]
    assert one["photos"] == 1


def test_a_manifest_that_was_sent_stays_while_any_job_is_to_list_it(
    api: Api, local: Kit, settings: Settings
) -> None:
    store = ObjectStore.from_settings(settings)
    data = b'{"key": "sources/local/a.jpg"}'
    upload = begin(api, [data], kind="manifest")
    assert send(upload["files"][0], data) == 204
    source = {"kind": "manifest", "upload": upload["id"]}
    first, other = open_job(api), open_job(api)
    for job in (first, other):
        assert api.post(f"/v1/jobs/{job}/sources", json=source).status_code == 202
    reconciler = Reconciler(settings, local.database, store)
    api.post(f"/v1/jobs/{first}/cancel")
    reconciler.reconcile()
    assert list(store.keys(f"{upload['id']}/")) == [f"{upload['id']}/0"]
    refused(api.post(f"/v1/jobs/{open_job(api)}/sources", json=source), 404, "upload_not_found")
    api.post(f"/v1/jobs/{other}/cancel")
    reconciler.reconcile()
    assert list(store.keys(f"{upload['id']}/")) == []


def test_two_zips_that_were_sent_to_the_bucket_are_two_sources(
    api: Api, worker: BackgroundWorker
) -> None:
    zips = [zipped({f"{n}.jpg": PHOTOS[n]}) for n in range(2)]
    uploads = [begin(api, [data], kind="archive") for data in zips]
    for upload, data in zip(uploads, zips, strict=True):
        assert send(upload["files"][0], data) == 204
    sources = [{"kind": "archive", "upload": one["id"]} for one in (*uploads, uploads[0])]
    job = accepted(api.post("/v1/jobs", json={"kind": "detect", "sources": sources}))
    wait_until(lambda: api.get(f"/v1/jobs/{job}").json["finished_at"])
    results = api.get(f"/v1/jobs/{job}/results").json["results"]
    assert sorted(one["client_id"] for one in results) == ["0.jpg", "1.jpg"]
    assert len(api.get(f"/v1/jobs/{job}/sources").json["sources"]) == 2


def test_forms_name_the_address_by_which_clients_know_the_bucket(settings: Settings) -> None:
    url = SecretStr("https://s3.example.com")
    public = settings.model_copy(update={"s3_public_endpoint_url": url})
    upload = begin(Api(create_app(public).test_client()), PHOTOS[:1])
    assert upload["files"][0]["url"].startswith("https://s3.example.com/")
