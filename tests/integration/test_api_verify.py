"""Verification of two photos, of one and a subject, and of faces of jobs; nothing of it is kept."""

import uuid
from io import BytesIO
from typing import Any

import pytest
from api_kit import NOWHERE, Api, BackgroundWorker, Photo, image, photo, refused
from faces_kit import faces_of, of_nobody, of_the_sample, sent
from ledger_kit import Kit
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from cli.sample import Sample
from db.models import Face, Job
from db.models import Photo as PhotoRow
from db.results import job_items
from db.session import transaction
from db.settings import Settings
from db.storage import ObjectStore
from pipeline.specs import DEFAULT_ENGINE, engine_spec
from workers.reconciler import Reconciler


@pytest.fixture
def obama(sample: Sample) -> Photo:
    return photo(sample.people_dir / "obama" / "obama.jpg")


@pytest.fixture
def obama_again(sample: Sample) -> Photo:
    return photo(sample.photos_dir / "obama2.jpg")


@pytest.fixture
def biden(sample: Sample) -> Photo:
    return photo(sample.people_dir / "biden" / "biden.jpg")


def verify(api: Api, first: Photo, second: Photo | None = None, **query: Any) -> TestResponse:
    """By the classic form."""
    return _verify(api, "/verify", "image", first, second, query_string=query)


def verified(api: Api, first: Photo, second: Photo | None = None, **fields: Any) -> TestResponse:
    """By the API's own."""
    return _verify(api, "/v1/verifications", "photo", first, second, fields=fields)


def _verify(
    api: Api,
    path: str,
    field: str,
    first: Photo,
    second: Photo | None,
    *,
    fields: dict[str, Any] | None = None,
    query_string: dict[str, Any] | None = None,
) -> TestResponse:
    files = {field: (BytesIO(first[1]), first[0])}
    if second:
        files["reference"] = (BytesIO(second[1]), second[0])
    return api.post(path, data={**(fields or {}), **files}, query_string=query_string)


def left_over(local: Kit) -> tuple[int, ...]:
    with transaction(local.database) as session:
        return tuple(
            session.scalars(select(func.count()).select_from(one)).one()
            for one in (Job, PhotoRow, Face)
        )


def test_two_photos_of_one_person_match_and_of_two_do_not(
    api: Api, worker: BackgroundWorker, local: Kit, obama: Photo, obama_again: Photo, biden: Photo
) -> None:
    same = verify(api, obama, obama_again)
    assert same.status_code == 200, same.text
    told = same.json
    limit, curve = DEFAULT_ENGINE.threshold_distance, DEFAULT_ENGINE.curve
    assert told["status"] == "match"
    assert 0 < told["distance"] <= told["threshold"] == limit
    assert told["fmr"] == pytest.approx(curve.fmr_at(limit), rel=1e-2)
    assert told["fnmr"] == pytest.approx(curve.fnmr_at(limit), rel=1e-2)
    assert (told["engine"], told["subject"]) == ("dlib", None)
    other = verify(api, obama, biden).json
    assert (other["status"], other["distance"] > limit) == ("no_match", True)
    assert left_over(local) == (0, 0, 0)


def test_the_faces_that_were_compared_are_the_largest_of_each_photo(
    api: Api, worker: BackgroundWorker, biden: Photo, sample: Sample
) -> None:
    both = photo(sample.photos_dir / "obama_and_biden.jpg")
    seen = sent(api, both, biden)
    areas = {
        (right - left) * (bottom - top): [left, top, right, bottom]
        for face in faces_of(seen, both[0])
        for left, top, right, bottom in [face["box"]]
    }
    assert len(areas) == 2
    told = verify(api, both, biden).json
    assert told["face"]["box"] == areas[max(areas)]
    (only,) = faces_of(seen, biden[0])
    assert told["reference"] == {
        name: only[name] for name in ("box", "landmarks", "score", "quality")
    }


def test_the_threshold_and_the_engine_are_the_clients(
    api: Api, worker: BackgroundWorker, obama: Photo, obama_again: Photo
) -> None:
    strict = verify(api, obama, obama_again, threshold=0.05).json
    assert (strict["status"], strict["threshold"]) == ("no_match", 0.05)
    aimed = verify(api, obama, obama_again, target_fmr=0.001).json
    assert aimed["threshold"] == DEFAULT_ENGINE.curve.distance_at(0.001)
    other = verify(api, obama, obama_again, engine="sface").json
    assert (other["engine"], other["threshold"]) == (
        "sface",
        engine_spec("sface").threshold_distance,
    )
    assert other["status"] == "match"
    assert other["distance"] != strict["distance"]


def test_a_photo_is_verified_against_a_registered_user(
    api: Api, worker: BackgroundWorker, local: Kit, obama: Photo, obama_again: Photo, biden: Photo
) -> None:
    user = api.send("/register", [obama], field="image", name="Barack").json["user_id"]
    kept = left_over(local)
    path, field = "/verify", "image"
    told = _verify(api, path, field, obama_again, None, fields={"user_id": user}).json
    assert told["status"] == "match"
    assert (told["subject"]["user_id"], told["subject"]["name"]) == (user, "Barack")
    assert told["reference"] is None
    both = verify(api, obama, obama_again).json
    assert told["distance"] == pytest.approx(both["distance"], abs=1e-4)
    by_id = {"subject": told["subject"]["id"]}
    assert _verify(api, path, field, obama_again, None, fields=by_id).json == told
    assert _verify(api, path, field, biden, None, fields=by_id).json["status"] == "no_match"
    assert left_over(local) == kept


def test_the_api_tells_the_same_as_the_classic_form(
    api: Api, worker: BackgroundWorker, local: Kit, obama: Photo, obama_again: Photo
) -> None:
    classic = verify(api, obama, obama_again).json
    answer = verified(api, obama, obama_again)
    assert answer.status_code == 200, answer.text
    told = answer.json
    assert told["match"] is True
    assert round(told["distance"], 4) == classic["distance"]
    assert (told["face"], told["reference"]) == (classic["face"], classic["reference"])
    assert told["threshold"]["distance"] == classic["threshold"]
    assert told["threshold"]["subjects"] is None
    assert told["engine"]["name"] == "dlib"
    assert left_over(local) == (0, 0, 0)
    gallery = api.gallery()
    subject = api.enrol(gallery, "Barack", obama)
    one = verified(api, obama_again, subject=subject).json
    assert one["subject"] == {"id": subject, "name": "Barack"}
    assert one["distance"] == pytest.approx(told["distance"], abs=1e-6)
    nobody = api.subject(gallery, "nobody yet")
    without = verified(api, obama_again, subject=nobody).json
    assert (without["match"], without["distance"]) == (False, None)


def test_faces_of_jobs_are_compared_without_a_photo(
    api: Api, worker: BackgroundWorker, obama: Photo, sample: Sample
) -> None:
    job = of_the_sample(api, sample, "obama2.jpg", "obama_and_biden.jpg")
    (alone,) = faces_of(job, "obama2.jpg")
    beside, biden = faces_of(job, "obama_and_biden.jpg")

    def compare(one: dict[str, Any], **other: Any) -> Any:
        body = {"face": {"job": job["id"], "face": one["id"]}, **other}
        answer = api.post("/v1/verifications", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json

    same = compare(alone, reference={"job": job["id"], "face": beside["id"]})
    other = compare(alone, reference={"job": job["id"], "face": biden["id"]})
    assert (same["match"], other["match"]) == (True, False)
    assert same["distance"] < other["distance"]
    assert (same["face"]["box"], same["reference"]["box"]) == (alone["box"], beside["box"])
    tight = compare(alone, reference={"job": job["id"], "face": beside["id"]}, threshold=0.01)
    assert (tight["match"], tight["threshold"]["distance"]) == (False, 0.01)
    subject = api.enrol(api.gallery(), "Barack", obama)
    whom = compare(alone, subject=subject)
    assert (whom["match"], whom["subject"]["name"]) == (True, "Barack")
    sface = sent(api, obama, engine="sface")
    (foreign,) = faces_of(sface, obama[0])
    body = {
        "face": {"job": job["id"], "face": alone["id"]},
        "reference": {"job": sface["id"], "face": foreign["id"]},
    }
    refused(api.post("/v1/verifications", json=body), 409, "engines_differ")
    body = {"face": body["reference"], "subject": subject}
    refused(api.post("/v1/verifications", json=body), 409, "engines_differ")


def test_faces_and_subjects_of_others_are_not_there(api: Api, local: Kit, stranger: Kit) -> None:
    mine, foreign = of_nobody(local, (1, 2)), of_nobody(stranger, (1,))
    gallery = stranger.gallery()
    subject = stranger.enrol(gallery, "Eve", 1)
    first, second = face_ids(local, mine)
    (theirs,) = face_ids(stranger, foreign)
    known = {"job": str(mine), "face": first}

    def refusal(face: dict[str, Any], code: str, **other: Any) -> None:
        answer = api.post("/v1/verifications", json={"face": face, **other})
        refused(answer, 404, code)

    ok = {"reference": {"job": str(mine), "face": second}}
    assert api.post("/v1/verifications", json={"face": known, **ok}).status_code == 200
    refusal({"job": str(foreign), "face": theirs}, "job_not_found", **ok)
    refusal({"job": str(mine), "face": theirs}, "face_not_found", **ok)
    refusal(known, "face_not_found", reference={"job": str(mine), "face": theirs})
    refusal(known, "job_not_found", reference={"job": NOWHERE, "face": second})
    refusal(known, "subject_not_found", subject=str(subject))
    refusal({"job": str(mine), "face": 2**63 - 1}, "face_not_found", **ok)
    refused(verified(api, ("a.jpg", image()), subject=subject), 404, "subject_not_found")
    refused(
        _verify(api, "/verify", "image", ("a.jpg", image()), None, fields={"subject": subject}),
        404,
        "subject_not_found",
    )


def face_ids(kit: Kit, job_id: uuid.UUID) -> list[int]:
    with transaction(kit.database) as session:
        items = job_items(session, kit.tenant_id, job_id)
    return [face.id for one in items for face in one.faces]


def test_a_photo_that_cannot_be_compared_is_told_by_its_field(
    api: Api,
    worker: BackgroundWorker,
    local: Kit,
    obama: Photo,
    settings: Settings,
) -> None:
    store = ObjectStore.from_settings(settings)
    before = {*store.keys("")}
    grey, words = ("grey.jpg", image()), ("a.jpg", b"words")
    assert "in the reference" in refused(verify(api, obama, grey), 422, "no_face")
    assert "in the image" in refused(verify(api, grey, obama), 422, "no_face")
    assert "reference:" in refused(verify(api, obama, words), 422, "not_an_image")
    assert "photo:" in refused(verified(api, words, obama), 422, "not_an_image")
    refused(verify(api, obama, ("a.jpg", b"")), 422, "empty_file")
    assert left_over(local) == (0, 0, 0)
    Reconciler(settings, local.database, store).reconcile()
    assert {*store.keys("")} - before == set()


def test_bad_requests_are_refused_before_anybody_waits(api: Api, local: Kit, obama: Photo) -> None:
    refused(verify(api, obama), 422, "invalid_request")
    refused(verified(api, obama), 422, "invalid_request")
    refused(verified(api, obama, obama, subject=NOWHERE), 404, "subject_not_found")
    subject = str(local.subject(local.gallery(), "Ada"))
    refused(verified(api, obama, obama, subject=subject), 422, "invalid_request")
    refused(verified(api, obama, subject=subject, engine="dlib"), 422, "invalid_request")
    refused(verified(api, obama, obama, engine="eyes"), 422, "engine_unknown")
    refused(verified(api, obama, obama, threshold=3), 422, "threshold_out_of_range")
    refused(verified(api, obama, obama, threshold="nan"), 422, "invalid_request")
    refused(verified(api, obama, obama, threshold=1, target_fmr=0.1), 422, "invalid_request")
    refused(verified(api, obama, obama, top_k=3), 422, "invalid_request")
    both = {"user_id": 1, "subject": subject}
    answer = _verify(api, "/verify", "image", obama, None, fields=both)
    refused(answer, 422, "invalid_request")
    for number in (2**63 - 1, 10**30):
        answer = _verify(api, "/verify", "image", obama, None, fields={"user_id": number})
        assert answer.status_code in {404, 422}, answer.text
    refused(api.post("/v1/verifications", json={}), 422, "invalid_request")
    assert left_over(local) == (0, 0, 0)
