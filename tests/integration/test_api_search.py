"""Search in a job: every photo of a person, by a photo, a face or a subject."""

import uuid
from io import BytesIO
from typing import Any

import pytest
from api_kit import NOWHERE, Api, BackgroundWorker, Photo, image, photo, refused
from faces_kit import faces_of, of_nobody, of_the_sample, sent
from ledger_kit import Kit, as_owner, done, embedding, item, photo_of, plans
from sqlalchemy import func, select, text
from werkzeug.test import TestResponse

from cli.sample import Sample
from db import job_search, jobs
from db.job_faces import face_embedding
from db.job_search import count_faces, search_faces
from db.models import Job
from db.models import Photo as PhotoRow
from db.results import job_items
from db.session import transaction
from db.states import JobKind
from pipeline.face_limits import FaceLimits
from pipeline.specs import DEFAULT_ENGINE
from pipeline.thresholds import WantedThreshold, decided

WIDE = {"threshold": 2}


def by_photo(api: Api, job: str, shown: Photo, query: str = "", **fields: Any) -> TestResponse:
    files = {"photo": (BytesIO(shown[1]), shown[0])}
    return api.post(f"/v1/jobs/{job}/search{query}", data={**fields, **files})


def by_name(api: Api, job: object, query: str = "", **wanted: Any) -> TestResponse:
    return api.post(f"/v1/jobs/{job}/search{query}", json=wanted)


def names(answer: TestResponse) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json["photos"]]


@pytest.fixture
def job(api: Api, worker: BackgroundWorker, sample: Sample) -> dict[str, Any]:
    return of_the_sample(api, sample)


@pytest.fixture
def obama(sample: Sample) -> Photo:
    return photo(sample.people_dir / "obama" / "obama.jpg")


OF_OBAMA = {"obama2.jpg", "obama3.jpg", "obama_and_biden.jpg"}
OF_BIDEN = {"biden_mirrored.jpg", "obama_and_biden.jpg"}


def test_a_photo_finds_every_photo_of_the_person_and_is_not_kept(
    api: Api, job: dict[str, Any], local: Kit, obama: Photo, sample: Sample
) -> None:
    before = _counts(local)
    answer = by_photo(api, job["id"], obama, threshold=0.6)
    assert set(names(answer)) == OF_OBAMA
    told = answer.json
    distances = [one["distance"] for one in told["photos"]]
    assert distances == sorted(distances)
    assert all(0 < one <= 0.6 for one in distances)
    assert (told["job"], told["faces"], told["threshold"]["subjects"]) == (job["id"], 5, 5)
    assert (told["next_cursor"], told["subject"]) == (None, None)
    (own,) = faces_of(sent(api, obama), obama[0])
    assert told["probe"] == {n: own[n] for n in ("box", "landmarks", "score", "quality")}
    by_face = {one["name"]: one["face"] for one in told["photos"]}
    left, _ = faces_of(job, "obama_and_biden.jpg")
    assert by_face["obama_and_biden.jpg"] == {n: left[n] for n in ("face", "id", "box")}
    biden = photo(sample.people_dir / "biden" / "biden.jpg")
    assert set(names(by_photo(api, job["id"], biden, threshold=0.6))) == OF_BIDEN
    assert _counts(local) == [n + 1 for n in before]  # The job in between.


def _counts(local: Kit) -> list[int]:
    with transaction(local.database) as session:
        return [
            session.scalars(select(func.count()).select_from(table)).one()
            for table in (Job, PhotoRow)
        ]


def test_a_face_of_the_job_finds_the_others_and_itself(api: Api, job: dict[str, Any]) -> None:
    _, biden = faces_of(job, "obama_and_biden.jpg")
    answer = by_name(api, job["id"], face=biden["id"], threshold=0.6)
    assert names(answer)[0] == "obama_and_biden.jpg"
    assert set(names(answer)) == OF_BIDEN
    first = answer.json["photos"][0]
    assert (first["distance"], first["face"]["id"]) == (0, biden["id"])
    assert answer.json["probe"]["box"] == biden["box"]


def test_a_subject_is_as_near_as_the_nearest_of_its_templates(
    api: Api, job: dict[str, Any], obama: Photo, sample: Sample
) -> None:
    gallery = api.gallery()
    subject = api.enrol(gallery, "Barack", obama)
    one = by_name(api, job["id"], subject=subject, threshold=0.6)
    assert set(names(one)) == OF_OBAMA
    assert (one.json["subject"]["name"], one.json["probe"]) == ("Barack", None)
    path = f"/v1/galleries/{gallery}/subjects/{subject}/photos"
    more = photo(sample.photos_dir / "obama2.jpg")
    assert api.send(path, [more], wait=60).status_code == 200
    both = by_name(api, job["id"], subject=subject, threshold=0.6)
    assert names(both)[0] == "obama2.jpg"
    assert both.json["photos"][0]["distance"] == 0
    nearer = {one["name"]: one["distance"] for one in both.json["photos"]}
    assert all(nearer[found["name"]] <= found["distance"] for found in one.json["photos"])
    nobody = api.subject(gallery, "nobody yet")
    assert names(by_name(api, job["id"], subject=nobody, threshold=2)) == []


def test_the_threshold_follows_from_the_number_of_faces(api: Api, local: Kit) -> None:
    job = of_nobody(local, (1,), (2, 3), (4,))
    (face, *_) = _faces(local, job)
    told = by_name(api, job, face=face).json["threshold"]
    expected = decided(DEFAULT_ENGINE, WantedThreshold(), subjects=4)
    assert (told["distance"], told["subjects"]) == (expected.distance, 4)
    assert told["fpir"] == expected.fpir
    aimed = by_name(api, job, face=face, target_fmr=0.001).json["threshold"]
    assert aimed["distance"] == DEFAULT_ENGINE.curve.distance_at(0.001)
    rate = by_name(api, job, face=face, target_fpir=0.5).json["threshold"]
    wanted = WantedThreshold(target_fpir=0.5)
    assert rate["distance"] == decided(DEFAULT_ENGINE, wanted, subjects=4).distance


def _faces(kit: Kit, job_id: uuid.UUID) -> list[int]:
    with transaction(kit.database) as session:
        items = job_items(session, kit.tenant_id, job_id, limit=1000)
    return [face.id for one in items for face in one.faces]


def test_each_photo_comes_once_with_its_nearest_face(api: Api, local: Kit) -> None:
    job = of_nobody(local, (1, 7, 1), (2, 3), (7,))
    faces = _faces(local, job)
    photos = by_name(api, job, face=faces[1], **WIDE).json["photos"]
    assert [one["name"] for one in photos][:2] == ["0.jpg", "2.jpg"]
    assert len(photos) == 3
    assert [one["face"]["face"] for one in photos][:2] == [1, 0]
    assert [one["distance"] for one in photos][:2] == [0, 0]


def test_a_photo_that_is_there_twice_is_found_twice_and_counts_once(api: Api, local: Kit) -> None:
    job = local.job(item("a.jpg", "same"), item("b.jpg", "same"))
    local.record(*(done(one, photo_of(1)) for one in local.claim_all()))
    answer = by_name(api, job, face=_faces(local, job)[0], **WIDE)
    assert (names(answer), answer.json["faces"]) == (["a.jpg", "b.jpg"], 1)


def test_pages_have_no_gaps_and_ties_keep_their_order(api: Api, local: Kit) -> None:
    job = of_nobody(local, *[(seed % 3,) for seed in range(11)])
    face = _faces(local, job)[0]
    whole = names(by_name(api, job, face=face, **WIDE))
    assert len(whole) == 11
    assert whole[:4] == ["0.jpg", "3.jpg", "6.jpg", "9.jpg"]
    paged, query = [], "?limit=2"
    while query:
        answer = by_name(api, job, query, face=face, **WIDE)
        assert len(names(answer)) <= 2
        paged += names(answer)
        cursor = answer.json["next_cursor"]
        query = f"?limit=2&cursor={cursor}" if cursor else ""
    assert paged == whole
    for wrong in ("x", "1", ":", "nan:1", "inf:1", "0.5:-1", f"0.5:{10**30}", "0.5:1:2"):
        answer = by_name(api, job, f"?cursor={wrong}", face=face)
        refused(answer, 400, "cursor_invalid")
    refused(by_name(api, job, "?limit=1001", face=face), 422, "invalid_request")


def test_faces_that_the_job_leaves_out_are_not_searched(api: Api, local: Kit) -> None:
    # The second face of a photo is a pixel wider.
    limits = FaceLimits(min_face_px=51)
    job = of_nobody(local, (1, 2), (2, 1), limits=limits)
    answer = by_name(api, job, face=_faces(local, job)[0], **WIDE)
    assert answer.json["faces"] == 2
    assert {one["face"]["face"] for one in answer.json["photos"]} == {1}
    with transaction(local.database) as session:
        left_out = session.execute(text("SELECT min(id) FROM face WHERE ordinal = 0")).scalar_one()
    refused(by_name(api, job, face=left_out), 404, "face_not_found")


def test_a_quality_that_just_passes_is_searched(api: Api, local: Kit) -> None:
    job = of_nobody(local, (1,), (2,), limits=FaceLimits(min_quality=0.7))
    with transaction(local.database) as session:
        session.execute(
            text("""
                UPDATE face SET quality = 0.7, quality_limit = 'size', sharpness = 1, width_px = 9,
                                yaw = 0, pitch = 0, roll = 0
            """)
        )
        session.execute(text("UPDATE item SET state = 'done'"))
    faces = _faces(local, job)
    assert len(faces) == 2
    assert by_name(api, job, face=faces[0], **WIDE).json["faces"] == 2


def test_what_belongs_to_another_tenant_is_not_there(api: Api, local: Kit, stranger: Kit) -> None:
    mine, foreign = of_nobody(local, (1,)), of_nobody(stranger, (1,), (2,))
    subject = stranger.enrol(stranger.gallery(), "Eve", 1)
    (own,) = _faces(local, mine)
    (theirs, _) = _faces(stranger, foreign)
    refused(by_name(api, foreign, face=theirs), 404, "job_not_found")
    refused(by_name(api, foreign, face=own), 404, "job_not_found")
    refused(by_photo(api, str(foreign), ("a.jpg", image())), 404, "job_not_found")
    refused(by_name(api, mine, face=theirs), 404, "face_not_found")
    refused(by_name(api, mine, subject=str(subject)), 404, "subject_not_found")
    answer = by_name(api, mine, face=own, **WIDE)
    assert (names(answer), answer.json["faces"]) == (["0.jpg"], 1)


def test_engines_are_not_mixed(
    api: Api, worker: BackgroundWorker, local: Kit, obama: Photo
) -> None:
    subject = api.enrol(api.gallery(), "Barack", obama)
    sface = sent(api, obama, engine="sface")
    refused(by_name(api, sface["id"], subject=subject), 409, "engines_differ")
    # A photo is looked at by the job's own engine.
    assert names(by_photo(api, sface["id"], obama)) == [obama[0]]
    assert by_photo(api, sface["id"], obama).json["engine"]["name"] == "sface"
    with transaction(local.database) as session:
        as_owner(session)
        session.execute(text("UPDATE model SET version = 'of old' WHERE engine = 'sface'"))
    refused(by_photo(api, sface["id"], obama), 409, "engines_differ")
    (face,) = faces_of(sface, obama[0])
    refused(by_name(api, sface["id"], face=face["id"]), 422, "target_unsupported")
    answer = by_name(api, sface["id"], face=face["id"], threshold=1.0)
    assert names(answer) == [obama[0]]


def test_a_job_that_has_not_ended_is_not_searched(api: Api, local: Kit) -> None:
    open_job = local.job(seal=False)
    refused(by_name(api, open_job, face=1), 409, "job_unfinished")
    refused(by_photo(api, str(open_job), ("a.jpg", image())), 409, "job_unfinished")
    refused(by_name(api, NOWHERE, face=1), 404, "job_not_found")


def test_a_probe_that_shows_nobody_is_refused(api: Api, job: dict[str, Any], local: Kit) -> None:
    before = _counts(local)
    refused(by_photo(api, job["id"], ("grey.jpg", image(61, 60))), 422, "no_face")
    refused(by_photo(api, job["id"], ("a.jpg", b"words")), 422, "not_an_image")
    refused(by_photo(api, job["id"], ("a.jpg", b"")), 422, "empty_file")
    assert _counts(local) == before


def test_bad_requests_are_refused_by_name(api: Api, local: Kit) -> None:
    job = of_nobody(local, (1,))
    (face,) = _faces(local, job)
    refused(by_name(api, job), 422, "invalid_request")
    refused(by_name(api, job, face=face, subject=NOWHERE), 422, "invalid_request")
    refused(by_name(api, job, face="1"), 422, "invalid_request")
    refused(by_name(api, job, face=0), 422, "invalid_request")
    refused(by_name(api, job, face=10**30), 422, "invalid_request")
    refused(by_name(api, job, face=face, threshold=0), 422, "threshold_out_of_range")
    refused(by_name(api, job, face=face, target_fmr=2), 422, "invalid_request")
    refused(by_name(api, job, face=face, target_fmr=0.1, target_fpir=0.1), 422, "invalid_request")
    shown = ("a.jpg", image())
    refused(by_photo(api, str(job), shown, face=face), 422, "invalid_request")
    refused(by_photo(api, str(job), shown, threshold=5), 422, "threshold_out_of_range")
    two = api.send(f"/v1/jobs/{job}/search", [shown, shown], field="photo")
    refused(two, 422, "invalid_request")


def test_a_search_that_would_take_too_long_is_refused(
    api: Api, local: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = of_nobody(local, (1, 2), (3,))
    face = _faces(local, job)[0]
    monkeypatch.setattr(job_search, "MAX_COMPARISONS", 2)
    refused(by_name(api, job, face=face), 409, "search_too_large")
    monkeypatch.setattr(job_search, "MAX_COMPARISONS", 3)
    assert by_name(api, job, face=face).status_code == 200
    subject = local.enrol(local.gallery(), "Ada", 1)
    monkeypatch.setattr(job_search, "MAX_TEMPLATES", 0)
    refused(by_name(api, job, subject=str(subject)), 409, "search_too_large")


def test_photos_that_were_deleted_since_are_not_found(api: Api, local: Kit) -> None:
    gallery = local.gallery()
    ada = local.enrol(gallery, "Ada", 1)
    with transaction(local.database) as session:
        job = session.scalars(select(Job.id).where(Job.kind == JobKind.ENROL)).one()
    assert names(by_name(api, job, subject=str(ada), **WIDE)) == ["Ada-1"]
    api.delete(f"/v1/galleries/{gallery}/subjects/{ada}")
    bob = local.enrol(gallery, "Bob", 1)
    assert names(by_name(api, job, subject=str(bob), **WIDE)) == []


_MANY = text("""
    WITH job AS (SELECT id, tenant_id, model_id FROM job WHERE id = :job),
    photos AS (
        INSERT INTO photo (id, tenant_id, sha256, size_bytes, object_key)
        SELECT gen_random_uuid(), tenant_id, sha256(convert_to(:salt || n, 'UTF8')), 1,
               :salt || '/' || n
        FROM job, generate_series(1, :n) AS n
        RETURNING id, tenant_id
    ), extractions AS (
        INSERT INTO extraction (tenant_id, photo_id, model_id, width_px, height_px)
        SELECT photos.tenant_id, photos.id, model_id, 640, 480 FROM job, photos
        RETURNING id, tenant_id, photo_id
    ), faces AS (
        INSERT INTO face (tenant_id, extraction_id, ordinal, left_px, top_px, right_px, bottom_px,
                          landmarks_px, score)
        SELECT tenant_id, id, ordinal, 1, 1, 50, 50, '{}', 1
        FROM extractions, generate_series(0, 1) AS ordinal
        RETURNING id, tenant_id
    ), embeddings AS (
        INSERT INTO embedding (tenant_id, face_id, model_id, vector)
        SELECT faces.tenant_id, faces.id, model_id, CAST(:vector AS vector) FROM job, faces
    )
    INSERT INTO item (tenant_id, job_id, photo_id, name, state, fence, attempt, extraction_id)
    SELECT extractions.tenant_id, job.id, photo_id, 'x', 'done', 1, 1, extractions.id
    FROM job, extractions
""")


def test_a_search_reads_the_faces_of_its_job_alone_by_index(local: Kit) -> None:
    """One of 200 faces among 100,000."""
    small, large = of_nobody(local, (1,)), of_nobody(local, (1,))
    vector = "[" + ",".join(map(str, embedding(1))) + "]"
    with transaction(local.database) as session:
        for job_id, n in ((small, 100), (large, 50_000)):
            values = {"job": job_id, "n": n, "salt": uuid.uuid4().hex, "vector": vector}
            session.execute(_MANY, values)
        as_owner(session)
        session.execute(text("ANALYZE"))
    with transaction(local.database) as session:
        job = jobs.get_job(session, local.tenant_id, small)
        probe = face_embedding(session, local.tenant_id, _faces(local, job.id)[0])

    def search() -> None:
        with transaction(local.database) as session:
            faces = count_faces(session, local.tenant_id, job)
            assert faces == 201
            search_faces(
                session, local.tenant_id, job, [probe], faces=faces, max_distance=0.5, limit=101
            )

    said = plans(local, search)
    assert len(said) == 2
    for plan in said:
        tables = ("item", "face", "embedding", "extraction", "photo")
        assert not [one for one in tables if f"Seq Scan on {one}" in plan], plan
