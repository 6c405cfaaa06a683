"""Whoever changes something may say as what it knows it, and nobody gets in between."""

import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_kit import Api, accepted, image, made, refused
from ledger_kit import Kit
from sqlalchemy import text

from db.session import transaction
from db.states import DisabledReason
from db.webhooks.endpoints import disable


@pytest.fixture
def gallery(api: Api) -> str:
    return api.gallery("people")


@pytest.fixture
def subject(api: Api, gallery: str) -> str:
    return f"/v1/galleries/{gallery}/subjects/{api.subject(gallery, 'anna')}"


@pytest.fixture
def job(api: Api) -> str:
    return f"/v1/jobs/{accepted(api.submit(('a.jpg', image()), kind='detect'))}"


@pytest.fixture
def webhook(api: Api) -> str:
    wanted = {"url": "https://example.com/hook", "events": ["job.completed"]}
    return f"/v1/webhooks/{made(api.post('/v1/webhooks', json=wanted))}"


def tag(api: Api, path: str) -> str:
    answer = api.get(path)
    assert answer.status_code == 200
    return str(answer.headers["ETag"])


PATHS = ["gallery", "subject", "job", "webhook"]


@pytest.fixture
def paths(gallery: str, subject: str, job: str, webhook: str) -> dict[str, str]:
    at = f"/v1/galleries/{gallery}"
    return {"gallery": at, "subject": subject, "job": job, "webhook": webhook}


@pytest.fixture
def path(request: pytest.FixtureRequest, paths: dict[str, str]) -> str:
    return paths[request.param]


@pytest.mark.parametrize("path", PATHS, indirect=True)
def test_what_a_reader_has_is_not_sent_again(api: Api, path: str) -> None:
    first = api.get(path)
    known = first.headers["ETag"]
    for sent in (known, f"W/{known}", f'"x", {known}', "*"):
        answer = api.get(path, headers={"If-None-Match": sent})
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == known
        assert "Content-Type" not in answer.headers
    for other in ('"x"', '""', known[:-2] + '"'):
        assert api.get(path, headers={"If-None-Match": other}).data == first.data
    assert not known.startswith("W/")


def test_a_tag_changes_with_what_it_stands_for(
    api: Api, gallery: str, paths: dict[str, str]
) -> None:
    tags = {path: {tag(api, path)} for path in paths.values()}
    api.patch(paths["subject"], json={"name": "ben"})
    api.subject(gallery, "another")
    api.post(f"{paths['job']}/pause")
    api.post(f"{paths['webhook']}/rotate", json={"overlap_s": 0})
    for path, seen in tags.items():
        seen.add(tag(api, path))
        assert len(seen) == 2
        assert tag(api, path) in seen


def test_a_webhook_that_deliveries_disable_is_another_and_one_that_only_fails_is_not(
    api: Api, local: Kit, webhook: str
) -> None:
    rotated = api.post(f"{webhook}/rotate", json={"overlap_s": 60})
    known = tag(api, webhook)
    passing = "UPDATE webhook_endpoint SET failing_since = now(), previous_until = now()"
    with transaction(local.database) as session:
        session.execute(text(passing))
    now = api.get(webhook).json
    assert (now["failing_since"] is None, now["previous_secret_until"]) == (False, None)
    assert rotated.headers["ETag"] == tag(api, webhook) == known
    with transaction(local.database) as session:
        disable(session, uuid.UUID(now["id"]), DisabledReason.GONE)
    refused(
        api.patch(webhook, json={"url": "https://example.org/"}, headers={"If-Match": known}),
        412,
        "precondition_failed",
    )


def test_whatever_makes_or_changes_something_tells_its_tag(api: Api, job: str) -> None:
    created = api.post("/v1/galleries", json={"name": "a"})
    assert created.headers["ETag"] == tag(api, created.headers["Location"])
    made_subject = api.post(f"{created.headers['Location']}/subjects", json={"name": "a"})
    renamed = api.patch(made_subject.headers["Location"], json={"name": "b"})
    assert renamed.headers["ETag"] == tag(api, made_subject.headers["Location"])
    assert made_subject.headers["ETag"] != renamed.headers["ETag"]
    opened = api.post("/v1/jobs", json={"kind": "detect"})
    assert opened.headers["ETag"] == tag(api, opened.headers["Location"])
    hook = {"url": "https://example.com/hook", "events": ["job.failed"]}
    hooked = api.post("/v1/webhooks", json=hook)
    assert hooked.headers["ETag"] == tag(api, hooked.headers["Location"])
    off = api.patch(hooked.headers["Location"], json={"enabled": False})
    assert off.headers["ETag"] == tag(api, hooked.headers["Location"])
    paused = api.post(f"{job}/pause")
    assert (paused.headers["Content-Location"], paused.headers["ETag"]) == (job, tag(api, job))


def _rename(api: Api, paths: dict[str, str], headers: dict[str, str]) -> Any:
    return api.patch(paths["subject"], json={"name": "ben"}, headers=headers)


def _move(api: Api, paths: dict[str, str], headers: dict[str, str]) -> Any:
    return api.patch(paths["webhook"], json={"url": "https://example.org/"}, headers=headers)


def _rotate(api: Api, paths: dict[str, str], headers: dict[str, str]) -> Any:
    return api.post(f"{paths['webhook']}/rotate", json={}, headers=headers)


CHANGES: dict[str, tuple[str, Callable[[Api, dict[str, str], dict[str, str]], Any]]] = {
    "PATCH /v1/galleries/{gallery_id}/subjects/{subject_id}": ("subject", _rename),
    "DELETE /v1/galleries/{gallery_id}/subjects/{subject_id}": (
        "subject",
        lambda api, paths, headers: api.delete(paths["subject"], headers=headers),
    ),
    "DELETE /v1/galleries/{gallery_id}": (
        "gallery",
        lambda api, paths, headers: api.delete(paths["gallery"], headers=headers),
    ),
    "PATCH /v1/webhooks/{webhook_id}": ("webhook", _move),
    "POST /v1/webhooks/{webhook_id}/rotate": ("webhook", _rotate),
    "DELETE /v1/webhooks/{webhook_id}": (
        "webhook",
        lambda api, paths, headers: api.delete(paths["webhook"], headers=headers),
    ),
    "DELETE /v1/jobs/{job_id}": (
        "job",
        lambda api, paths, headers: api.delete(paths["job"], headers=headers),
    ),
    **{
        f"POST /v1/jobs/{{job_id}}/{how}": (
            "job",
            lambda api, paths, headers, how=how: api.post(f"{paths['job']}/{how}", headers=headers),
        )
        for how in ("pause", "resume", "cancel", "retry", "seal")
    },
}


def test_every_route_that_looks_at_if_match_is_tried_below(api: Api) -> None:
    spec = api.get("/openapi.json").json["paths"]
    looking = {
        f"{method.upper()} {path}"
        for path, methods in spec.items()
        for method, operation in methods.items()
        if any(one.get("name") == "If-Match" for one in operation.get("parameters", []))
    }
    assert looking == set(CHANGES)


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_a_change_of_what_has_changed_is_refused(
    api: Api, paths: dict[str, str], change: str
) -> None:
    kind, do = CHANGES[change]
    known = tag(api, paths[kind])
    for stale in ('"x"', f"W/{known}", known[:-2] + '"', ""):
        refused(do(api, paths, {"If-Match": stale}), 412, "precondition_failed")
    assert tag(api, paths[kind]) == known
    assert do(api, paths, {"If-Match": f'"x", {known}'}).status_code < 300


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_any_tag_will_do_where_the_thing_is_there(
    api: Api, paths: dict[str, str], change: str
) -> None:
    _, do = CHANGES[change]
    assert do(api, paths, {"If-Match": "*"}).status_code < 300
    if change.startswith("DELETE"):
        assert do(api, paths, {"If-Match": "*"}).status_code == 404


def test_a_refused_change_changes_nothing_that_hangs_on_it(
    api: Api, gallery: str, subject: str
) -> None:
    sent = api.send(f"{subject}/photos", [("a.jpg", image())])
    job = accepted(sent)
    for path in (subject, f"/v1/galleries/{gallery}"):
        refused(api.delete(path, headers={"If-Match": '"x"'}), 412, "precondition_failed")
    assert api.get(f"/v1/jobs/{job}").json["state"] == "queued"


def test_a_route_without_tags_matches_none(api: Api, gallery: str, job: str) -> None:
    stale = {"If-Match": '"x"'}
    for answer in (
        api.post("/v1/galleries", json={"name": "a"}, headers=stale),
        api.post(f"{job}/exports", json={"format": "csv"}, headers=stale),
        api.send_with(stale)
        if hasattr(api, "send_with")
        else api.post("/v1/uploads", headers=stale),
    ):
        refused(answer, 412, "precondition_failed")
    made(api.post("/v1/galleries", json={"name": "a"}, headers={"If-Match": "*"}))


@pytest.mark.parametrize("kind", ["subject", "job", "webhook"])
def test_of_many_who_saw_the_same_one_changes_it(
    api: Api, paths: dict[str, str], kind: str
) -> None:
    known, app = tag(api, paths[kind]), api.client.application
    barrier, bodies = threading.Barrier(8), {"subject": "name", "webhook": "url"}

    def change(n: int) -> int:
        client = app.test_client()
        barrier.wait()
        if kind in bodies:
            body = {bodies[kind]: f"https://example.com/{n}"}
            answer = client.patch(paths[kind], json=body, headers={"If-Match": known})
        else:
            answer = client.post(f"{paths[kind]}/pause", headers={"If-Match": known})
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(change, range(8)))
    assert statuses == [200, *[412] * 7]


@pytest.mark.parametrize(
    "change", [one for one, (kind, do) in CHANGES.items() if kind == "webhook" or do is _rename]
)
def test_a_change_that_was_under_way_first_is_seen(
    api: Api, local: Kit, paths: dict[str, str], change: str
) -> None:
    kind, do = CHANGES[change]
    known, other = tag(api, paths[kind]), Api(api.client.application.test_client())
    first = {
        "subject": "UPDATE subject SET name = 'somebody else'",
        "webhook": "UPDATE webhook_endpoint SET url = 'https://example.net/'",
    }
    with ThreadPoolExecutor(1) as pool:
        with transaction(local.database) as session:
            session.execute(text(first[kind]))
            waiting = pool.submit(do, other, paths, {"If-Match": known})
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            with local.database.connect() as looking:
                while not looking.execute(text(query)).scalar_one():
                    assert not waiting.done()
        refused(waiting.result(), 412, "precondition_failed")
    now = api.get(paths[kind]).json
    assert (now["name"] if kind == "subject" else now["url"]) in first[kind]


def test_whoever_holds_a_job_gives_way_to_its_workers(api: Api, local: Kit, job: str) -> None:
    """They lock photos before their job; who looked at the job first has it the other way round."""
    begun = "UPDATE item SET state = 'running', lease_until = now() + interval '1 h'"
    with transaction(local.database) as session:
        session.execute(text(begun))
    known = tag(api, job)
    with transaction(local.database) as session:
        session.execute(text("SELECT id FROM item FOR UPDATE"))
        refused(api.post(f"{job}/cancel", headers={"If-Match": known}), 503, "conflicting_changes")
    # Nothing was changed.
    assert tag(api, job) == known
    assert api.post(f"{job}/cancel", headers={"If-Match": known}).json["state"] == "cancelled"
