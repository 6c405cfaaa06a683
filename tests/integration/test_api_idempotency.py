"""A request that is sent again under its key happens once, and is answered as the first time."""

import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from api_kit import Api, BackgroundWorker, accepted, image, made, photo, refused
from bucket_kit import unowned
from ledger_kit import Kit
from server_kit import Server, server
from sqlalchemy import event, func, select, text, update
from tenant_kit import ask_as
from werkzeug.test import TestResponse

from cli.sample import Sample
from db.failpoints import Failpoint
from db.key_locks import KeyLocks
from db.models import DoomedObject, Gallery, Job, KeptAnswer, Subject
from db.session import Database, transaction
from db.settings import Settings
from db.storage import ObjectStore
from db.webhooks.events import give_out
from web.services import EXTENSION
from workers.reconciler import Reconciler

KEY = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
SINCE = "2026-01-01T00:00:00Z"


def new_key() -> dict[str, str]:
    return {KEY: str(uuid.uuid4())}


def photos(**fields: str) -> dict[str, Any]:
    return {"data": {**fields, "photos": (BytesIO(image()), "a.jpg")}}


def count(kit: Kit, table: type) -> int:
    with transaction(kit.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


@dataclass
class Place:
    """What a request to each route needs to succeed."""

    api: Api
    sample: Sample

    def open_job(self) -> str:
        return made(self.api.post("/v1/jobs", json={"kind": "detect"}))

    def filled_job(self) -> str:
        job = self.open_job()
        assert self.api.post(f"/v1/jobs/{job}/photos", **photos()).status_code == 200
        return job

    def ended_job(self) -> str:
        answer = self.api.submit(("words.jpg", b"words"), wait=60, kind="detect")
        return str(answer.json["job"]["id"])

    def image(self, **fields: str) -> dict[str, Any]:
        _, data = photo(self.sample.people_dir / "obama" / "obama.jpg")
        return {"data": {**fields, "image": (BytesIO(data), "o.jpg")}}

    def two_photos(self) -> dict[str, Any]:
        folder = self.sample.people_dir / "obama"
        _, data = photo(folder / "obama.jpg")
        return {"data": {"photo": (BytesIO(data), "a.jpg"), "reference": (BytesIO(data), "b.jpg")}}


Way = Callable[[Place], tuple[str, Callable[[], dict[str, Any]]]]


def of_gallery(path: str, send: Callable[[], dict[str, Any]]) -> Way:
    return lambda place: (path.format(place.api.gallery("theirs")), send)


def of_job(path: str, job: Callable[[Place], str], send: Callable[[], dict[str, Any]]) -> Way:
    return lambda place: (path.format(job(place)), send)


def _enrolment(place: Place) -> tuple[str, Callable[[], dict[str, Any]]]:
    gallery = place.api.gallery("theirs")
    subject = place.api.subject(gallery, "anna")
    return f"/v1/galleries/{gallery}/subjects/{subject}/photos", photos


def _rematch(place: Place) -> tuple[str, Callable[[], dict[str, Any]]]:
    gallery = place.api.gallery("theirs")
    return f"/v1/jobs/{place.ended_job()}/rematch", lambda: {"json": {"gallery": gallery}}


def _webhook(place: Place) -> str:
    wanted = {"url": "https://app.example.com/", "events": ["job.completed"]}
    return made(place.api.post("/v1/webhooks", json=wanted))


def of_webhook(what: str, sent: dict[str, Any]) -> Way:
    return lambda place: (f"/v1/webhooks/{_webhook(place)}/{what}", lambda: {"json": sent})


def _delivery(place: Place) -> tuple[str, Callable[[], dict[str, Any]]]:
    webhook = _webhook(place)
    assert place.api.post(f"/v1/webhooks/{webhook}/test").status_code == 202
    with transaction(place.api.client.application.extensions[EXTENSION].directory) as session:
        give_out(session)
    (found,) = place.api.get("/v1/deliveries").json["deliveries"]
    return f"/v1/deliveries/{found['id']}/replay", dict


def _rotated_key(place: Place) -> tuple[str, Callable[[], dict[str, Any]]]:
    key = made(place.api.post("/v1/keys", json={"name": "a", "scopes": ["read"]}))
    return f"/v1/keys/{key}/rotate", lambda: {"json": {}}


def _search(place: Place) -> tuple[str, Callable[[], dict[str, Any]]]:
    subject = place.api.subject(place.api.gallery("theirs"), "anna")
    return f"/v1/jobs/{place.ended_job()}/search", lambda: {"json": {"subject": subject}}


WAYS: dict[str, Way] = {
    "/v1/galleries": lambda _: ("/v1/galleries", lambda: {"json": {"name": "mine"}}),
    "/v1/galleries/<uuid:gallery_id>/subjects": of_gallery(
        "/v1/galleries/{}/subjects", lambda: {"json": {"name": "anna"}}
    ),
    "/v1/galleries/<uuid:gallery_id>/subjects/<uuid:subject_id>/photos": _enrolment,
    "/v1/jobs": lambda _: ("/v1/jobs", lambda: photos(kind="detect")),
    "/v1/jobs/<uuid:job_id>/photos": of_job("/v1/jobs/{}/photos", Place.open_job, photos),
    "/v1/jobs/<uuid:job_id>/seal": of_job("/v1/jobs/{}/seal", Place.filled_job, dict),
    "/v1/jobs/<uuid:job_id>/pause": of_job("/v1/jobs/{}/pause", Place.open_job, dict),
    "/v1/jobs/<uuid:job_id>/resume": of_job("/v1/jobs/{}/resume", Place.open_job, dict),
    "/v1/jobs/<uuid:job_id>/cancel": of_job("/v1/jobs/{}/cancel", Place.open_job, dict),
    "/v1/jobs/<uuid:job_id>/retry": of_job("/v1/jobs/{}/retry", Place.ended_job, dict),
    "/v1/jobs/<uuid:job_id>/sources": of_job(
        "/v1/jobs/{}/sources",
        Place.open_job,
        lambda: {"json": {"kind": "prefix", "prefix": "sources/local/a/"}},
    ),
    "/v1/jobs/<uuid:job_id>/rematch": _rematch,
    "/v1/jobs/<uuid:job_id>/exports": of_job(
        "/v1/jobs/{}/exports", Place.ended_job, lambda: {"json": {"format": "csv"}}
    ),
    "/v1/uploads": lambda _: ("/v1/uploads", lambda: {"json": {"files": [{"size_bytes": 9}]}}),
    "/register": lambda place: ("/register", lambda: place.image(name="Barack")),
    "/recognize": lambda place: ("/recognize", place.image),
    "/detect": lambda place: ("/detect", place.image),
    "/verify": lambda place: ("/verify", lambda: place.image(user_id="1")),
    "/v1/verifications": lambda place: ("/v1/verifications", place.two_photos),
    "/v1/jobs/<uuid:job_id>/search": _search,
    "/v1/keys": lambda _: ("/v1/keys", lambda: {"json": {"name": "a", "scopes": ["read"]}}),
    "/v1/keys/<uuid:key_id>/rotate": _rotated_key,
    "/v1/webhooks": lambda _: (
        "/v1/webhooks",
        lambda: {"json": {"url": "https://app.example.com/", "events": ["job.completed"]}},
    ),
    "/v1/webhooks/<uuid:webhook_id>/rotate": of_webhook("rotate", {}),
    "/v1/webhooks/<uuid:webhook_id>/test": of_webhook("test", {}),
    "/v1/webhooks/<uuid:webhook_id>/replay": of_webhook(
        "replay", {"since": "2026-01-01T00:00:00Z"}
    ),
    "/v1/deliveries/<uuid:delivery_id>/replay": _delivery,
    "/v1/callback-secret": lambda _: ("/v1/callback-secret", lambda: {"json": {}}),
}
"""How to send each route a request that it takes."""
NOTHING_STAYS = {
    *("/v1/jobs/<uuid:job_id>/cancel", "/v1/jobs/<uuid:job_id>/search"),
    *("/recognize", "/detect", "/verify", "/v1/verifications"),
}
"""Routes that may be asked twice: their answer is kept once it is known, by itself."""


@pytest.fixture
def place(api: Api, worker: BackgroundWorker, sample: Sample) -> Place:
    place = Place(api, sample)
    for name in ("Joe",):
        assert api.post("/register", **place.image(name=name)).status_code == 200
    return place


def posted(api: Api) -> set[str]:
    return {
        rule.rule for rule in api.client.application.url_map.iter_rules() if "POST" in rule.methods
    }


def test_the_routes_below_are_all_that_take_a_post(api: Api) -> None:
    assert posted(api) == set(WAYS)


@pytest.mark.parametrize("rule", sorted(WAYS))
def test_every_post_is_answered_as_the_first_time(
    place: Place, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if rule not in NOTHING_STAYS:
        # It has to keep its answer in the transaction that does what it tells of.
        monkeypatch.setattr("web.idempotency._keep_at_last", lambda *_: None)
    api, key = place.api, new_key()
    path, send = WAYS[rule](place)
    first = api.post(path, headers=key, **send())
    assert first.status_code in {200, 201, 202}, first.text
    assert REPLAYED not in first.headers
    again = api.post(path, headers=key, **send())
    assert again.headers[REPLAYED] == "true"
    assert (again.status_code, again.data) == (first.status_code, first.data)
    for name in ("Location", "Content-Type", "Retry-After"):
        assert again.headers.get(name) == first.headers.get(name)
    other = api.post("/v1/galleries", json={"name": "another"}, headers=key)
    refused(other, 422, "idempotency_key_reused")


@pytest.fixture
def bucket(settings: Settings) -> ObjectStore:
    return ObjectStore.from_settings(settings)


def test_fifty_at_once_make_one_job(
    api: Api, local: Kit, settings: Settings, bucket: ObjectStore
) -> None:
    before, key = set(bucket.keys("")), new_key()
    app = api.client.application

    def submit(_: int) -> TestResponse:
        client = app.test_client()
        while True:
            answer = client.post("/v1/jobs", headers=key, **photos(kind="detect"))
            if answer.status_code != 409:
                return answer
            assert answer.headers["Retry-After"]
            refused(answer, 409, "idempotency_key_in_flight")
            time.sleep(0.02)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(submit, range(50)))
    assert len({accepted(one) for one in answers}) == 1
    assert sum(REPLAYED not in one.headers for one in answers) == 1
    assert count(local, Job) == 1
    assert count(local, DoomedObject) == 0
    assert unowned(local.database, settings) == set()
    assert len(set(bucket.keys("")) - before) == 1


PART = (
    '--{0}\r\nContent-Disposition: form-data; name="kind"\r\n\r\n{1}\r\n'
    '--{0}\r\nContent-Disposition: form-data; name="photos"; filename="{2}"\r\n\r\n{3}\r\n'
    "--{0}--\r\n"
)


def form(boundary: str, kind: str = "detect", name: str = "a.jpg", data: str = "xyz") -> dict:
    return {
        "data": PART.format(boundary, kind, name, data).encode(),
        "content_type": f"multipart/form-data; boundary={boundary}",
    }


def test_an_upload_is_known_by_its_parts_and_not_by_its_boundary(
    api: Api, local: Kit, settings: Settings, bucket: ObjectStore
) -> None:
    key = new_key()
    job = accepted(api.post("/v1/jobs", headers=key, **form("x")))
    kept = set(bucket.keys(""))
    assert accepted(api.post("/v1/jobs", headers=key, **form("another"))) == job
    for other in (
        form("x", name="b.jpg"),
        form("x", data="xyZ"),
        form("x", data="xyzz"),
        form("x", kind="verify"),
        {"json": {"kind": "detect"}},
        {},
    ):
        answer = api.post("/v1/jobs", headers=key, **other)
        refused(answer, 422, "idempotency_key_reused")
    answer = api.post("/v1/jobs?a=b", headers=key, **form("x"))
    assert answer.status_code == 422
    assert set(bucket.keys("")) == kept
    assert count(local, DoomedObject) == 0
    assert unowned(local.database, settings) == set()


def test_the_order_of_the_parts_counts(api: Api) -> None:
    key, job = new_key(), made(api.post("/v1/jobs", json={"kind": "detect"}))
    path, two = f"/v1/jobs/{job}/photos", [("a.jpg", image(64)), ("b.jpg", image(65))]
    files = [[(BytesIO(data), name) for name, data in order] for order in (two, two, two[::-1])]
    answers = [api.post(path, data={"photos": one}, headers=key) for one in files]
    assert [one.status_code for one in answers] == [200, 200, 422]


def test_json_is_known_to_the_byte(api: Api) -> None:
    key, kind = new_key(), {"content_type": "application/json"}
    made(api.post("/v1/galleries", data='{"name": "a"}', headers=key, **kind))
    made(api.post("/v1/galleries", data='{"name": "a"}', headers=key, **kind))
    for other in ('{"name": "b"}', '{"name":"a"}', "{"):
        answer = api.post("/v1/galleries", data=other, headers=key, **kind)
        refused(answer, 422, "idempotency_key_reused")


class SlowBody(BytesIO):
    """A body that goes on after its first bytes when it may."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def readinto(self, buffer: Any) -> int:
        if self.begun.is_set():
            self.may_go_on.wait(60)
        data = super().read(min(10, len(buffer)))
        self.begun.set()
        buffer[: len(data)] = data
        return len(data)


def test_while_the_first_is_under_way_the_second_is_told_to_wait(api: Api, local: Kit) -> None:
    key, sent = new_key(), form("x")
    body = SlowBody(sent["data"])
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(
            api.client.application.test_client().post,
            "/v1/jobs",
            input_stream=body,
            content_length=len(sent["data"]),
            content_type=sent["content_type"],
            headers=key,
        )
        body.begun.wait(60)
        answer = api.post("/v1/jobs", headers=key, **sent)
        refused(answer, 409, "idempotency_key_in_flight")
        assert int(answer.headers["Retry-After"]) > 0
        # Another key is none of its business.
        accepted(api.post("/v1/jobs", headers=new_key(), **sent))
        body.may_go_on.set()
        job = accepted(first.result())
    assert accepted(api.post("/v1/jobs", headers=key, **sent)) == job
    assert count(local, Job) == 2


HOLDER = """
import sys, time
from db.key_locks import KeyLocks
with KeyLocks(sys.argv[1]).held(7) as let_go:
    assert let_go is not None
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_lock_goes_with_its_process(database_url: str) -> None:
    command = [sys.executable, "-c", HOLDER, database_url]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    ours = KeyLocks(database_url)
    with ours.held(7) as let_go:
        assert let_go is None
    with ours.held(8) as let_go:
        assert let_go is not None
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        with ours.held(7) as let_go:
            if let_go is not None:
                break
    else:
        pytest.fail("it is held still")
    ours.close()


def test_one_process_holds_a_lock_once_and_lets_go_of_it(database_url: str) -> None:
    locks = KeyLocks(database_url)
    with locks.held(7) as first, locks.held(7) as second:
        assert first is not None
        assert second is None
        first()
        with locks.held(7) as third:
            assert third is not None
    with locks.held(7) as again:
        assert again is not None
    locks.close()


def test_a_connection_that_broke_is_made_again(database_url: str, owners: Database) -> None:
    locks = KeyLocks(database_url)
    with locks.held(7):
        pass
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name"
    with transaction(owners) as session:
        session.execute(text(kill), {"name": "facebatch-locks"})
    with locks.held(7) as let_go:
        assert let_go is not None
    locks.close()


def test_where_locks_are_lost_the_row_decides(
    api: Api, local: Kit, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KeyLocks, "_take", lambda *_: True)
    key, app = new_key(), api.client.application

    def submit(_: int) -> TestResponse:
        client = app.test_client()
        while (answer := client.post("/v1/jobs", headers=key, **form("x"))).status_code == 409:
            refused(answer, 409, "idempotency_key_in_flight")
        return answer

    with ThreadPoolExecutor(8) as pool:
        assert len({accepted(one) for one in pool.map(submit, range(8))}) == 1
    assert count(local, Job) == 1
    assert unowned(local.database, settings) == set()


def test_a_refusal_is_not_kept(api: Api) -> None:
    key = new_key()
    refused(api.post("/v1/galleries", json={"name": ""}, headers=key), 422, "name_invalid")
    refused(api.post("/v1/galleries", data="{", headers=key), 415, "unsupported_media_type")
    made(api.post("/v1/galleries", json={"name": "a"}, headers=key))
    refused(api.post("/v1/galleries", json={"name": "a"}), 409, "gallery_exists")
    made(api.post("/v1/galleries", json={"name": "a"}, headers=key))


def test_a_crash_is_not_kept(api: Api, local: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    key = new_key()
    with monkeypatch.context() as broken:
        # The answer is kept by then, and not committed.
        broken.setattr("db.session.Session.commit", crash)
        broken.setattr("web.routes.galleries.kept", crash)
        answer = api.post("/v1/galleries", json={"name": "a"}, headers=key)
        refused(answer, 500, "internal_error")
    assert count(local, KeptAnswer) == count(local, Gallery) == 0
    made(api.post("/v1/galleries", json={"name": "a"}, headers=key))


def test_a_photo_that_is_refused_by_a_classic_endpoint_may_be_sent_again(place: Place) -> None:
    key = new_key()
    nobody = {"name": "Ann", "image": (BytesIO(image()), "grey.jpg")}
    refused(place.api.post("/register", data=nobody, headers=key), 422, "no_face")
    answer = place.api.post("/register", headers=key, **place.image(name="Ann"))
    assert (answer.status_code, answer.json["name"]) == (200, "Ann")


@pytest.mark.parametrize(
    "key",
    ["", " ", "x" * 256, "a,b", 'a"b', "a\\b", '""', '"a', "ä", "a b", '"' + "x" * 256 + '"'],
)
def test_what_is_no_key_is_refused(api: Api, local: Kit, key: str) -> None:
    answer = api.post("/v1/galleries", json={"name": "a"}, headers={KEY: key})
    refused(answer, 400, "idempotency_key_invalid")
    assert count(local, Gallery) == 0


def test_two_keys_are_none(api: Api) -> None:
    headers = [(KEY, "a"), (KEY, "b")]
    answer = api.post("/v1/galleries", json={"name": "a"}, headers=headers)
    refused(answer, 400, "idempotency_key_invalid")


def test_a_key_in_quotes_is_the_same_key(api: Api) -> None:
    for key in ("a-key", '"a-key"', "x" * 255):
        headers, body = {KEY: key}, {"name": key.strip('"')}
        made(api.post("/v1/galleries", json=body, headers=headers))


def test_each_tenant_has_keys_of_its_own(api: Api, local: Kit, stranger: Kit) -> None:
    key, body = new_key(), {"name": "a"}
    ours = made(api.post("/v1/galleries", json=body, headers=key))
    ask_as(api, stranger.tenant_id)
    theirs = api.post("/v1/galleries", json=body, headers=key)
    assert made(theirs) != ours
    assert REPLAYED not in theirs.headers


def test_what_is_kept_tells_nobody_anything(api: Api, local: Kit) -> None:
    key = new_key()
    gallery = api.gallery()
    path = f"/v1/galleries/{gallery}/subjects"
    subject = made(api.post(path, json={"name": "Jane Doe"}, headers=key))
    with transaction(local.database) as session:
        row = session.execute(text("SELECT kept_answer::text FROM kept_answer")).scalar_one()
        values = session.execute(select(KeptAnswer.answer, KeptAnswer.key_hash)).one()
    for secret in (key[KEY], "Jane Doe", subject):
        assert secret not in row
        assert not any(secret.encode() in value for value in values)


def test_answers_are_kept_for_a_day(api: Api, local: Kit, settings: Settings) -> None:
    reconciler = Reconciler(settings, local.database, ObjectStore.from_settings(settings))
    key = new_key()

    def aged(by: str) -> None:
        with transaction(local.database) as session:
            at = KeptAnswer.created_at - text(f"interval '{by}'")
            session.execute(update(KeptAnswer).values(created_at=at))
        reconciler.reconcile()

    made(api.post("/v1/galleries", json={"name": "a"}, headers=key))
    aged("23 h 59 min")
    made(api.post("/v1/galleries", json={"name": "a"}, headers=key))
    aged("2 min")
    assert count(local, KeptAnswer) == 0
    refused(api.post("/v1/galleries", json={"name": "a"}, headers=key), 409, "gallery_exists")


def test_without_a_key_nothing_is_asked_of_the_database(api: Api, local: Kit) -> None:
    seen: list[str] = []
    here = api.client.application.extensions[EXTENSION]
    assert here.local_tenant_id == local.tenant_id
    accepted(api.submit(("first.jpg", image(70)), kind="detect"))
    event.listen(here.database, "before_cursor_execute", lambda _c, _u, sql, *_: seen.append(sql))
    accepted(api.submit(("a.jpg", image()), kind="detect"))
    plain = len(seen)
    assert plain > 0
    assert not any("kept_answer" in sql for sql in seen)
    assert "key_locks" not in here.__dict__
    accepted(api.post("/v1/jobs", headers=new_key(), **form("x")))
    # One that looks, and one that keeps.
    assert len(seen) - plain == plain + 2


def test_who_sends_it_again_may_wait_for_the_result(api: Api, worker: BackgroundWorker) -> None:
    key, sent = new_key(), form("x")
    job = accepted(api.post("/v1/jobs", headers=key, **sent))
    waited = api.post("/v1/jobs", headers={**key, "Prefer": "wait=60"}, **form("y"))
    assert (waited.status_code, waited.json["job"]["id"]) == (200, job)
    assert (waited.headers[REPLAYED], waited.headers["Preference-Applied"]) == ("true", "wait=60")
    assert accepted(api.post("/v1/jobs", headers=key, **sent)) == job
    api.delete(f"/v1/jobs/{job}")
    # It was made once, and is gone: the key makes no other.
    gone = api.post("/v1/jobs", headers={**key, "Prefer": "wait=60"}, **sent)
    assert accepted(gone) == job
    assert api.get("/v1/jobs").json["jobs"] == []


def test_whoever_waits_for_the_end_keeps_nobody_with_the_key_out(api: Api, local: Kit) -> None:
    key, app = new_key(), api.client.application
    with ThreadPoolExecutor(1) as pool:
        headers = {**key, "Prefer": "wait=5"}  # Nobody works: it is not done by then.
        waiting = pool.submit(app.test_client().post, "/v1/jobs", headers=headers, **form("x"))
        while count(local, KeptAnswer) == 0:
            time.sleep(0.01)
        answer = api.post("/v1/jobs", headers=key, **form("x"))
        assert not waiting.done()
        assert accepted(answer) == accepted(waiting.result())


@pytest.fixture
def http(settings: Settings, tmp_path: Path) -> Iterator[Server]:
    with server(settings, tmp_path) as one:
        yield one


DIED = (httpx.RemoteProtocolError, httpx.ReadError)


@pytest.mark.parametrize(
    ("point", "jobs"), [(Failpoint.ACCEPT_UNCOMMITTED, 0), (Failpoint.ACCEPTED, 1)]
)
def test_a_server_that_dies_before_it_answers_has_done_it_once_or_not_at_all(
    http: Server, local: Kit, point: Failpoint, jobs: int
) -> None:
    key = new_key()

    def submit() -> httpx.Response:
        with http.client() as client:
            files = {"photos": ("a.jpg", image())}
            return client.post("/v1/jobs", data={"kind": "detect"}, files=files, headers=key)

    http.arm(point)
    with pytest.raises(DIED):
        submit()
    assert count(local, Job) == jobs
    # Nobody has to wait for anything: with the process went its lock.
    answer = submit()
    assert (answer.status_code, REPLAYED in answer.headers) == (202, bool(jobs))
    assert count(local, Job) == 1
    assert submit().json()["id"] == answer.json()["id"]


def test_a_registration_whose_server_died_is_answered_by_the_next(
    http: Server, local: Kit, worker: BackgroundWorker, sample: Sample
) -> None:
    key = new_key()
    _, data = photo(sample.people_dir / "obama" / "obama.jpg")

    def register(name: str) -> httpx.Response:
        with http.client() as client:
            files = {"image": ("o.jpg", data)}
            return client.post("/register", data={"name": name}, files=files, headers=key)

    http.arm(Failpoint.ACCEPTED)
    with pytest.raises(DIED):
        register("Barack")
    answer = register("Barack")
    assert (answer.status_code, answer.json()["name"]) == (200, "Barack")
    assert answer.headers[REPLAYED] == "true"
    assert register("Barack").json() == answer.json()
    assert register("Joe").json()["code"] == "idempotency_key_reused"
    assert (count(local, Subject), count(local, Job)) == (1, 0)
