"""Jobs over HTTP: submit, poll or wait, results, open jobs, cancel, delete."""

import hashlib
import threading

import pytest
from api_kit import NOWHERE, Api, BackgroundWorker, accepted, image, made, photo, refused
from bucket_kit import unowned
from ledger_kit import Kit, as_owner, item
from sqlalchemy import func, select, text

from cli.sample import Sample
from db.models import DoomedObject, Photo
from db.session import transaction
from db.settings import Settings
from db.storage import ObjectStore
from pipeline.specs import DEFAULT_ENGINE
from pipeline.thresholds import WantedThreshold, decided


@pytest.fixture
def people(api: Api, worker: BackgroundWorker, sample: Sample) -> str:
    """A gallery with Obama and Biden."""
    gallery = api.gallery()
    for name in ("obama", "biden"):
        api.enrol(gallery, name, photo(sample.people_dir / name / f"{name}.jpg"))
    return gallery


def test_submit_then_poll(api: Api, people: str, sample: Sample) -> None:
    both = photo(sample.photos_dir / "obama_and_biden.jpg")
    answer = api.submit(both, ("grey.jpg", image()), kind="identify", gallery=people)
    job = accepted(answer)
    assert answer.headers["Retry-After"] == "1"
    api.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"})
    read = api.get(f"/v1/jobs/{job}")
    assert "Retry-After" not in read.headers
    assert read.json["state"] == "succeeded"
    limit = read.json["threshold"]["distance"]
    assert limit == decided(DEFAULT_ENGINE, WantedThreshold(), subjects=2).distance
    assert read.json["counts"] == {
        "total": 2, "queued": 0, "running": 0, "done": 1, "no_face": 1, "failed": 0, "cancelled": 0,
    }  # fmt: skip
    page = api.get(f"/v1/jobs/{job}/results").json
    first, second = page["results"]
    assert page["next_cursor"] is None
    assert (first["name"], first["status"]) == ("obama_and_biden.jpg", "done")
    assert first["sha256"] == hashlib.sha256(both[1]).hexdigest()
    assert {face["subject"]["name"] for face in first["faces"]} == {"obama", "biden"}
    for face in first["faces"]:
        left, top, right, bottom = face["box"]
        assert 0 <= left < right <= first["width"]
        assert 0 <= top < bottom <= first["height"]
        assert len(face["landmarks"]) == 5
        ranks = [one["rank"] for one in face["candidates"]]
        distances = [one["distance"] for one in face["candidates"]]
        assert ranks == [1, 2]
        assert face["distance"] == distances[0] <= limit < distances[1]
    assert (second["name"], second["status"], second["faces"]) == ("grey.jpg", "no_face", [])


def test_with_patience_the_answer_is_the_result(api: Api, people: str, sample: Sample) -> None:
    shown = photo(sample.photos_dir / "obama2.jpg")
    answer = api.submit(shown, wait=60, kind="identify", gallery=people)
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert answer.json["results"][0]["faces"][0]["subject"]["name"] == "obama"
    assert answer.json["job"]["state"] == "succeeded"


def test_an_empty_field_of_a_form_counts_as_left_alone(api: Api) -> None:
    accepted(api.submit(("a.jpg", image()), kind="detect", gallery="", threshold="", top_k=""))


def test_detect_compares_with_nobody(api: Api, worker: BackgroundWorker, sample: Sample) -> None:
    shown = photo(sample.photos_dir / "obama_and_biden.jpg")
    (result,) = api.submit(shown, wait=60, kind="detect").json["results"]
    assert [(face["subject"], face["candidates"]) for face in result["faces"]] == [(None, [])] * 2


def test_verify_compares_with_one_subject(api: Api, people: str, sample: Sample) -> None:
    path = f"/v1/galleries/{people}/subjects"
    ids = {one["name"]: one["id"] for one in api.get(path).json["subjects"]}
    shown = photo(sample.photos_dir / "obama2.jpg")
    for name, verified in (("obama", True), ("biden", False)):
        answer = api.submit(shown, wait=60, kind="verify", gallery=people, subject=ids[name])
        (face,) = answer.json["results"][0]["faces"]
        assert [one["subject"]["name"] for one in face["candidates"]] == [name]
        assert (face["subject"] is not None) is verified


def test_the_threshold_and_the_number_of_candidates_are_the_clients(
    api: Api, people: str, sample: Sample
) -> None:
    shown = photo(sample.photos_dir / "obama2.jpg")
    answer = api.submit(
        shown, wait=60, kind="identify", gallery=people, threshold="0.05", top_k="1"
    )
    (face,) = answer.json["results"][0]["faces"]
    assert (face["subject"], len(face["candidates"])) == (None, 1)
    assert face["distance"] > 0.05
    assert answer.json["job"]["threshold"]["distance"] == 0.05


@pytest.mark.parametrize("threshold", ["0", "-0.1", "2.01", "1e9"])
def test_a_threshold_out_of_range_is_refused(api: Api, threshold: str) -> None:
    gallery = api.gallery()
    answer = api.submit(("a.jpg", image()), kind="identify", gallery=gallery, threshold=threshold)
    assert "up to 2" in refused(answer, 422, "threshold_out_of_range")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "kind"),
        ({"kind": "guess"}, "kind"),
        ({"kind": "identify"}, "gallery"),
        ({"kind": "verify", "gallery": NOWHERE}, "subject"),
        ({"kind": "identify", "gallery": NOWHERE, "subject": NOWHERE}, "subject"),
        ({"kind": "detect", "gallery": NOWHERE}, "gallery"),
        ({"kind": "identify", "gallery": NOWHERE, "engine": "dlib-classic"}, "engine"),
        ({"kind": "identify", "gallery": "people"}, "gallery"),
        ({"kind": "detect", "threshold": 0.5}, "threshold"),
        ({"kind": "detect", "top_k": 5}, "top_k"),
        ({"kind": "detect", "multiple_faces": "refuse"}, "multiple_faces"),
        ({"kind": "verify", "gallery": NOWHERE, "subject": NOWHERE, "top_k": 5}, "top_k"),
        ({"kind": "identify", "gallery": NOWHERE, "multiple_faces": "refuse"}, "multiple_faces"),
        ({"kind": "enrol", "gallery": NOWHERE, "threshold": 0.5}, "threshold"),
        ({"kind": "enrol", "gallery": NOWHERE, "top_k": 5}, "top_k"),
        ({"kind": "identify", "gallery": NOWHERE, "threshold": "nan"}, "threshold"),
        ({"kind": "identify", "gallery": NOWHERE, "threshold": "near"}, "threshold"),
        ({"kind": "identify", "gallery": NOWHERE, "top_k": "0"}, "top_k"),
        ({"kind": "detect", "colour": "red"}, "colour"),
        ({"kind": "detect", "multiple_faces": "all"}, "multiple_faces"),
    ],
)
def test_fields_that_make_no_sense_are_named(api: Api, fields: dict, says: str) -> None:
    as_form = api.submit(("a.jpg", image()), **fields)
    assert says in refused(as_form, 422, "invalid_request")
    assert says in refused(api.post("/v1/jobs", json=fields), 422, "invalid_request")


def test_an_unknown_gallery_subject_or_job_is_named(api: Api) -> None:
    shown, gallery = ("a.jpg", image()), api.gallery()
    answer = api.submit(shown, kind="identify", gallery=NOWHERE)
    refused(answer, 404, "gallery_not_found")
    answer = api.submit(shown, kind="verify", gallery=gallery, subject=NOWHERE)
    refused(answer, 404, "subject_not_found")
    refused(api.submit(shown, kind="detect", engine="eyes"), 422, "engine_unknown")
    for path in ("", "/results"):
        refused(api.get(f"/v1/jobs/{NOWHERE}{path}"), 404, "job_not_found")
    for path in ("/seal", "/cancel"):
        refused(api.post(f"/v1/jobs/{NOWHERE}{path}"), 404, "job_not_found")
    refused(api.send(f"/v1/jobs/{NOWHERE}/photos", [shown]), 404, "job_not_found")
    refused(api.delete(f"/v1/jobs/{NOWHERE}"), 404, "job_not_found")


def test_a_strangers_job_is_not_there(api: Api, stranger: Kit) -> None:
    job = stranger.job(seal=False)
    for path in ("", "/results"):
        refused(api.get(f"/v1/jobs/{job}{path}"), 404, "job_not_found")
    for path in ("/seal", "/cancel"):
        refused(api.post(f"/v1/jobs/{job}{path}"), 404, "job_not_found")
    refused(api.send(f"/v1/jobs/{job}/photos", [("a.jpg", image())]), 404, "job_not_found")
    known = {"photos": [{"client_id": "a", "sha256": "0" * 64}]}
    refused(api.post(f"/v1/jobs/{job}/photos", json=known), 404, "job_not_found")
    refused(api.delete(f"/v1/jobs/{job}"), 404, "job_not_found")
    gallery = stranger.gallery()
    answer = api.submit(("a.jpg", image()), kind="identify", gallery=str(gallery))
    refused(answer, 404, "gallery_not_found")
    assert api.get("/v1/jobs").json["jobs"] == []


def test_a_strangers_photos_must_be_sent_all_the_same(api: Api, stranger: Kit) -> None:
    stranger.job(item("secret"))
    digest = hashlib.sha256(b"secret").hexdigest()
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    known = {"photos": [{"client_id": "a", "sha256": digest}]}
    answer = api.post(f"/v1/jobs/{job}/photos", json=known)
    assert answer.json == {"accepted": 0, "missing": ["a"]}


def test_an_open_job_takes_photos_until_it_is_sealed(api: Api, worker: BackgroundWorker) -> None:
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    path = f"/v1/jobs/{job}"
    one, two = ("one.jpg", image(64)), ("two.jpg", image(65))
    assert api.send(f"{path}/photos", [one]).json == {"accepted": 1, "missing": []}
    # Sent again, as after an answer that got lost.
    assert api.send(f"{path}/photos", [one, two]).json == {"accepted": 2, "missing": []}
    assert api.counts(job)["total"] == 2
    known = {"photos": [
        {"client_id": "one again", "sha256": hashlib.sha256(one[1]).hexdigest()},
        {"client_id": "new", "sha256": "0" * 64},
    ]}  # fmt: skip
    answer = api.post(f"{path}/photos", json=known)
    assert answer.json == {"accepted": 1, "missing": ["new"]}
    refused(api.send(f"{path}/photos", [("one.jpg", two[1])]), 409, "duplicate_item")
    assert api.get(path).json["state"] in {"queued", "running"}
    sealed = api.post(f"{path}/seal", headers={"Prefer": "wait=60"})
    assert [one["client_id"] for one in sealed.json["results"]] == [
        "one.jpg", "two.jpg", "one again",
    ]  # fmt: skip
    assert api.post(f"{path}/seal").status_code == 202
    refused(api.send(f"{path}/photos", [("three.jpg", image())]), 409, "job_sealed")


def test_an_empty_job_cannot_be_sealed(api: Api) -> None:
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    refused(api.post(f"/v1/jobs/{job}/seal"), 409, "job_empty")


def test_an_open_enrolment_names_its_subjects_with_the_photos(api: Api) -> None:
    gallery = api.gallery()
    subject = api.subject(gallery, "anna")
    job = made(api.post("/v1/jobs", json={"kind": "enrol", "gallery": gallery}))
    path, shown = f"/v1/jobs/{job}/photos", [("a.jpg", image())]
    refused(api.send(path, shown), 422, "subject_required")
    refused(api.send(f"{path}?subject={NOWHERE}", shown), 404, "subject_not_found")
    assert api.send(f"{path}?subject={subject}", shown).json["accepted"] == 1


@pytest.mark.parametrize("kind", ["identify", "verify", "enrol", "detect"])
def test_photos_name_no_subject_that_their_job_is_not_about(api: Api, kind: str) -> None:
    gallery = api.gallery()
    obama, biden = api.subject(gallery, "obama"), api.subject(gallery, "biden")
    wanted = {"kind": kind, "gallery": gallery, "subject": obama}
    if kind in {"identify", "detect"}:
        del wanted["subject"]
    if kind == "detect":
        del wanted["gallery"]
    job = made(api.post("/v1/jobs", json=wanted))
    path, shown = f"/v1/jobs/{job}/photos", ("a.jpg", image())
    accepted(api.submit(shown, kind="detect"))  # Its bytes are known from now on.
    refused(api.send(f"{path}?subject={biden}", [shown]), 422, "subject_not_allowed")
    known = {"photos": [{"client_id": "a", "sha256": hashlib.sha256(shown[1]).hexdigest()}]}
    refused(api.post(f"{path}?subject={biden}", json=known), 422, "subject_not_allowed")
    if kind in {"verify", "enrol"}:
        assert api.send(f"{path}?subject={obama}", [shown]).json["accepted"] == 1


def test_results_come_in_pages_in_the_order_of_submission(
    api: Api, worker: BackgroundWorker
) -> None:
    names = [f"{n}.jpg" for n in range(7)]
    shown = [(name, image(64 + n)) for n, name in enumerate(names)]
    job = api.submit(*shown, wait=60, kind="detect").json["job"]["id"]
    found, cursor = [], None
    while True:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = api.get(f"/v1/jobs/{job}/results", query_string=query).json
        found += [one["name"] for one in page["results"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert found == names
    refused(
        api.get(f"/v1/jobs/{job}/results", query_string={"cursor": "next"}), 400, "cursor_invalid"
    )
    refused(api.get("/v1/jobs", query_string={"cursor": "next"}), 400, "cursor_invalid")
    for path in ("/v1/jobs", f"/v1/jobs/{job}/results", "/v1/galleries"):
        for limit in ("0", "1001", "-1", "many"):
            refused(api.get(path, query_string={"limit": limit}), 422, "invalid_request")
        assert api.get(path, query_string={"limit": "1000"}).status_code == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("UPDATE model SET version = '0'", "engine_version_unknown"),
        ("DELETE FROM photo", "photo_deleted"),
    ],
)
def test_what_is_gone_when_a_photos_turn_comes_is_said_by_name(
    api: Api, local: Kit, settings: Settings, change: str, code: str
) -> None:
    job = accepted(api.submit(("a.jpg", image()), kind="detect"))
    with transaction(local.database) as session:
        as_owner(session)
        session.execute(text(change))
    with BackgroundWorker(settings):
        api.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"})
    page = api.get(f"/v1/jobs/{job}/results").json
    assert page["job"]["state"] == "failed"
    assert page["results"][0]["error"]["code"] == code


def test_jobs_are_listed_the_latest_first(api: Api) -> None:
    jobs = [made(api.post("/v1/jobs", json={"kind": "detect"})) for _ in range(3)]
    page = api.get("/v1/jobs", query_string={"limit": 2}).json
    assert [one["id"] for one in page["jobs"]] == [jobs[2], jobs[1]]
    rest = api.get("/v1/jobs", query_string={"cursor": page["next_cursor"]}).json
    assert [one["id"] for one in rest["jobs"]] == [jobs[0]]


def test_a_cancelled_job_ends_now(api: Api) -> None:
    job = accepted(api.submit(("a.jpg", image()), ("b.jpg", image(65)), kind="detect"))
    cancelled = api.post(f"/v1/jobs/{job}/cancel").json
    assert (cancelled["state"], cancelled["counts"]["cancelled"]) == ("cancelled", 2)
    again = api.post(f"/v1/jobs/{job}/cancel").json
    assert again["finished_at"] == cancelled["finished_at"]
    results = api.get(f"/v1/jobs/{job}/results").json["results"]
    assert [one["status"] for one in results] == ["cancelled", "cancelled"]


def count(local: Kit, table: type) -> int:
    with transaction(local.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def test_a_deleted_job_takes_its_photos_along(api: Api, local: Kit) -> None:
    job = accepted(api.submit(("a.jpg", image()), kind="detect"))
    assert api.delete(f"/v1/jobs/{job}").status_code == 204
    refused(api.get(f"/v1/jobs/{job}"), 404, "job_not_found")
    assert (count(local, Photo), count(local, DoomedObject)) == (0, 1)


def test_an_accepted_photo_lies_in_the_bucket_and_nothing_lies_beside_it(
    api: Api, local: Kit, settings: Settings
) -> None:
    data = image(200, 100)
    accepted(api.submit(("a.jpg", data), kind="detect"))
    with transaction(local.database) as session:
        row = session.scalars(select(Photo)).one()
    assert ObjectStore.from_settings(settings).get(row.object_key) == data
    assert row.sha256 == hashlib.sha256(data).digest()
    assert unowned(local.database, settings) == set()


def test_a_refused_submission_leaves_its_objects_to_be_deleted(
    api: Api, local: Kit, settings: Settings
) -> None:
    refused(api.submit(("a.jpg", image()), kind="nothing"), 422, "invalid_request")
    assert [count(local, table) for table in (Photo, DoomedObject)] == [0, 1]
    assert unowned(local.database, settings) == set()


def test_the_same_bytes_are_kept_once(api: Api, local: Kit) -> None:
    for _ in range(2):
        accepted(api.submit(("a.jpg", image()), ("b.jpg", image()), kind="detect"))
    assert count(local, Photo) == 1


def test_submissions_at_once_do_not_disturb_each_other(api: Api, local: Kit) -> None:
    shown = [(f"{n}.jpg", image(64 + n % 3)) for n in range(6)]
    answers = []

    def submit() -> None:
        client = Api(api.client.application.test_client())
        answers.append(client.submit(*shown, kind="detect").status_code)

    threads = [threading.Thread(target=submit) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 6
    assert count(local, Photo) == 3
