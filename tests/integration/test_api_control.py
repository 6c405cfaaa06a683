"""Control over HTTP: pause, resume, cancel, retry, priorities, and several galleries in one job."""

import threading
import time
import uuid

import pytest
from api_kit import NOWHERE, Api, BackgroundWorker, accepted, image, made, refused
from ledger_kit import Kit, as_owner, done, failed, many, photo_of
from sqlalchemy import text

from cli.sample import Sample
from db.errors import DatabaseUnavailableError
from db.session import transaction
from db.settings import Settings
from web import batches, waiting
from web.app import create_app

PHOTO = ("p.jpg", image())


def submit(api: Api, **fields: object) -> str:
    return accepted(api.submit(PHOTO, kind="detect", **fields))


def change(api: Api, job: str, what: str) -> dict:
    answer = api.post(f"/v1/jobs/{job}/{what}")
    assert answer.status_code in {200, 202}, answer.text
    return dict(answer.json)


def test_a_job_is_paused_and_resumed(api: Api, local: Kit) -> None:
    job = submit(api)
    assert change(api, job, "pause")["paused"] is True
    assert local.dispatch() == []
    assert change(api, job, "resume")["paused"] is False
    assert len(local.dispatch()) == 1


def test_a_job_that_has_ended_cannot_be_paused(api: Api, local: Kit) -> None:
    job = submit(api)
    local.record(done(*local.claim_all(), photo_of(1)))
    for what in ("pause", "resume"):
        refused(api.post(f"/v1/jobs/{job}/{what}"), 409, "job_ended")


def test_failed_photos_are_tried_again(api: Api, local: Kit) -> None:
    job = submit(api)
    local.record(failed(*local.claim_all()))
    assert api.get(f"/v1/jobs/{job}").json["state"] == "failed"
    again = change(api, job, "retry")
    assert (again["state"], again["round"], again["counts"]["queued"]) == ("running", 2, 1)
    assert api.get(f"/v1/jobs/{job}/results").json["results"][0]["error"] is None


def test_a_cancelled_job_is_not_tried_again(api: Api) -> None:
    job = submit(api)
    assert change(api, job, "cancel")["state"] == "cancelled"
    refused(api.post(f"/v1/jobs/{job}/retry"), 409, "job_cancelled")


@pytest.mark.parametrize("what", ["pause", "resume", "retry", "cancel"])
def test_what_is_not_there_is_not_controlled(api: Api, what: str) -> None:
    refused(api.post(f"/v1/jobs/{NOWHERE}/{what}"), 404, "job_not_found")


def test_a_cancel_that_takes_too_long_says_so_and_stops_all_the_same(
    api: Api, local: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(api)
    monkeypatch.setattr(batches, "PATIENCE_S", 0)
    answer = api.post(f"/v1/jobs/{job}/cancel")
    assert (answer.status_code, answer.json["cancelling"]) == (202, True)
    assert local.dispatch() == []


def test_a_job_that_was_deleted_is_gone_while_its_photos_are_still_there(
    api: Api, local: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(api)
    monkeypatch.setattr(batches, "PATIENCE_S", 0)
    assert api.delete(f"/v1/jobs/{job}").status_code == 204
    for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/results"):
        refused(api.get(path), 404, "job_not_found")
    refused(api.delete(f"/v1/jobs/{job}"), 404, "job_not_found")
    assert api.get("/v1/jobs").json["jobs"] == []


def test_who_waits_for_few_photos_goes_first(
    api: Api, monkeypatch: pytest.MonkeyPatch, worker: BackgroundWorker
) -> None:
    waited = api.submit(PHOTO, kind="detect", wait=60).json["job"]
    assert waited["priority"] == "interactive"
    assert api.submit(PHOTO, kind="detect").json["priority"] == "normal"
    low = api.submit(PHOTO, kind="detect", wait=60, priority="low").json["job"]
    assert low["priority"] == "low"
    nine = api.submit(*(PHOTO for _ in range(9)), kind="detect", wait=60).json["job"]
    assert nine["priority"] == "normal"


def test_a_priority_that_does_not_exist_is_refused(api: Api) -> None:
    refused(api.submit(PHOTO, kind="detect", priority="first"), 422, "invalid_request")


def test_who_waits_is_answered_at_the_end_and_not_at_the_next_look(
    api: Api, local: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(api)
    monkeypatch.setattr(waiting, "FIRST_PAUSE_S", 30.0)
    monkeypatch.setattr(waiting, "LONGEST_PAUSE_S", 30.0)
    answers: list[str] = []

    def wait() -> None:
        answer = api.get(f"/v1/jobs/{job}", headers={"Prefer": "wait=20"})
        answers.append(answer.json["state"])

    waiter = threading.Thread(target=wait)
    waiter.start()
    listening = "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN facebatch_ended'"
    for _ in range(200):
        with transaction(local.database) as session:
            as_owner(session)
            if session.execute(text(listening)).scalar_one():
                break
        time.sleep(0.05)
    local.record(done(*local.claim_all(), photo_of(1)))
    waiter.join(timeout=15)  # The wait itself would end after 20 s.
    assert answers == ["succeeded"]


def test_a_bell_that_cannot_be_heard_is_no_error(
    settings: Settings, local: Kit, monkeypatch: pytest.MonkeyPatch, worker: BackgroundWorker
) -> None:
    monkeypatch.setattr("web.bell.Listener", _Deaf)
    api = Api(create_app(settings).test_client())
    answer = api.submit(PHOTO, kind="detect", wait=60)
    assert answer.json["job"]["state"] == "succeeded"


class _Deaf:
    """A connection that cannot be made."""

    def __init__(self, *_: str) -> None:
        pass

    def wait(self, _timeout_s: float) -> list[str]:
        raise DatabaseUnavailableError("the database does not answer")

    def close(self) -> None:
        pass


def test_several_galleries_are_searched_as_one(
    api: Api, worker: BackgroundWorker, sample: Sample
) -> None:
    people = sorted(one for one in sample.people_dir.iterdir() if one.is_dir())
    staff, guests = api.gallery("staff"), api.gallery("guests")
    for gallery, person in ((staff, people[0]), (guests, people[1])):
        shown = min(person.iterdir())
        api.enrol(gallery, person.name, (shown.name, shown.read_bytes()))
    probe = min(people[1].iterdir())
    answer = api.submit(
        (probe.name, probe.read_bytes()), kind="identify", galleries=f"{guests},{staff}", wait=60
    )
    job, (face,) = answer.json["job"], answer.json["results"][0]["faces"]
    assert (job["gallery"], job["galleries"]) == (guests, [guests, staff])
    assert job["threshold"]["subjects"] == 2
    assert face["subject"]["name"] == people[1].name
    assert [one["gallery"] for one in face["candidates"]] == [guests, staff]

    assert api.delete(f"/v1/galleries/{guests}").status_code == 204
    left = api.get(f"/v1/jobs/{job['id']}/results").json
    assert left["job"]["galleries"] == [staff]
    assert [one["gallery"] for one in left["results"][0]["faces"][0]["candidates"]] == [staff]
    assert api.delete(f"/v1/galleries/{staff}").status_code == 204
    refused(api.get(f"/v1/jobs/{job['id']}"), 404, "job_not_found")


def test_galleries_of_two_engines_are_not_searched_together(api: Api) -> None:
    one = api.gallery("one")
    other = made(api.post("/v1/galleries", json={"name": "other", "engine": "sface"}))
    answer = api.post("/v1/jobs", json={"kind": "identify", "galleries": [one, other]})
    refused(answer, 409, "galleries_differ")


@pytest.mark.parametrize("kind", ["enrol", "verify"])
def test_only_an_identification_searches_several_galleries(api: Api, kind: str) -> None:
    gallery = api.gallery()
    answer = api.post("/v1/jobs", json={"kind": kind, "galleries": [gallery]})
    assert "takes no galleries" in refused(answer, 422, "invalid_request")


def test_a_gallery_and_galleries_exclude_each_other(api: Api) -> None:
    gallery = api.gallery()
    body = {"kind": "identify", "gallery": gallery, "galleries": [gallery]}
    refused(api.post("/v1/jobs", json=body), 422, "invalid_request")


def test_a_gallery_that_is_named_twice_counts_once(api: Api) -> None:
    gallery = api.gallery()
    body = {"kind": "identify", "galleries": [gallery, gallery]}
    assert api.post("/v1/jobs", json=body).json["galleries"] == [gallery]


def test_a_gallery_of_strangers_is_not_searched_along(api: Api, stranger: Kit) -> None:
    body = {"kind": "identify", "galleries": [api.gallery(), str(stranger.gallery())]}
    refused(api.post("/v1/jobs", json=body), 404, "gallery_not_found")


def test_a_job_says_how_fast_it_goes(api: Api, local: Kit) -> None:
    job = submit(api)
    many(local, uuid.UUID(job), 3)
    local.record(done(local.claim_all()[0], photo_of(1)))
    with transaction(local.database) as session:
        session.execute(text("UPDATE job SET before_at = before_at - interval '10 s'"))
    told = api.get(f"/v1/jobs/{job}").json
    assert told["rate_per_s"] == pytest.approx(0.1, rel=0.2)
    assert told["seconds_left"] == pytest.approx(30, rel=0.2)
