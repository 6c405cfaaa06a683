"""Faces cut out over HTTP: whose they are, that they tell nothing else, and that they go."""

import io
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import redis
from api_kit import NOWHERE, Api, BackgroundWorker, Photo, accepted, photo, refused
from faces_kit import faces_of, of_nobody, of_the_sample, sent
from ledger_kit import Kit
from PIL import Image, ImageOps
from pydantic import SecretStr
from source_kit import zipped
from sqlalchemy import select, text
from werkzeug.test import TestResponse
from worker_kit import StartWorker, wait_until

from cli.sample import Sample
from db.crops import asking, queue
from db.crops.asking import WantedCrop, ask_for_crop, drop_expired_crops
from db.errands import unsend_errands
from db.models import Crop
from db.nudge import CROP, URGENT
from db.results import job_items
from db.session import transaction
from db.settings import Settings
from db.states import CropState
from db.storage import ObjectStore
from workers.celery_app import MAKE_CROP, URGENT_QUEUE, make_celery
from workers.context import WorkerContext
from workers.dispatcher import Dispatcher, QueueUnavailableError
from workers.reconciler import Reconciler
from workers.stages.cropping import make_crop


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return ObjectStore.from_settings(settings)


@pytest.fixture
def context(settings: Settings, local: Kit, store: ObjectStore) -> WorkerContext:
    """A worker's, as far as crops need it."""
    return WorkerContext(settings=settings, database=local.database, store=store)


@pytest.fixture
def obama(sample: Sample) -> Photo:
    return photo(sample.people_dir / "obama" / "obama.jpg")


def crop(api: Api, job: object, face: object, query: str = "", **headers: str) -> TestResponse:
    return api.get(f"/v1/jobs/{job}/faces/{face}/crop{query}", headers=headers)


def picture(answer: TestResponse) -> Image.Image:
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "image/jpeg"
    image = Image.open(io.BytesIO(answer.data))
    assert image.format == "JPEG"
    image.load()
    return image


def kept(local: Kit) -> list[Any]:
    with transaction(local.database) as session:
        rows = session.execute(select(Crop.face_id, Crop.state, Crop.data).order_by(Crop.id))
        return [tuple(row) for row in rows]


def off(one: Image.Image, other: Image.Image) -> float:
    """How far two pictures of about one size are apart, a channel."""
    same = other.convert("RGB").resize(one.size)
    return float(np.abs(np.asarray(one, dtype=int) - np.asarray(same, dtype=int)).mean())


# ---------------------------------------------------------------- what is cut out


def test_a_face_is_cut_out_with_its_margin(
    api: Api, worker: BackgroundWorker, sample: Sample
) -> None:
    job = of_the_sample(api, sample, "obama_and_biden.jpg")
    whole = Image.open(sample.photos_dir / "obama_and_biden.jpg").convert("RGB")
    for face in faces_of(job, "obama_and_biden.jpg"):
        left, top, right, bottom = face["box"]
        plain = picture(crop(api, job["id"], face["id"], "?margin=0&size=1024"))
        assert plain.size == (right - left, bottom - top)
        assert off(plain, whole.crop((left, top, right, bottom))) < 4
        wide = picture(crop(api, job["id"], face["id"], "?margin=0.5&size=64"))
        assert max(wide.size) == 64
        x, y = round((right - left) / 2), round((bottom - top) / 2)
        box = (
            max(left - x, 0),
            max(top - y, 0),
            min(right + x, whole.width),
            min(bottom + y, whole.height),
        )
        assert off(wide, whole.crop(box)) < 8
    assert max(picture(crop(api, job["id"], face["id"])).size) <= 256


def with_gps(data: bytes, orientation: int) -> bytes:
    """The photo as a camera that lay like this has it, with a position and a profile."""
    with Image.open(io.BytesIO(data)) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    lying = image if back is None else image.transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Camera of Ada"
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (52.0, 31.0, 12.0), "E", (13.0, 24.0, 36.0)
    out = io.BytesIO()
    lying.save(out, "JPEG", quality=95, exif=exif, comment=b"serial 4711")
    return out.getvalue()


def test_all_orientations_come_upright_and_without_exif(
    api: Api, worker: BackgroundWorker, obama: Photo
) -> None:
    photos = [(f"{n}.jpg", with_gps(obama[1], n)) for n in range(1, 9)]
    job = sent(api, *photos)
    (first,) = faces_of(job, "1.jpg")
    upright = picture(crop(api, job["id"], first["id"], "?margin=0.2"))
    for name, data in photos:
        with Image.open(io.BytesIO(data)) as stored:
            assert stored.getexif().get_ifd(0x8825)
        (face,) = faces_of(job, name)
        answer = crop(api, job["id"], face["id"], "?margin=0.2")
        image = picture(answer)
        assert off(upright, image) < 10, name
        assert off(upright, ImageOps.flip(image)) > 25
        assert not image.getexif()
        assert "icc_profile" not in image.info
        for told in (b"Exif", b"Ada", b"4711", b"GPS"):
            assert told not in answer.data


def test_a_photo_in_a_zip_and_one_of_its_owners_bucket_can_be_cut(
    api: Api, worker: BackgroundWorker, store: ObjectStore, obama: Photo, sample: Sample
) -> None:
    biden = photo(sample.people_dir / "biden" / "biden.jpg")
    archive = (io.BytesIO(zipped({"a/obama.jpg": obama[1], "b.jpg": biden[1]})), "photos.zip")
    zipped_job = accepted(api.post("/v1/jobs", data={"kind": "detect", "archive": archive}))
    folder = f"sources/local/{uuid.uuid4().hex}/"
    foreign = photo(sample.photos_dir / "obama2.jpg")
    key = store.put(f"{folder}obama2.jpg", [foreign[1]]).key
    sources = [{"kind": "prefix", "prefix": folder}]
    listed = accepted(api.post("/v1/jobs", json={"kind": "detect", "sources": sources}))
    for job, count in ((zipped_job, 2), (listed, 1)):
        api.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=60"})
        results = api.get(f"/v1/jobs/{job}/results").json["results"]
        faces = [face["id"] for one in results for face in one["faces"]]
        assert len(faces) == count
        for face in faces:
            assert max(picture(crop(api, job, face)).size) > 50
    # What its owner has replaced is another photo, and what is gone is gone.
    store.put(key, [biden[1]])
    refused(crop(api, listed, faces[0], "?size=100"), 404, "photo_gone")
    store.delete([key])
    refused(crop(api, listed, faces[0], "?size=101"), 404, "photo_gone")


# ---------------------------------------------------------------- whose they are


def test_a_face_of_another_tenant_or_job_is_not_there(api: Api, local: Kit, stranger: Kit) -> None:
    mine, other, foreign = (of_nobody(kit, (n,)) for n, kit in enumerate((local, local, stranger)))
    own, others, theirs = face_of(local, mine), face_of(local, other), face_of(stranger, foreign)
    refused(crop(api, foreign, theirs), 404, "job_not_found")
    refused(crop(api, NOWHERE, own), 404, "job_not_found")
    refused(crop(api, mine, theirs), 404, "face_not_found")
    refused(crop(api, mine, others), 404, "face_not_found")
    refused(crop(api, mine, 2**63 - 1), 404, "face_not_found")
    refused(crop(api, mine, 10**30), 422, "invalid_request")
    refused(crop(api, mine, "x"), 404, "route_not_found")
    assert kept(local) == []


def face_of(kit: Kit, job_id: uuid.UUID) -> int:
    with transaction(kit.database) as session:
        (one,) = job_items(session, kit.tenant_id, job_id)
    return one.faces[0].id


def test_sizes_and_margins_have_bounds(api: Api, local: Kit) -> None:
    job = of_nobody(local, (1,))
    face = face_of(local, job)
    for query in (
        *("size=0", "size=15", "size=1025", "size=99999999999999999999", "size=x", "size=1.5"),
        *("margin=-0.1", "margin=2.1", "margin=nan", "margin=inf", "margin=1e400", "quality=1"),
    ):
        refused(crop(api, job, face, f"?{query}"), 422, "invalid_request")
    assert kept(local) == []


# ---------------------------------------------------------------- kept, and not


def test_a_client_that_has_it_is_told_so_without_a_worker(
    api: Api, worker: BackgroundWorker, local: Kit, sample: Sample
) -> None:
    job = of_the_sample(api, sample, "obama2.jpg")
    (face,) = faces_of(job, "obama2.jpg")
    first = crop(api, job["id"], face["id"])
    assert first.headers["Cache-Control"] == "private, no-cache"
    tag = first.headers["ETag"]
    with transaction(local.database) as session:
        session.execute(text("DELETE FROM crop"))
    again = crop(api, job["id"], face["id"], **{"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert kept(local) == []
    other = crop(api, job["id"], face["id"], "?size=100", **{"If-None-Match": tag})
    assert other.status_code == 200
    assert other.headers["ETag"] != tag
    # Whoever has it has no right to it any more.
    api.delete(f"/v1/jobs/{job['id']}")
    refused(crop(api, job["id"], face["id"], **{"If-None-Match": tag}), 404, "job_not_found")


def test_what_many_ask_for_is_made_once(
    api: Api, local: Kit, context: WorkerContext, obama: Photo, worker: BackgroundWorker
) -> None:
    job = sent(api, obama)
    (face,) = faces_of(job, obama[0])

    def ask(_: int) -> bytes:
        return crop(Api(api.client.application.test_client()), job["id"], face["id"]).data

    with ThreadPoolExecutor(6) as pool:
        made = set(pool.map(ask, range(6)))
    assert len(made) == 1
    ((face_id, state, data),) = kept(local)
    assert (face_id, state, {data}) == (face["id"], CropState.DONE, made)
    with transaction(local.database) as session:
        assert session.scalars(select(Crop.fence)).one() == 1


def deletes_the_job(api: Api, job: str, _gallery: str, _subject: str) -> None:
    assert api.delete(f"/v1/jobs/{job}").status_code == 204


def deletes_the_subject(api: Api, _job: str, gallery: str, subject: str) -> None:
    assert api.delete(f"/v1/galleries/{gallery}/subjects/{subject}").status_code == 204


def deletes_the_gallery(api: Api, _job: str, gallery: str, _subject: str) -> None:
    assert api.delete(f"/v1/galleries/{gallery}").status_code == 204


@pytest.mark.parametrize("delete", [deletes_the_job, deletes_the_subject, deletes_the_gallery])
def test_nothing_of_a_face_is_left_when_its_photo_is_deleted(
    api: Api,
    worker: BackgroundWorker,
    local: Kit,
    settings: Settings,
    store: ObjectStore,
    obama: Photo,
    delete: Callable[[Api, str, str, str], None],
) -> None:
    before = {*store.keys("")}
    gallery = api.gallery()
    subject = api.subject(gallery, "Barack")
    if delete is deletes_the_job:
        job = sent(api, obama)["id"]
    else:
        path = f"/v1/galleries/{gallery}/subjects/{subject}/photos"
        job = api.send(path, [obama], wait=60).json["job"]["id"]
    (one,) = api.get(f"/v1/jobs/{job}/results").json["results"]
    face = one["faces"][0]["id"]
    for query in ("?size=64", "?size=128", "?margin=1"):
        made = crop(api, job, face, query)
        assert made.status_code == 200
    assert len(kept(local)) == 3
    delete(api, job, gallery, subject)
    # At once, in the very transaction: no look of anybody's is waited for.
    assert kept(local) == []
    assert crop(api, job, face).status_code == 404
    Reconciler(settings, local.database, store).reconcile()
    left = {*store.keys("")} - before
    assert left == set()
    assert all(made.data not in store.get(key) for key in before)


def test_a_crop_lies_in_no_object(
    api: Api, worker: BackgroundWorker, store: ObjectStore, obama: Photo
) -> None:
    job = sent(api, obama)
    (face,) = faces_of(job, obama[0])
    before = {*store.keys("")}
    picture(crop(api, job["id"], face["id"]))
    assert {*store.keys("")} == before


def test_a_face_that_is_deleted_while_it_is_cut_out_is_not_kept(
    api: Api, local: Kit, context: WorkerContext, obama: Photo, worker: BackgroundWorker
) -> None:
    job = sent(api, obama)
    (face,) = faces_of(job, obama[0])
    wanted = WantedCrop(face_id=face["id"], margin_percent=1, size_px=64)
    with transaction(local.database) as session:
        asked = ask_for_crop(session, local.tenant_id, wanted)
        claim = queue.claim_crop(session, asked.id, lease_s=60, max_attempts=3)
    api.delete(f"/v1/jobs/{job['id']}")
    with transaction(local.database) as session:
        assert not queue.finish_crop(session, claim, b"a face")
    assert kept(local) == []


def test_a_subject_that_is_deleted_leaves_no_way_to_its_photo(
    api: Api, worker: BackgroundWorker, local: Kit, obama: Photo
) -> None:
    # The photo stays, for a job of somebody else's has it too.
    gallery = api.gallery()
    subject = api.subject(gallery, "Barack")
    path = f"/v1/galleries/{gallery}/subjects/{subject}/photos"
    enrolment = api.send(path, [obama], wait=60).json["job"]["id"]
    other = sent(api, obama)["id"]
    (one,) = api.get(f"/v1/jobs/{other}/results").json["results"]
    face = one["faces"][0]["id"]
    assert crop(api, enrolment, face).status_code == 200
    api.delete(f"/v1/galleries/{gallery}/subjects/{subject}")
    refused(crop(api, enrolment, face), 404, "face_not_found")
    assert crop(api, other, face).status_code == 200


def test_crops_expire_and_are_bounded(
    api: Api, local: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = of_nobody(local, (1,))
    face = face_of(local, job)
    monkeypatch.setattr(asking, "MAX_KEPT", 5)
    monkeypatch.setattr(asking, "MAX_OPEN", 3)

    def ask(size_px: int) -> Any:
        wanted = WantedCrop(face_id=face, margin_percent=0, size_px=size_px)
        with transaction(local.database) as session:
            return ask_for_crop(session, local.tenant_id, wanted)

    def execute(statement: str) -> None:
        with transaction(local.database) as session:
            session.execute(text(statement))

    assert [ask(size) is not None for size in range(16, 20)] == [True, True, True, False]
    refused(crop(api, job, face, "?size=99"), 503, "too_busy")
    for first in range(20, 32, 3):
        execute("UPDATE crop SET state = 'done', data = 'x'")
        assert [ask(size) is not None for size in range(first, first + 3)] == [True] * 3
        assert len(kept(local)) == 5
    with transaction(local.database) as session:
        assert drop_expired_crops(session) == 0
    monkeypatch.setattr(asking, "MAX_KEPT", 6)
    # One that has expired is none: it is made anew, whoever is the first to notice.
    execute("UPDATE crop SET state = 'done', data = 'x', expires_at = now() - interval '1 s'")
    assert ask(31).state is CropState.QUEUED
    with transaction(local.database) as session:
        assert drop_expired_crops(session) == 4
    assert [row[1] for row in kept(local)] == [CropState.QUEUED]


# ---------------------------------------------------------------- workers that die


def test_a_dead_workers_crop_is_made_by_the_next_and_given_up_in_the_end(
    api: Api, local: Kit, settings: Settings, store: ObjectStore
) -> None:
    job = of_nobody(local, (1,))
    face = face_of(local, job)
    wanted = WantedCrop(face_id=face, margin_percent=25, size_px=256)
    reconciler = Reconciler(settings, local.database, store)
    with transaction(local.database) as session:
        asked = ask_for_crop(session, local.tenant_id, wanted)
    for _ in range(settings.max_attempts):
        with transaction(local.database) as session:
            (sent_one,) = queue.dispatch_crops(session, in_flight=4)
            assert sent_one.id == asked.id
            assert queue.dispatch_crops(session, in_flight=4) == []
            claim = queue.claim_crop(session, asked.id, lease_s=0, max_attempts=3)
            assert claim is not None
        reconciler.reconcile()
        with transaction(local.database) as session:
            assert not queue.finish_crop(session, claim, b"late")
    refused(crop(api, job, face), 422, "worker_lost")


def test_a_message_that_was_lost_is_sent_again(
    local: Kit, settings: Settings, store: ObjectStore, queue_of_tests: redis.Redis
) -> None:
    job = of_nobody(local, (1,))
    wanted = WantedCrop(face_id=face_of(local, job), margin_percent=25, size_px=256)
    with transaction(local.database) as session:
        ask_for_crop(session, local.tenant_id, wanted)
    nowhere = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with pytest.raises(QueueUnavailableError):
        Dispatcher(nowhere, local.database, make_celery(nowhere)).send_due()
    dispatcher = Dispatcher(settings, local.database, make_celery(settings))
    dispatcher.send_urgent({URGENT})
    assert queue_of_tests.llen(URGENT_QUEUE) == 0
    dispatcher.send_urgent({CROP})
    assert dispatcher.send_due() == 0
    assert queue_of_tests.llen(URGENT_QUEUE) == 1
    assert MAKE_CROP.encode() in queue_of_tests.lindex(URGENT_QUEUE, 0)
    queue_of_tests.flushall()
    with transaction(local.database) as session:
        session.execute(text("UPDATE crop SET dispatched_at = now() - interval '1 hour'"))
    Reconciler(settings, local.database, store).reconcile()
    assert dispatcher.send_due() == 1


@pytest.fixture
def queue_of_tests(request: pytest.FixtureRequest) -> redis.Redis:
    """The run's Valkey, empty; here a module is called `queue`."""
    found: redis.Redis = request.getfixturevalue("queue")
    return found


def test_tenants_take_turns(local: Kit, stranger: Kit) -> None:
    jobs = {kit.tenant_id: (kit, of_nobody(kit, (1,))) for kit in (local, stranger)}
    with transaction(local.database) as session:
        for kit, job in [jobs[local.tenant_id]] * 5 + [jobs[stranger.tenant_id]] * 2:
            size_px = 16 + len(session.scalars(select(Crop.id)).all())
            wanted = WantedCrop(face_id=face_of(kit, job), margin_percent=0, size_px=size_px)
            ask_for_crop(session, kit.tenant_id, wanted)
    with transaction(local.database) as session:
        first = queue.dispatch_crops(session, in_flight=4)
        assert sorted(one.tenant_id for one in first) == sorted([*jobs] * 2)
        unsend_errands(session, first)
        assert len(queue.dispatch_crops(session, in_flight=100)) == 7
        assert queue.dispatch_crops(session, in_flight=100) == []


def test_a_bucket_that_is_away_counts_no_attempt(
    local: Kit, settings: Settings, context: WorkerContext
) -> None:
    job = of_nobody(local, (1,))
    wanted = WantedCrop(face_id=face_of(local, job), margin_percent=0, size_px=64)
    with transaction(local.database) as session:
        asked = ask_for_crop(session, local.tenant_id, wanted)
    away = settings.model_copy(
        update={"s3_endpoint_url": SecretStr("http://127.0.0.1:9"), "lease_s": 1.0}
    )
    nowhere = WorkerContext(
        settings=away, database=local.database, store=ObjectStore.from_settings(away)
    )
    make_crop(nowhere, asked.id)
    with transaction(local.database) as session:
        row = session.execute(select(Crop.state, Crop.attempt, Crop.fence)).one()
    assert tuple(row) == (CropState.QUEUED, 0, 1)
    # And the photo has no bytes at all.
    with transaction(local.database) as session:
        session.execute(text("UPDATE crop SET due_at = now()"))
    make_crop(context, asked.id)
    assert [row[1] for row in kept(local)] == [CropState.FAILED]


def test_a_real_worker_makes_a_crop(
    api: Api,
    local: Kit,
    settings: Settings,
    queue_of_tests: redis.Redis,
    start_worker: StartWorker,
    obama: Photo,
) -> None:
    job = accepted(api.submit(obama, kind="detect"))
    start_worker(settings)
    dispatcher = Dispatcher(settings, local.database, make_celery(settings))
    stop = threading.Event()

    def dispatch() -> None:
        while not stop.wait(0.05):
            dispatcher.send_due()

    thread = threading.Thread(target=dispatch)
    thread.start()
    try:
        wait_until(lambda: api.get(f"/v1/jobs/{job}").json["finished_at"])
        (one,) = api.get(f"/v1/jobs/{job}/results").json["results"]
        assert max(picture(crop(api, job, one["faces"][0]["id"])).size) == 256
    finally:
        stop.set()
        thread.join()
