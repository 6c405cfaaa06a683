"""Sources over HTTP: zips, prefixes, manifests and other jobs' photos, and how they are told of."""

import json
import uuid
from io import BytesIO
from typing import Any

import pytest
from api_kit import NOWHERE, Api, BackgroundWorker, accepted, image, made, photo, refused
from archive_kit import File, archive, deflated
from bucket_kit import unowned
from ledger_kit import Kit
from source_kit import Lister, zipped
from sqlalchemy import func, select, text
from werkzeug.test import TestResponse

from cli.sample import Sample
from db import erase, uploads
from db.models import Archive, DoomedObject
from db.session import transaction
from db.settings import Settings
from db.storage import ObjectStore
from db.tenancy import acting_for
from web import uploading
from web.app import create_app
from web.schemas.sources import MAX_SOURCES
from web.services import Services

FOLDER = "sources/local/"


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return ObjectStore.from_settings(settings)


def folder() -> str:
    return f"{FOLDER}{uuid.uuid4().hex}/"


def submit(api: Api, *sources: dict[str, Any], wait: int = 0, **fields: Any) -> TestResponse:
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    fields = {"kind": "detect"} | fields
    return api.post("/v1/jobs", json={**fields, "sources": list(sources)}, headers=headers)


def send_zip(api: Api, data: bytes, *, wait: int = 0, **fields: Any) -> TestResponse:
    fields = {"kind": "detect"} | fields
    return api.send("/v1/jobs", [("photos.zip", data)], field="archive", wait=wait, **fields)


def sources(api: Api, job: str) -> list[dict[str, Any]]:
    return list(api.get(f"/v1/jobs/{job}/sources").json["sources"])


def results(api: Api, job: str) -> list[dict[str, Any]]:
    return list(api.get(f"/v1/jobs/{job}/results", query_string={"limit": 1000}).json["results"])


def wait(api: Api, job: str) -> str:
    """Waits for the job's end; its state."""
    answer = api.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"})
    assert answer.json["finished_at"], answer.json
    return str(answer.json["state"])


def test_a_folder_a_zip_a_prefix_and_a_manifest_give_the_same_results(
    api: Api, worker: BackgroundWorker, sample: Sample, store: ObjectStore
) -> None:
    gallery = api.gallery()
    for name in ("obama", "biden"):
        api.enrol(gallery, name, photo(sample.people_dir / name / f"{name}.jpg"))
    names = ("obama2.jpg", "obama_and_biden.jpg")
    shown = {f"day/{name}": (sample.photos_dir / name).read_bytes() for name in names}
    shown |= {"broken.jpg": b"\xff\xd8\xff", "empty.png": b"", "grey.png": image(8, 8, "PNG")}
    fields = {"kind": "identify", "gallery": gallery}
    at = folder()
    for name, data in {**shown, "notes.txt": b"no photo"}.items():
        store.put(at + name, [data])
    lines = "".join(json.dumps({"key": at + name, "id": name}) + "\n" for name in shown)
    listed = store.put(f"{folder()}manifest.ndjson", [lines.encode()]).key
    zip_key = store.put(f"{folder()}photos.zip", [zipped({**shown, "notes.txt": b"n"})]).key

    jobs = {
        "folder": accepted(api.submit(*shown.items(), **fields)),
        "zip": accepted(send_zip(api, zipped({**shown, "notes.txt": b"n"}), **fields)),
        "zip in the bucket": accepted(submit(api, {"kind": "archive", "key": zip_key}, **fields)),
        "prefix": accepted(submit(api, {"kind": "prefix", "prefix": at}, **fields)),
        "manifest": accepted(submit(api, {"kind": "manifest", "key": listed}, **fields)),
    }
    told = {}
    for how, job in jobs.items():
        assert wait(api, job) == "partially_failed"
        told[how] = by_name(api, job)
    again = accepted(api.post(f"/v1/jobs/{jobs['zip']}/rematch", json={"gallery": gallery}))
    assert wait(api, again) == "partially_failed"
    # What failed without a photo has none to match again.
    told["rematch"] = {"empty.png": told["folder"]["empty.png"], **by_name(api, again)}

    faces = told["folder"]["day/obama_and_biden.jpg"]["faces"]
    assert {one["subject"]["name"] for one in faces} == {"obama", "biden"}
    for how, those in told.items():
        assert those == told["folder"], how
    counted = api.get(f"/v1/jobs/{jobs['zip']}/sources").json["sources"][0]
    assert (counted["photos"], counted["skipped"], counted["state"]) == (5, 1, "done")


def by_name(api: Api, job: str) -> dict[str, Any]:
    """Results by their photo's name, without what must differ: keys, ids, times, attempts."""
    passed = {"client_id", "key", "finished_at", "attempts"}
    return {
        one["name"]: {name: value for name, value in one.items() if name not in passed}
        for one in results(api, job)
    }


def test_sources_are_told_of(api: Api, worker: BackgroundWorker, store: ObjectStore) -> None:
    at = folder()
    store.put(f"{at}a.jpg", [image()])
    store.put(f"{at}a.txt", [b"a"])
    answer = submit(api, {"kind": "prefix", "prefix": at}, wait=60)
    assert answer.status_code == 200
    assert answer.json["job"]["state"] == "succeeded"
    (one,) = sources(api, answer.json["job"]["id"])
    assert {name: one[name] for name in one if name not in {"id", "created_at", "finished_at"}} == {
        "kind": "prefix",
        "state": "done",
        "bucket": "facebatch",
        "key": None,
        "prefix": at,
        "job": None,
        "photos": 1,
        "skipped": 1,
        "error": None,
    }
    assert answer.json["results"][0]["key"] == f"{at}a.jpg"


def test_an_open_job_takes_sources_beside_photos_until_it_is_sealed(
    api: Api, worker: BackgroundWorker, store: ObjectStore
) -> None:
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    at = folder()
    store.put(f"{at}a.jpg", [image()])
    path = f"/v1/jobs/{job}/sources"
    added = api.post(path, json={"kind": "prefix", "prefix": at})
    assert (added.status_code, added.headers["Location"]) == (202, path)
    assert api.get(f"/v1/jobs/{job}").json["source_error"] is None
    api.send(f"/v1/jobs/{job}/photos", [("b.jpg", image(65, 65))])
    # Sent twice, as by a client that lost the answer.
    data = zipped({"c.jpg": image(66, 66)})
    for _ in range(2):
        answer = api.send(f"/v1/jobs/{job}/photos", [("c.zip", data)], field="archive")
        assert answer.status_code == 200, answer.text
    api.post(f"/v1/jobs/{job}/seal")
    assert wait(api, job) == "succeeded"
    assert sorted(one["client_id"] for one in results(api, job)) == ["a.jpg", "b.jpg", "c.jpg"]
    assert len(sources(api, job)) == 2
    refused(api.post(path, json={"kind": "prefix", "prefix": at}), 409, "job_sealed")


def test_sources_come_in_pages(api: Api) -> None:
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    for n in range(3):
        api.post(f"/v1/jobs/{job}/sources", json={"kind": "prefix", "prefix": f"{FOLDER}{n}"})
    path = f"/v1/jobs/{job}/sources"
    first = api.get(path, query_string={"limit": 2}).json
    rest = api.get(path, query_string={"limit": 2, "cursor": first["next_cursor"]}).json
    prefixes = [one["prefix"] for one in first["sources"] + rest["sources"]]
    assert prefixes == [f"{FOLDER}{n}" for n in range(3)]
    assert rest["next_cursor"] is None


PLACES = {
    "a stranger's folder": {"kind": "prefix", "prefix": "sources/stranger/"},
    "all tenants' folder": {"kind": "prefix", "prefix": "sources/"},
    "our own objects": {"kind": "prefix", "prefix": f"{NOWHERE}/"},
    "the whole bucket's photos": {"kind": "prefix", "prefix": "0"},
    "a way out": {"kind": "prefix", "prefix": f"{FOLDER}../stranger/"},
    "a neighbour by name": {"kind": "prefix", "prefix": "sources/local-other/"},
    "another bucket": {"kind": "archive", "bucket": "elsewhere", "key": f"{FOLDER}a.zip"},
    "a manifest of a stranger": {"kind": "manifest", "key": "sources/stranger/a.ndjson"},
}


@pytest.mark.parametrize("what", PLACES)
def test_a_source_where_none_may_be_is_refused(api: Api, what: str) -> None:
    refused(submit(api, PLACES[what]), 422, "source_not_allowed")
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    refused(api.post(f"/v1/jobs/{job}/sources", json=PLACES[what]), 422, "source_not_allowed")


def test_an_operator_allows_further_places_and_never_our_own_objects(settings: Settings) -> None:
    places = "s3://elsewhere s3://facebatch/incoming"
    open_handed = settings.model_copy(update={"sources": places})
    api = Api(create_app(open_handed).test_client())
    for bucket, prefix in (("elsewhere", "any/"), ("facebatch", "incoming/a")):
        accepted(submit(api, {"kind": "prefix", "bucket": bucket, "prefix": prefix}))
    for bucket, prefix in (("facebatch", "incoming-else"), ("elsewhere2", "any/")):
        answer = submit(api, {"kind": "prefix", "bucket": bucket, "prefix": prefix})
        refused(answer, 422, "source_not_allowed")
    everything = settings.model_copy(update={"sources": "s3://facebatch"})
    api = Api(create_app(everything).test_client())
    answer = submit(api, {"kind": "prefix", "prefix": f"{NOWHERE}/"})
    refused(answer, 422, "source_not_allowed")


MALFORMED: dict[str, Any] = {
    "no kind": {"prefix": FOLDER},
    "another kind": {"kind": "ftp", "prefix": FOLDER},
    "an empty prefix": {"kind": "prefix", "prefix": ""},
    "a long prefix": {"kind": "prefix", "prefix": FOLDER + 1025 * "a"},
    "a prefix of too many bytes": {"kind": "prefix", "prefix": FOLDER + 512 * "\u00e4"},
    "a zero byte": {"kind": "prefix", "prefix": f"{FOLDER}\0"},
    "half a character": {"kind": "archive", "key": f"{FOLDER}\ud800"},
    "no key": {"kind": "archive"},
    "key and upload": {"kind": "archive", "key": f"{FOLDER}a.zip", "upload": NOWHERE},
    "an unknown member": {"kind": "prefix", "prefix": FOLDER, "recursive": True},
    "a bucket that is none": {"kind": "prefix", "prefix": FOLDER, "bucket": "../x"},
    "no object": "prefix",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_source_is_refused(api: Api, what: str) -> None:
    answer = api.post("/v1/jobs", json={"kind": "detect", "sources": [MALFORMED[what]]})
    refused(answer, 422, "invalid_request")


def test_too_many_sources_or_none_are_refused(api: Api) -> None:
    one = {"kind": "prefix", "prefix": FOLDER}
    refused(submit(api, *([one] * (MAX_SOURCES + 1))), 422, "invalid_request")
    refused(submit(api), 422, "invalid_request")


def test_sources_of_a_job_that_is_not_there(api: Api) -> None:
    path = f"/v1/jobs/{NOWHERE}/sources"
    refused(api.get(path), 404, "job_not_found")
    answer = api.post(path, json={"kind": "prefix", "prefix": FOLDER})
    refused(answer, 404, "job_not_found")


def test_an_enrolment_by_source_needs_a_subject(api: Api) -> None:
    gallery = api.gallery()
    answer = submit(api, {"kind": "prefix", "prefix": FOLDER}, kind="enrol", gallery=gallery)
    refused(answer, 422, "subject_required")
    assert api.get("/v1/jobs").json["jobs"] == []


HOSTILE = {
    "archive_overlap": archive(File(name=b"a.jpg"), File(name=b"b.jpg", central={"offset": 0})),
    "archive_not_zip": b"GIF89a and so on",
    "archive_truncated": archive(File())[:-5],
    "archive_count_mismatch": archive(File(), end={"entries": 2, "here": 2}),
    "archive_prefixed": b"MZ a program" + archive(File()),
    "archive_without_photos": archive(File(name=b"readme.txt")),
}


@pytest.mark.parametrize("code", HOSTILE)
def test_a_hostile_zip_is_refused_with_its_reason(
    api: Api, local: Kit, settings: Settings, code: str
) -> None:
    job = accepted(send_zip(api, HOSTILE[code]))
    Lister(kit=local, settings=settings, store=ObjectStore.from_settings(settings)).list_all()
    told = api.get(f"/v1/jobs/{job}").json
    (one,) = sources(api, job)
    assert (told["state"], told["sources_open"]) == ("failed", 0)
    assert told["source_error"] == one["error"]
    assert (one["state"], one["error"]["code"], one["photos"]) == ("failed", code, 0)
    assert one["error"]["detail"]
    assert results(api, job) == []


BAD_ENTRIES = {
    "archive_path_outside": File(name=b"../a.jpg"),
    "archive_name_invalid": File(name=b"a\\b.jpg"),
    "archive_entry_encrypted": File(name=b"x0.jpg", flags=1),
    "archive_entry_special": File(name=b"x1.jpg", mode=0o120777),
    "archive_nested": File(name=b"x2.zip"),
    "archive_method_unsupported": File(name=b"x3.jpg", method=12),
    "archive_ratio_too_high": File(name=b"x4.jpg", data=bytes(3_000_000), method=8),
    "archive_header_mismatch": File(name=b"x5.jpg", local_name=b"y5.jpg"),
    "archive_crc_mismatch": File(name=b"x6.jpg", central={"crc32": 1}, local={"crc32": 1}),
    "archive_entry_damaged": File(name=b"x7.jpg", method=8, body=b"\xff" * 40),
    "archive_size_mismatch": File(
        name=b"x8.jpg", method=8, body=deflated(b"short"), data=b"longer than that"
    ),
    "archive_duplicate_name": File(name=b"good.jpg"),
    "file_too_large": File(name=b"x9.jpg", method=8, central={"size": 26_000_000}),
}


def test_bad_entries_cost_one_photo_each(api: Api, worker: BackgroundWorker) -> None:
    good = File(name=b"good.jpg", data=image())
    job = accepted(send_zip(api, archive(good, *BAD_ENTRIES.values())))
    assert wait(api, job) == "partially_failed"
    first, *bad = results(api, job)
    assert (first["status"], first["client_id"]) == ("no_face", "good.jpg")
    assert [one["error"] and one["error"]["code"] for one in bad] == list(BAD_ENTRIES)
    assert all(one["error"]["detail"] for one in bad)


def test_a_zip_that_is_too_large_is_refused_and_leaves_nothing(
    settings: Settings, store: ObjectStore, local: Kit
) -> None:
    small = settings.model_copy(update={"max_archive_bytes": 100_000})
    api = Api(create_app(small).test_client())
    refused(send_zip(api, b"PK" + bytes(200_000)), 413, "archive_too_large")
    assert count(local, Archive) == 0
    assert unowned(local.database, settings) == set()
    assert api.get("/v1/jobs").json["jobs"] == []


def test_a_zip_must_be_a_file_with_something_in_it(api: Api) -> None:
    form = {"kind": "detect", "archive": "x", "photos": (BytesIO(image()), "a.jpg")}
    refused(api.post("/v1/jobs", data=form), 422, "invalid_request")
    refused(send_zip(api, b""), 400, "no_photo")
    nothing = api.post("/v1/jobs", data={"kind": "detect", "archive": (BytesIO(b""), "")})
    refused(nothing, 400, "no_photo")


def count(kit: Kit, table: type) -> int:
    with transaction(kit.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def test_a_zip_is_its_archives_with_the_commit(api: Api, local: Kit, settings: Settings) -> None:
    accepted(send_zip(api, zipped({"a.jpg": image()})))
    assert (count(local, Archive), count(local, DoomedObject)) == (1, 0)
    assert unowned(local.database, settings) == set()


def test_rematching_reads_no_photo_again(
    api: Api, worker: BackgroundWorker, sample: Sample, store: ObjectStore, local: Kit
) -> None:
    gallery = api.gallery()
    at = folder()
    shown = sample.photos_dir / "obama2.jpg"
    store.put(f"{at}obama2.jpg", [shown.read_bytes()])
    job = accepted(submit(api, {"kind": "prefix", "prefix": at}, kind="identify", gallery=gallery))
    assert wait(api, job) == "succeeded"
    assert results(api, job)[0]["faces"][0]["subject"] is None

    api.enrol(gallery, "obama", photo(sample.people_dir / "obama" / "obama.jpg"))
    # Nothing is left that could be read.
    store.delete([f"{at}obama2.jpg"])
    answer = api.post(
        f"/v1/jobs/{job}/rematch",
        json={"gallery": gallery, "top_k": 1},
        headers={"Prefer": "wait=60"},
    )
    assert answer.status_code == 200, answer.text
    (again,) = answer.json["results"]
    assert again["faces"][0]["subject"]["name"] == "obama"
    assert again["client_id"] == "obama2.jpg"
    (one,) = sources(api, answer.json["job"]["id"])
    assert (one["kind"], one["job"]) == ("job", job)


def test_a_job_that_runs_or_is_not_there_cannot_be_matched_again(api: Api) -> None:
    gallery = api.gallery()
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    wanted = {"gallery": gallery}
    refused(api.post(f"/v1/jobs/{job}/rematch", json=wanted), 409, "job_unfinished")
    refused(api.post(f"/v1/jobs/{NOWHERE}/rematch", json=wanted), 404, "job_not_found")
    refused(api.post(f"/v1/jobs/{job}/rematch", json={}), 422, "invalid_request")
    other = {"kind": "detect"}
    refused(api.post(f"/v1/jobs/{job}/rematch", json=other), 422, "invalid_request")


def test_a_zip_that_takes_long_keeps_its_upload_and_loses_it_only_to_the_reconciler(
    settings: Settings, local: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploading, "PROLONGED_EVERY_S", -1)
    with transaction(local.database) as session:
        upload_id = uploads.begin_upload(session, local.tenant_id)
    chunks = uploading.archive_chunks(Services(settings), upload_id, [b"a", b"b"])
    with acting_for(local.tenant_id):
        next(chunks)
    with transaction(local.database) as session:
        session.execute(text("UPDATE upload SET created_at = created_at - interval '9 h'"))
        assert erase.give_up_uploads(session) == 0
        session.execute(text("DELETE FROM upload"))
    with pytest.raises(uploads.UploadExpiredError), acting_for(local.tenant_id):
        next(chunks)
