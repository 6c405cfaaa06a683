"""Nobody sees, names or changes what is another tenant's, by any route.

The routes come from the document that the API tells of itself. One with an id in its path, or that
takes one in its query or its body, has a recipe below, and without it a test fails.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from api_kit import NOWHERE, Api, api_of, image, key_of, made
from database_kit import copied
from flask import Flask
from werkzeug.test import TestResponse

from db.session import Database, Role, make_database, transaction
from db.settings import Settings, load_settings
from db.webhooks.events import give_out
from web.app import create_app
from web.services import EXTENSION, Services

PHOTO = image()
TENANTS = ("acme", "brand")
HOOK = "https://example.com/hook"
NOT_FOUND = {
    "delivery_not_found",
    "export_not_found",
    "face_not_found",
    "gallery_not_found",
    "job_not_found",
    "key_not_found",
    "subject_not_found",
    "upload_not_found",
    "webhook_not_found",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """One of everything of a tenant's, by its name in paths; and the API as the tenant calls it."""

    api: Api
    ids: dict[str, str]

    @classmethod
    def of(cls, api: Api, database: Database) -> "Things":
        """Makes them; in the database what no request makes."""
        gallery = api.gallery("people")
        job = made(api.post("/v1/jobs", json={"kind": "detect"}))
        assert api.send(f"/v1/jobs/{job}/photos", [("a.jpg", PHOTO)]).json["accepted"] == 1
        source = api.post(
            f"/v1/jobs/{job}/sources", json={"kind": "prefix", "prefix": _own_folder(api)}
        )
        export = api.post(f"/v1/jobs/{job}/exports", json={"format": "jsonl"})
        ids = {
            "gallery_id": gallery,
            "subject_id": api.subject(gallery, "Ada"),
            **_told(api, database),
            "job_id": job,
            "source_id": accepted_id(source),
            "export_id": accepted_id(export),
            "upload_id": _upload(api, "photos"),
            "archive_id": _upload(api, "archive"),
            "manifest_id": _upload(api, "manifest"),
            "key_id": made(api.post("/v1/keys", json={"name": "a", "scopes": ["read"]})),
            # Nobody has a face: the photo was not searched.
            "face_id": "1",
        }
        return cls(api=api, ids=ids)

    def __getattr__(self, name: str) -> str:
        return self.ids[f"{name}_id"]


def _told(api: Api, database: Database) -> dict[str, str]:
    """A webhook, an event for it, and the event's delivery."""
    webhook = made(api.post("/v1/webhooks", json={"url": HOOK, "events": ["job.completed"]}))
    tested = api.post(f"/v1/webhooks/{webhook}/test")
    assert tested.status_code == 202, tested.text
    with transaction(database) as session:
        give_out(session)
    (delivery,) = api.get("/v1/deliveries").json["deliveries"]
    return {"webhook_id": webhook, "event_id": delivery["event"], "delivery_id": delivery["id"]}


def accepted_id(answer: TestResponse) -> str:
    assert answer.status_code == 202, answer.text
    return str(answer.json["id"])


def _own_folder(api: Api) -> str:
    """Where this tenant's sources may lie."""
    refusal = api.post(
        "/v1/jobs",
        json={"kind": "detect", "sources": [{"kind": "prefix", "prefix": "nowhere"}]},
    )
    place = refusal.json["detail"].split("s3://facebatch/")[1].split(",")[0]
    return f"{place}a/"


def _upload(api: Api, kind: str) -> str:
    return made(api.post("/v1/uploads", json={"kind": kind, "files": [{"size_bytes": 1}]}))


def photos() -> dict[str, Any]:
    return {"photos": [(io.BytesIO(PHOTO), "a.jpg")]}


Call = Callable[[Things], dict[str, Any]]
"""What is sent, by the tenant that has these things."""


def nothing(_mine: Things) -> dict[str, Any]:
    return {}


def body(**members: Any) -> Call:
    return lambda _mine: {"json": members}


# What goes along with ids in a path; good enough for whoever the ids belong to.
PATHS: dict[str, Call] = {
    "GET /v1/galleries/{gallery_id}": nothing,
    "DELETE /v1/galleries/{gallery_id}": nothing,
    "POST /v1/galleries/{gallery_id}/subjects": body(name="Eve"),
    "GET /v1/galleries/{gallery_id}/subjects": nothing,
    "GET /v1/galleries/{gallery_id}/subjects/{subject_id}": nothing,
    "PATCH /v1/galleries/{gallery_id}/subjects/{subject_id}": body(name="Eve"),
    "DELETE /v1/galleries/{gallery_id}/subjects/{subject_id}": nothing,
    "POST /v1/galleries/{gallery_id}/subjects/{subject_id}/photos": lambda _: {"data": photos()},
    "GET /v1/jobs/{job_id}": nothing,
    "DELETE /v1/jobs/{job_id}": nothing,
    "GET /v1/jobs/{job_id}/results": nothing,
    "POST /v1/jobs/{job_id}/photos": lambda _: {"data": photos()},
    "POST /v1/jobs/{job_id}/seal": nothing,
    "POST /v1/jobs/{job_id}/pause": nothing,
    "POST /v1/jobs/{job_id}/resume": nothing,
    "POST /v1/jobs/{job_id}/cancel": nothing,
    "POST /v1/jobs/{job_id}/retry": nothing,
    "GET /v1/jobs/{job_id}/subjects": nothing,
    "GET /v1/jobs/{job_id}/export": lambda _: {"query_string": {"format": "jsonl"}},
    "POST /v1/jobs/{job_id}/exports": body(format="jsonl"),
    "GET /v1/jobs/{job_id}/exports": nothing,
    "GET /v1/jobs/{job_id}/exports/{export_id}": nothing,
    "DELETE /v1/jobs/{job_id}/exports/{export_id}": nothing,
    "POST /v1/jobs/{job_id}/sources": lambda mine: {
        "json": {"kind": "prefix", "prefix": _own_folder(mine.api)}
    },
    "GET /v1/jobs/{job_id}/sources": nothing,
    "POST /v1/jobs/{job_id}/rematch": lambda mine: {"json": {"gallery": mine.gallery}},
    "GET /v1/webhooks/{webhook_id}": nothing,
    "PATCH /v1/webhooks/{webhook_id}": body(events=["job.failed"]),
    "DELETE /v1/webhooks/{webhook_id}": nothing,
    "POST /v1/webhooks/{webhook_id}/rotate": body(overlap_s=1),
    "POST /v1/webhooks/{webhook_id}/test": nothing,
    "POST /v1/webhooks/{webhook_id}/replay": body(since="2026-01-01T00:00:00Z"),
    "GET /v1/deliveries/{delivery_id}": nothing,
    "POST /v1/deliveries/{delivery_id}/replay": nothing,
    "GET /v1/keys/{key_id}": nothing,
    "DELETE /v1/keys/{key_id}": nothing,
    "POST /v1/jobs/{job_id}/search": lambda mine: {"json": {"subject": mine.subject}},
    "GET /v1/jobs/{job_id}/faces/{face_id}/crop": nothing,
    "POST /v1/keys/{key_id}/rotate": body(overlap_s=1),
}
UNREADY = {
    "POST /v1/jobs/{job_id}/rematch",
    "POST /v1/jobs/{job_id}/search",
    "GET /v1/jobs/{job_id}/faces/{face_id}/crop",
}
"""The job has not ended, and no photo of it was searched."""
NOBODYS = {"face_id": "2"}
"""What is nobody's, where that is no UUID."""


def job(kind: str, **members: Any) -> dict[str, Any]:
    return {"json": {"kind": kind, **members}}


def form(kind: str, **fields: Any) -> dict[str, Any]:
    return {"data": {"kind": kind, **fields, **photos()}}


def uploaded(upload: str) -> dict[str, Any]:
    return {"json": {"upload": upload, "photos": [{"client_id": "b", "part": 0}]}}


Naming = Callable[[Things, Things], tuple[str, dict[str, Any]]]
"""A path of mine, and what names something that is theirs."""


WATCHED = ["match.found"]


def watching(whose: Things) -> dict[str, Any]:
    """A webhook that is told of a subject."""
    return {"url": HOOK, "events": WATCHED, "subjects": [whose.subject]}


def enrolling(mine: Things) -> str:
    """A job of mine whose photos may each name a subject."""
    wanted = {"kind": "enrol", "gallery": mine.gallery}
    return f"/v1/jobs/{made(mine.api.post('/v1/jobs', json=wanted))}/photos"


def ended(mine: Things) -> str:
    """A job of mine whose one photo was refused when it came."""
    return accepted_id(mine.api.submit(("empty.jpg", b""), kind="detect"))


NAMED: dict[str, dict[str, Naming]] = {
    "GET /v1/live": {
        "gallery": lambda _, their: (
            "/v1/live",
            {"method": "GET", "query_string": {"gallery": their.gallery}},
        ),
    },
    "POST /v1/jobs": {
        "gallery": lambda _, their: ("/v1/jobs", job("identify", gallery=their.gallery)),
        "gallery in a form": lambda _, their: ("/v1/jobs", form("identify", gallery=their.gallery)),
        "galleries": lambda mine, their: (
            "/v1/jobs",
            job("identify", galleries=[mine.gallery, their.gallery]),
        ),
        "galleries in a form": lambda mine, their: (
            "/v1/jobs",
            form("identify", galleries=f"{mine.gallery},{their.gallery}"),
        ),
        "subject": lambda mine, their: (
            "/v1/jobs",
            job("verify", gallery=mine.gallery, subject=their.subject),
        ),
        "subject to enrol": lambda mine, their: (
            "/v1/jobs",
            form("enrol", gallery=mine.gallery, subject=their.subject),
        ),
        "gallery and subject": lambda _, their: (
            "/v1/jobs",
            form("enrol", gallery=their.gallery, subject=their.subject),
        ),
        "job as a source": lambda _, their: (
            "/v1/jobs",
            job("detect", sources=[{"kind": "job", "job": their.job}]),
        ),
        "zip that was uploaded": lambda _, their: (
            "/v1/jobs",
            job("detect", sources=[{"kind": "archive", "upload": their.archive}]),
        ),
        "manifest that was uploaded": lambda _, their: (
            "/v1/jobs",
            job("detect", sources=[{"kind": "manifest", "upload": their.manifest}]),
        ),
    },
    "POST /v1/webhooks": {
        "subjects": lambda _, their: ("/v1/webhooks", {"json": watching(their)}),
    },
    "PATCH /v1/webhooks/{webhook_id}": {
        "subjects": lambda mine, their: (
            f"/v1/webhooks/{mine.webhook}",
            {"method": "PATCH", "json": {"subjects": [their.subject], "events": WATCHED}},
        ),
    },
    "POST /v1/jobs/{job_id}/photos": {
        "upload": lambda mine, their: (f"/v1/jobs/{mine.job}/photos", uploaded(their.upload)),
        "subject": lambda mine, their: (
            enrolling(mine),
            {"data": photos(), "query_string": {"subject": their.subject}},
        ),
    },
    "POST /v1/jobs/{job_id}/sources": {
        "job": lambda mine, their: (
            f"/v1/jobs/{mine.job}/sources",
            {"json": {"kind": "job", "job": their.job}},
        ),
        "upload": lambda mine, their: (
            f"/v1/jobs/{mine.job}/sources",
            {"json": {"kind": "archive", "upload": their.archive}},
        ),
    },
    "POST /v1/jobs/{job_id}/search": {
        "subject": lambda mine, their: (
            f"/v1/jobs/{ended(mine)}/search",
            {"json": {"subject": their.subject}},
        ),
    },
    "POST /v1/verifications": {
        "subject": lambda _, their: (
            "/v1/verifications",
            {"data": {"photo": (io.BytesIO(PHOTO), "a.jpg"), "subject": their.subject}},
        ),
        "job of the face": lambda mine, their: (
            "/v1/verifications",
            {"json": {"face": {"job": their.job, "face": 1}, "subject": mine.subject}},
        ),
    },
    "POST /verify": {
        "subject": lambda _, their: (
            "/verify",
            {"data": {"image": (io.BytesIO(PHOTO), "a.jpg"), "subject": their.subject}},
        ),
    },
    "POST /v1/jobs/{job_id}/rematch": {
        "gallery": lambda mine, their: (
            f"/v1/jobs/{mine.job}/rematch",
            {"json": {"gallery": their.gallery}},
        ),
    },
}
LISTS = {
    "GET /v1/deliveries",
    "GET /v1/galleries",
    "GET /v1/jobs",
    "GET /v1/keys",
    "GET /v1/webhooks",
}
# Lists of what hangs on something: on something of others' there hangs nothing.
SOUGHT = {
    "GET /v1/deliveries": {"webhook": "webhook_id", "job": "job_id", "event": "event_id"},
}


def operations(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    }


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    app = create_app(load_settings({}, dotenv=None))
    return dict(app.test_client().get("/openapi.json").json)


def _schemas(found: Any, spec: dict[str, Any], seen: set[str]) -> Iterator[dict[str, Any]]:
    """Every schema in a part of the document, with those that it refers to."""
    if isinstance(found, dict):
        yield found
        name = str(found.get("$ref", "")).rpartition("/")[2]
        if name and name not in seen:
            seen.add(name)
            yield from _schemas(spec["components"]["schemas"][name], spec, seen)
    for one in found.values() if isinstance(found, dict) else found:
        if isinstance(one, dict | list):
            yield from _schemas(one, spec, seen)


def _takes_ids(operation: dict[str, Any], spec: dict[str, Any]) -> bool:
    queried = [one for one in operation.get("parameters", []) if one.get("in") == "query"]
    return _is_id([queried, operation.get("requestBody", {})], spec)


def _is_id(taken: Any, spec: dict[str, Any]) -> bool:
    """Whether an id is among what is taken here."""
    return any(one.get("format") == "uuid" for one in _schemas(taken, spec, set()))


def test_every_route_with_an_id_in_its_path_has_a_recipe(spec: dict[str, Any]) -> None:
    assert {name for name in operations(spec) if "{" in name} == set(PATHS)


def test_every_route_that_takes_an_id_has_a_recipe(spec: dict[str, Any]) -> None:
    found = {name for name, one in operations(spec).items() if _takes_ids(one, spec)}
    assert found == set(NAMED) | set(SOUGHT)
    for name, sought in SOUGHT.items():
        parameters = operations(spec)[name]["parameters"]
        named = {one["name"] for one in parameters if _is_id(one, spec)}
        assert named == set(sought)


def test_every_list_is_looked_at(spec: dict[str, Any]) -> None:
    found = {
        name
        for name, operation in operations(spec).items()
        if "{" not in name
        and any(one.get("name") == "cursor" for one in operation.get("parameters", []))
    }
    assert found == LISTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A database in which both tenants have their things, to be copied; and the app."""

    app: Flask
    template: str
    keys: dict[str, str]
    ids: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def prepared(lasting_settings: Settings) -> Prepared:
    """Made once: of both tenants, a test has what was made here."""
    app = create_app(lasting_settings)
    database = make_database(lasting_settings.database or "", role=Role.SYSTEM)
    keys = {name: key_of(lasting_settings, name).text for name in TENANTS}
    ids = {name: Things.of(Api(app.test_client(), key), database).ids for name, key in keys.items()}
    # No database is copied to which somebody is connected.
    for pool in (database, app.extensions[EXTENSION].database, app.extensions[EXTENSION].directory):
        pool.dispose()
    template = (lasting_settings.database or "").rpartition("/")[2]
    return Prepared(app=app, template=template, keys=keys, ids=ids)


@pytest.fixture
def tenants(stores: Settings, prepared: Prepared) -> Iterator[dict[str, Things]]:
    """Both, in a database of the test's own."""
    app = prepared.app
    with copied(stores, prepared.template) as settings:
        app.extensions[EXTENSION] = Services(settings)
        yield {
            name: Things(api=Api(app.test_client(), key), ids=prepared.ids[name])
            for name, key in prepared.keys.items()
        }


@pytest.fixture
def theirs(tenants: dict[str, Things]) -> Things:
    """The other tenant's things."""
    return tenants["acme"]


@pytest.fixture
def mine(tenants: dict[str, Things]) -> Things:
    """Who should not get at them has things of the same names."""
    return tenants["brand"]


def asked(api: Api, operation: str, ids: dict[str, str], sent: dict[str, Any]) -> TestResponse:
    method, path = operation.split(" ")
    return api.client.open(path.format(**ids), method=method, **sent)


def not_found(answer: TestResponse) -> dict[str, Any]:
    assert answer.status_code == 404, answer.text
    assert answer.json["code"] in NOT_FOUND
    return {name: value for name, value in answer.json.items() if name != "request_id"}


@pytest.mark.parametrize("operation", PATHS)
def test_ids_of_others_are_as_good_as_none(mine: Things, theirs: Things, operation: str) -> None:
    call = PATHS[operation]
    foreign = not_found(asked(mine.api, operation, theirs.ids, call(mine)))
    nobodys = {name: NOBODYS.get(name, NOWHERE) for name in theirs.ids}
    assert foreign == not_found(asked(mine.api, operation, nobodys, call(mine)))
    # What lies in something of mine, and is theirs.
    for name in theirs.ids:
        if f"{{{name}}}" in operation:
            not_found(asked(mine.api, operation, {**mine.ids, name: theirs.ids[name]}, call(mine)))
    # Nothing of it was harmed, and the recipe works for whoever may.
    answer = asked(theirs.api, operation, theirs.ids, call(theirs))
    assert answer.status_code < 300 or operation in UNREADY, answer.text


@pytest.mark.parametrize(
    ("operation", "what"), [(name, what) for name, recipes in NAMED.items() for what in recipes]
)
def test_ids_of_others_in_a_request_are_as_good_as_none(
    mine: Things, theirs: Things, operation: str, what: str
) -> None:
    name = NAMED[operation][what]
    nobodys = Things(api=theirs.api, ids=dict.fromkeys(theirs.ids, NOWHERE))
    calls = [name(mine, whose) for whose in (theirs, nobodys)]
    before = mine.api.get("/v1/jobs").json["jobs"]
    foreign, none = (
        not_found(mine.api.client.open(path, **{"method": "POST"} | sent)) for path, sent in calls
    )
    assert foreign == none
    assert mine.api.get("/v1/jobs").json["jobs"] == before


@pytest.mark.parametrize(
    ("operation", "what"), [(name, what) for name, recipes in NAMED.items() for what in recipes]
)
def test_the_same_ids_are_good_for_their_owner(
    mine: Things, operation: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.looking.MAX_WAIT_S", 0.2)  # Nobody works on what is accepted.
    path, sent = NAMED[operation][what](mine, mine)
    answer = mine.api.client.open(path, **{"method": "POST"} | sent)
    assert answer.status_code != 404 or answer.json["code"] == "face_not_found", answer.text


def named(whose: Things) -> list[str]:
    """The ids that nothing else looks like."""
    return [value for name, value in whose.ids.items() if name not in NOBODYS]


@pytest.mark.parametrize("operation", sorted(LISTS))
def test_lists_are_of_ones_own_things(mine: Things, theirs: Things, operation: str) -> None:
    path = operation.removeprefix("GET ")
    own, other = mine.api.get(path), theirs.api.get(path)
    assert any(one in own.text for one in named(mine))
    assert any(one in other.text for one in named(theirs))
    for cursor in named(theirs):
        page = mine.api.get(path, query_string={"cursor": cursor})
        assert not any(one in own.text + page.text for one in named(theirs))


@pytest.mark.parametrize(
    ("operation", "what"), [(name, what) for name, sought in SOUGHT.items() for what in sought]
)
def test_nothing_hangs_on_what_is_others(
    mine: Things, theirs: Things, operation: str, what: str
) -> None:
    path, name = operation.removeprefix("GET "), SOUGHT[operation][what]
    answers = [
        mine.api.get(path, query_string={what: value}) for value in (theirs.ids[name], NOWHERE)
    ]
    assert answers[0].status_code == 200
    assert answers[0].json == answers[1].json
    assert not any(value in answers[0].text for value in theirs.ids.values())


def test_names_of_others_are_free_and_find_nothing(settings: Settings, database: Database) -> None:
    theirs = Things.of(api_of(settings, "acme"), database)
    api = api_of(settings, "brand")
    assert api.get("/v1/galleries", query_string={"name": "people"}).json["galleries"] == []
    gallery = api.gallery("people")
    assert api.subject(gallery, "Ada") != theirs.subject


def test_nobody_learns_of_a_photo_by_its_hash(mine: Things, theirs: Things) -> None:
    other = image(65)
    theirs.api.send(f"/v1/jobs/{theirs.job}/photos", [("b.jpg", other)])
    known = {"client_id": "b.jpg", "sha256": hashlib.sha256(other).hexdigest()}
    body = {"photos": [known]}
    assert theirs.api.post(f"/v1/jobs/{theirs.job}/photos", json=body).json["missing"] == []
    assert mine.api.post(f"/v1/jobs/{mine.job}/photos", json=body).json["missing"] == ["b.jpg"]


def test_counts_are_of_ones_own_things(settings: Settings) -> None:
    one, other = api_of(settings, "acme"), api_of(settings, "brand")
    one.subject(one.gallery("classic"), "Ada")
    assert [api.get("/stats").json["total_users"] for api in (one, other)] == [1, 0]


def test_sources_may_not_lie_in_a_folder_of_others(mine: Things, theirs: Things) -> None:
    folder = _own_folder(theirs.api)
    for source in (
        {"kind": "prefix", "prefix": folder},
        {"kind": "archive", "key": f"{folder}a.zip"},
        {"kind": "manifest", "key": f"{folder}a.ndjson"},
    ):
        answer = mine.api.post(f"/v1/jobs/{mine.job}/sources", json=source)
        assert (answer.status_code, answer.json["code"]) == (422, "source_not_allowed")
        assert json.dumps(folder)[1:-1] not in answer.text
