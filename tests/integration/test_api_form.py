"""The form of answers: ids of requests, what browsers are told, whom pages of others may ask."""

import json
import re
import sys
import uuid
from collections.abc import Iterator

import pytest
import structlog
from api_kit import NOWHERE, Api, accepted, image, made, refused
from ledger_kit import Kit
from werkzeug.test import TestResponse

from db.logs import configure_logs
from db.settings import Settings
from web.app import create_app

ID = "X-Request-ID"


def some_of_each(api: Api) -> dict[str, TestResponse]:
    """Answers of all kinds."""
    job = accepted(api.submit(("a.jpg", image()), kind="detect"))
    return {
        "read": api.get(f"/v1/jobs/{job}"),
        "made": api.post("/v1/galleries", json={"name": "a"}),
        "streamed": api.get(f"/v1/jobs/{job}/export?format=csv"),
        "not modified": api.get(f"/v1/jobs/{job}", headers={"If-None-Match": "*"}),
        "nothing to say": api.delete(f"/v1/jobs/{job}"),
        "not found": api.get(f"/v1/jobs/{NOWHERE}"),
        "no route": api.get("/nothing"),
        "no method": api.delete("/v1/galleries"),
        "invalid": api.post("/v1/galleries", json={"name": ""}),
        "malformed": api.post("/v1/galleries", data="{", content_type="application/json"),
        "another host": api.get("/health", headers={"Host": "evil.example"}),
        "options": api.client.options("/v1/galleries"),
        "head": api.client.head("/v1/galleries"),
        "the description": api.get("/openapi.json"),
        "the classic": api.get("/stats"),
        "the page": api.get("/docs/swagger"),
        "of the page": api.get("/docs/swagger/js/swagger-ui-bundle.js"),
        "to the page": api.get("/docs"),
    }


def test_every_answer_tells_browsers_what_not_to_do(api: Api) -> None:
    for name, answer in some_of_each(api).items():
        headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff", name
        assert headers["X-Frame-Options"] == "DENY", name
        assert headers["Referrer-Policy"] == "no-referrer", name
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin", name
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"], name
        assert headers["Content-Security-Policy"].startswith("default-src 'none';"), name
        if "page" not in name:
            assert headers["Cache-Control"] == "no-store", name
        assert "Access-Control-Allow-Origin" not in headers, name
        assert "Set-Cookie" not in headers, name


def test_a_crash_has_them_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("db.galleries.list_galleries", crash)
    answer = api.get("/v1/galleries", headers={ID: "mine"})
    refused(answer, 500, "internal_error")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers[ID] == answer.json["request_id"] == "mine"


def test_every_answer_has_an_id_of_its_own(api: Api) -> None:
    answers = some_of_each(api)
    ids = {uuid.UUID(answer.headers[ID]) for answer in answers.values()}
    assert len(ids) == len(answers)
    for answer in answers.values():
        if answer.content_type == "application/problem+json" and answer.data:
            assert answer.json["request_id"] == answer.headers[ID]


@pytest.mark.parametrize("own", ["a", "7f3a-b2", "Root=1-67891233-abcdef012345678912345678",
                                 "x" * 128, "urn:uuid:0192f3c1", "a/b+c=@d.e_f"])  # fmt: skip
def test_a_sane_id_of_the_clients_is_kept(api: Api, own: str) -> None:
    assert api.get("/health", headers={ID: own}).headers[ID] == own
    answer = api.get("/nothing", headers={ID: own})
    assert answer.json["request_id"] == answer.headers[ID] == own


@pytest.mark.parametrize(
    "own",
    [
        "",
        " ",
        "x" * 129,
        "a b",
        'a"b',
        "a{b}",
        "-a",
        "a\tb",
        "é",
        "<script>",
        "a,b",
        "a;b",
        "a\\nb",
    ],
)
def test_another_id_is_replaced(api: Api, own: str) -> None:
    found = api.get("/health", headers={ID: own}).headers[ID]
    assert uuid.UUID(found)


@pytest.fixture
def log_defaults() -> Iterator[None]:
    """Undoes what a test has configured, so that no other logs into its closed stream."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.usefixtures("log_defaults")
def test_every_line_of_a_requests_log_has_its_id(
    api: Api, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "stderr", sys.stdout)
    configure_logs("debug")
    api.get("/health", headers={ID: "first"})
    monkeypatch.setattr("db.galleries.list_galleries", crash)
    api.get("/v1/galleries", headers={ID: "second"})
    third = api.get("/nothing").headers[ID]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line[0] == "{"]
    assert [(one["event"], one["request_id"]) for one in lines] == [
        ("request", "first"),
        ("request_crashed", "second"),
        ("request", "second"),
        ("request", third),
    ]


APP = "https://app.example.com"
OTHER = "http://localhost:3000"


@pytest.fixture
def open_api(settings: Settings, local: Kit) -> Api:
    """The API of an operator who names two origins."""
    named = settings.model_copy(update={"cors_origins": f"{APP} {OTHER}"})
    return Api(create_app(named).test_client())


def preflight(api: Api, origin: str, path: str = "/v1/jobs", method: str = "POST") -> TestResponse:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,idempotency-key",
    }
    return api.client.options(path, headers=headers)


@pytest.mark.parametrize("origin", [APP, OTHER])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_a_page_that_the_operator_names_may_ask(open_api: Api, origin: str, method: str) -> None:
    answer = preflight(open_api, origin, method=method)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert method in answer.headers["Access-Control-Allow-Methods"].split(", ")
    allowed = {one.lower() for one in answer.headers["Access-Control-Allow-Headers"].split(", ")}
    assert {"content-type", "authorization", "idempotency-key", "if-match", "prefer"} <= allowed
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" in answer.headers["Vary"]


def test_a_page_that_the_operator_names_may_read_and_change(open_api: Api) -> None:
    headers = {"Origin": APP}
    answer = open_api.post("/v1/galleries", json={"name": "a"}, headers=headers)
    made(answer)
    for one in (answer, open_api.get("/v1/galleries", headers=headers)):
        assert one.headers["Access-Control-Allow-Origin"] == APP
        shown = one.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"Location", "ETag", "Retry-After", ID, "Idempotent-Replayed"} <= {*shown}
    # Errors too: a page has to know what is wrong.
    missing = open_api.get(f"/v1/jobs/{NOWHERE}", headers=headers)
    assert missing.headers["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
        "https://APP.example.com",
        "null",
        "",
        f"{APP} {OTHER}",
    ],
)
def test_any_other_page_may_not(open_api: Api, origin: str) -> None:
    answer = preflight(open_api, origin)
    assert not any(name.startswith("Access-Control") for name, _ in answer.headers)
    answer = open_api.post("/v1/galleries", json={"name": "a"}, headers={"Origin": origin})
    refused(answer, 403, "origin_untrusted")
    assert "Access-Control-Allow-Origin" not in answer.headers
    answer = open_api.get("/v1/galleries", headers={"Origin": origin})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Origin" in answer.headers["Vary"]


def test_by_default_no_page_may(api: Api) -> None:
    for origin in (APP, "http://127.0.0.1:8765", "null"):
        answer = preflight(api, origin)
        assert not any(name.startswith("Access-Control") for name, _ in answer.headers)


def test_a_named_page_gets_no_further_than_the_host_it_asks_for(open_api: Api) -> None:
    headers = {"Origin": APP, "Host": "evil.example", "Access-Control-Request-Method": "GET"}
    refused(open_api.client.options("/v1/jobs", headers=headers), 421, "host_untrusted")


def test_the_page_to_try_it_can_load_nothing_from_elsewhere(api: Api) -> None:
    """Its browser is told so: whatever its scripts ask for, they get from here or not at all."""
    answer = api.get("/docs", follow_redirects=True)
    policy = dict(
        rule.strip().partition(" ")[::2]
        for rule in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy.pop("default-src") == "'none'"
    own = {"'self'", "'none'", "data:", "'unsafe-inline'"}
    for rule, sources in policy.items():
        assert all(one in own or one.startswith("'sha256-") for one in sources.split()), rule
    # Inline styles are harmless; a script has to be the page's own.
    assert "'unsafe-inline'" not in policy["script-src"]
    inline = re.findall(r"<script>.*?</script>", answer.text, re.DOTALL)
    assert policy["script-src"].count("'sha256-") == len(inline) == 1
    assert not re.search(r"\son\w+=", answer.text)
