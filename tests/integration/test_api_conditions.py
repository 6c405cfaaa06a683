"""Whoever changes something may say as what it knows it, and nobody gets in between."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from api_kit import Api, accepted, image, made, refused
from ledger_kit import Kit
from sqlalchemy import text

from db.session import transaction


@pytest.fixture
def gallery(api: Api) -> str:
    return api.gallery("people")


@pytest.fixture
def subject(api: Api, gallery: str) -> str:
    return f"/v1/galleries/{gallery}/subjects/{api.subject(gallery, 'anna')}"


@pytest.fixture
def job(api: Api) -> str:
    return f"/v1/jobs/{accepted(api.submit(('a.jpg', image()), kind='detect'))}"


def tag(api: Api, path: str) -> str:
    answer = api.get(path)
    assert answer.status_code == 200
    return str(answer.headers["ETag"])


PATHS = ["gallery", "subject", "job"]


@pytest.fixture
def path(request: pytest.FixtureRequest, gallery: str, subject: str, job: str) -> str:
    return {"gallery": f"/v1/galleries/{gallery}", "subject": subject, "job": job}[request.param]


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
    api: Api, gallery: str, subject: str, job: str
) -> None:
    at = f"/v1/galleries/{gallery}"
    tags = {path: {tag(api, path)} for path in (at, subject, job)}
    api.patch(subject, json={"name": "ben"})
    api.subject(gallery, "another")
    api.post(f"{job}/pause")
    for path, seen in tags.items():
        seen.add(tag(api, path))
        assert len(seen) == 2
        assert tag(api, path) in seen


def test_whatever_makes_or_changes_something_tells_its_tag(api: Api, job: str) -> None:
    created = api.post("/v1/galleries", json={"name": "a"})
    assert created.headers["ETag"] == tag(api, created.headers["Location"])
    made_subject = api.post(f"{created.headers['Location']}/subjects", json={"name": "a"})
    renamed = api.patch(made_subject.headers["Location"], json={"name": "b"})
    assert renamed.headers["ETag"] == tag(api, made_subject.headers["Location"])
    assert made_subject.headers["ETag"] != renamed.headers["ETag"]
    opened = api.post("/v1/jobs", json={"kind": "detect"})
    assert opened.headers["ETag"] == tag(api, opened.headers["Location"])
    paused = api.post(f"{job}/pause")
    assert (paused.headers["Content-Location"], paused.headers["ETag"]) == (job, tag(api, job))


def _rename(api: Api, paths: dict[str, str], headers: dict[str, str]) -> Any:
    return api.patch(paths["subject"], json={"name": "ben"}, headers=headers)


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


@pytest.fixture
def paths(gallery: str, subject: str, job: str) -> dict[str, str]:
    return {"gallery": f"/v1/galleries/{gallery}", "subject": subject, "job": job}


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


@pytest.mark.parametrize("kind", ["subject", "job"])
def test_of_many_who_saw_the_same_one_changes_it(
    api: Api, paths: dict[str, str], kind: str
) -> None:
    known, app = tag(api, paths[kind]), api.client.application
    barrier = threading.Barrier(8)

    def change(n: int) -> int:
        client = app.test_client()
        barrier.wait()
        if kind == "subject":
            answer = client.patch(
                paths[kind], json={"name": f"name {n}"}, headers={"If-Match": known}
            )
        else:
            answer = client.post(f"{paths[kind]}/pause", headers={"If-Match": known})
        return answer.status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(change, range(8)))
    assert statuses == [200, *[412] * 7]


def test_a_change_that_was_under_way_first_is_seen(api: Api, local: Kit, subject: str) -> None:
    known = tag(api, subject)
    app = api.client.application
    with ThreadPoolExecutor(1) as pool:
        with transaction(local.database) as session:
            session.execute(text("UPDATE subject SET name = 'somebody else'"))
            waiting = pool.submit(
                app.test_client().patch, subject, json={"name": "ben"}, headers={"If-Match": known}
            )
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            with local.database.connect() as other:
                while not other.execute(text(query)).scalar_one():
                    assert not waiting.done()
        refused(waiting.result(), 412, "precondition_failed")
    assert api.get(subject).json["name"] == "somebody else"


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
