"""Who may call: keys that are good, and all the ways in which one is not."""

import contextlib
import datetime as dt
import hmac
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from api_kit import NOWHERE, Api, api_of, image, key_of, made, refused
from sqlalchemy import event, text
from werkzeug.test import TestResponse

from db import key_text
from db.api_keys import MadeKey, note_use
from db.key_text import ALPHABET, MARK, new_key_text
from db.logs import configure_logs
from db.scopes import Scope
from db.session import Database, transaction
from db.settings import Settings
from web.app import create_app
from web.scopes import NEEDED, OPEN, needed_scopes, operation_scopes
from web.services import EXTENSION

DAY = dt.timedelta(days=1)


@pytest.fixture
def app(settings: Settings) -> Any:
    """One that needs a key from everybody."""
    return create_app(settings.model_copy(update={"open_loopback": False}))


def call(app: Any, key: str | None, path: str = "/v1/galleries", **more: Any) -> TestResponse:
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    return app.test_client().get(path, headers=headers, **more)


def unauthorized(answer: TestResponse, code: str) -> str:
    """Checks the challenge of RFC 6750, too."""
    detail = refused(answer, 401, code)
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="facebatch"')
    assert ('error="invalid_token"' in challenge) == (code != "key_missing")
    return detail


def execute(database: Database, statement: str, **values: object) -> Any:
    with transaction(database) as session:
        return session.execute(text(statement), values)


def one_value(database: Database, query: str) -> Any:
    with transaction(database) as session:
        return session.execute(text(query)).scalar_one()


def test_a_key_works_for_its_own_tenant(app: Any, settings: Settings) -> None:
    api = Api(app.test_client(), key_of(settings, "acme").text)
    gallery = api.gallery("ours")
    assert api.get(f"/v1/galleries/{gallery}").json["name"] == "ours"
    other = Api(app.test_client(), key_of(settings, "other").text)
    assert other.get("/v1/galleries").json["galleries"] == []


def test_without_a_key_nobody_gets_in_and_nothing_happens(
    app: Any, settings: Settings, database: Database
) -> None:
    unauthorized(call(app, None), "key_missing")
    client = app.test_client()
    unauthorized(client.post("/v1/galleries", json={"name": "a"}), "key_missing")
    unauthorized(client.delete(f"/v1/galleries/{NOWHERE}"), "key_missing")
    for table in ("gallery", "tenant", "upload"):
        assert one_value(database, f"SELECT count(*) FROM {table}") == 0


@pytest.mark.parametrize("path", ["/", "/health", "/docs/", "/docs", "/openapi.json"])
def test_what_tells_the_same_to_everybody_needs_none(app: Any, path: str) -> None:
    assert call(app, None, path).status_code in {200, 302}


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YTpi", "bearer", "Token x", "Bearer x y", "Bearer \xff"],
)
def test_a_header_that_is_none_is_told(app: Any, header: str) -> None:
    answer = app.test_client().get("/v1/galleries", headers={"Authorization": header})
    unauthorized(answer, "key_malformed")


def test_the_scheme_is_written_in_any_case(app: Any, settings: Settings) -> None:
    key = key_of(settings, "acme").text
    for scheme in ("bearer", "BEARER"):
        answer = app.test_client().get(
            "/v1/galleries", headers={"Authorization": f"{scheme}  {key}"}
        )
        assert answer.status_code == 200


@contextlib.contextmanager
def statements(app: Any) -> Iterator[list[str]]:
    """What is asked of the database meanwhile."""
    seen: list[str] = []

    def note(_c: object, _cu: object, statement: str, *_: object) -> None:
        seen.append(statement)

    directory = app.extensions[EXTENSION].directory
    event.listen(directory, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(directory, "before_cursor_execute", note)


def cut(key: str) -> str:
    return key[:-3]


def mistyped(key: str) -> str:
    at = len(MARK) + 20
    return key[:at] + ALPHABET[(ALPHABET.find(key[at]) + 1) % 62] + key[at + 1 :]


@pytest.mark.parametrize("spoilt", [cut, mistyped, lambda key: key + "0", lambda key: key.upper()])
def test_a_key_that_was_mistyped_or_cut_off_is_told_without_asking_the_database(
    app: Any, settings: Settings, spoilt: Any
) -> None:
    key = spoilt(key_of(settings, "acme").text)
    with statements(app) as asked:
        unauthorized(call(app, key), "key_malformed")
    assert asked == []


def forged(settings: Settings, made_key: MadeKey) -> str:
    """A whole key with the handle of another, and a secret of its own."""
    other = new_key_text().text
    handle = made_key.text[len(MARK) : len(MARK) + 12]
    body = MARK + handle + other[len(MARK) + 12 : -6]
    return body + key_text._checksum(body)


def test_an_unknown_key_and_a_wrong_secret_are_one_to_the_caller(
    app: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = key_of(settings, "acme")
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def counting(a: Any, b: Any) -> bool:
        compared.append((a, b))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    ways = {}
    for name, key in (("unknown", new_key_text().text), ("wrong", forged(settings, known))):
        compared.clear()
        with statements(app) as asked:
            answer = call(app, key)
        unauthorized(answer, "key_invalid")
        lengths = [(len(a), len(b)) for a, b in compared]
        ways[name] = (list(asked), lengths, answer.json)
    assert ways["unknown"] == ways["wrong"]
    assert len(ways["wrong"][0]) == 1
    assert ways["wrong"][1] == [(32, 32)]


def test_a_key_of_another_deployment_is_unknown_here(app: Any, settings: Settings) -> None:
    key = key_of(settings, "acme").text
    other = settings.model_copy(update={"secret_key": type(settings.secret_key)("o" * 32)})
    unauthorized(call(create_app(other), key), "key_invalid")
    assert call(app, key).status_code == 200


def test_a_key_ends(app: Any, settings: Settings, database: Database) -> None:
    key = key_of(settings, "acme", valid_for=DAY)
    assert call(app, key.text).status_code == 200
    execute(database, "UPDATE api_key SET expires_at = now() - interval '1 second'")
    unauthorized(call(app, key.text), "key_expired")


def test_who_does_not_have_the_secret_does_not_learn_that_a_key_has_ended(
    app: Any, settings: Settings, database: Database
) -> None:
    key = key_of(settings, "acme", valid_for=DAY)
    execute(database, "UPDATE api_key SET expires_at = now(), revoked_at = now()")
    unauthorized(call(app, forged(settings, key)), "key_invalid")


def test_a_key_that_was_revoked_is_none_from_the_next_request_on(
    app: Any, settings: Settings
) -> None:
    admin = Api(app.test_client(), key_of(settings, "acme").text)
    created = admin.post("/v1/keys", json={"name": "program", "scopes": ["read"]}).json
    assert call(app, created["key"]).status_code == 200
    for _ in range(2):
        assert admin.delete(f"/v1/keys/{created['id']}").status_code == 204
        unauthorized(call(app, created["key"]), "key_revoked")
    kept = admin.get(f"/v1/keys/{created['id']}").json
    assert kept["state"] == "revoked"
    assert kept["revoked_at"]


def test_a_key_is_shown_once_and_kept_as_a_hash(
    app: Any, settings: Settings, database: Database
) -> None:
    admin = Api(app.test_client(), key_of(settings, "acme").text)
    answer = admin.post(
        "/v1/keys", json={"name": "ci", "scopes": ["submit", "read"], "expires_in_days": 30}
    )
    key, created = answer.json["key"], answer.json
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    assert key.startswith(created["prefix"])
    assert created["scopes"] == ["read", "submit"]
    assert created["state"] == "active"
    lifetime = dt.datetime.fromisoformat(created["expires_at"]) - dt.datetime.fromisoformat(
        created["created_at"]
    )
    assert lifetime == dt.timedelta(days=30)
    assert admin.get(answer.headers["Location"]).json == {
        name: value for name, value in created.items() if name != "key"
    }
    assert key not in admin.get("/v1/keys").text
    row = one_value(database, "SELECT string_agg(api_key::text, ' ') FROM api_key")
    assert key[len(created["prefix"]) :] not in row
    assert call(app, key).status_code == 200


def test_keys_are_listed_page_by_page(app: Any, settings: Settings) -> None:
    admin = Api(app.test_client(), key_of(settings, "acme").text)
    wanted = [
        made(admin.post("/v1/keys", json={"name": str(n), "scopes": ["read"]})) for n in "abc"
    ]
    first = admin.get("/v1/keys", query_string={"limit": 2}).json
    rest = admin.get("/v1/keys", query_string={"cursor": first["next_cursor"]}).json
    assert [one["id"] for one in (*first["keys"], *rest["keys"])][1:] == wanted
    assert rest["next_cursor"] is None


BODIES: dict[str, Any] = {
    "no scope": {"name": "a", "scopes": []},
    "no scopes": {"name": "a"},
    "an unknown scope": {"name": "a", "scopes": ["root"]},
    "a scope twice": {"name": "a", "scopes": ["read", "read"]},
    "no name": {"scopes": ["read"]},
    "no time": {"name": "a", "scopes": ["read"], "expires_in_days": 0},
    "too long a time": {"name": "a", "scopes": ["read"], "expires_in_days": 3651},
    "a number in a string": {"name": "a", "scopes": ["read"], "expires_in_days": "1"},
    "a tenant": {"name": "a", "scopes": ["read"], "tenant": "other"},
}


@pytest.mark.parametrize("what", BODIES)
def test_a_malformed_key_is_not_made(app: Any, settings: Settings, what: str) -> None:
    admin = Api(app.test_client(), key_of(settings, "acme").text)
    refused(admin.post("/v1/keys", json=BODIES[what]), 422, "invalid_request")
    assert len(admin.get("/v1/keys").json["keys"]) == 1


def test_rotation_leaves_both_keys_good_for_the_overlap(
    app: Any, settings: Settings, database: Database
) -> None:
    admin = Api(app.test_client(), key_of(settings, "acme").text)
    old = admin.post("/v1/keys", json={"name": "ci", "scopes": ["read"]}).json
    path = f"/v1/keys/{old['id']}"
    answer = admin.post(f"{path}/rotate", json={"overlap_s": 7200})
    new = answer.json
    assert answer.status_code == 201
    assert (new["name"], new["scopes"], new["expires_at"]) == ("ci", ["read"], None)
    assert call(app, old["key"]).status_code == call(app, new["key"]).status_code == 200
    kept = admin.get(path).json
    assert kept["replaced_by"] == new["id"]
    left = one_value(database, "SELECT max(expires_at) - now() FROM api_key")
    assert dt.timedelta(hours=1) < left <= dt.timedelta(hours=2)
    refused(admin.post(f"{path}/rotate", json={}), 409, "key_ended")
    execute(database, "UPDATE api_key SET expires_at = now() WHERE replaced_by IS NOT NULL")
    unauthorized(call(app, old["key"]), "key_expired")
    assert call(app, new["key"]).status_code == 200


def test_a_rotated_key_keeps_its_lifetime_and_never_gains_by_the_overlap(
    app: Any, settings: Settings, database: Database
) -> None:
    admin = Api(app.test_client(), key_of(settings, "acme").text)
    body = {"name": "ci", "scopes": ["read"], "expires_in_days": 1}
    old = admin.post("/v1/keys", json=body).json
    new = admin.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 2_592_000}).json
    lifetimes = [
        dt.datetime.fromisoformat(one["expires_at"]) - dt.datetime.fromisoformat(one["created_at"])
        for one in (new, admin.get(f"/v1/keys/{old['id']}").json)
    ]
    assert lifetimes == [DAY, DAY]


def test_without_an_overlap_the_old_key_ends_at_once(app: Any, settings: Settings) -> None:
    admin = Api(app.test_client(), key_of(settings, "acme").text)
    old = admin.post("/v1/keys", json={"name": "ci", "scopes": ["read"]}).json
    admin.post(f"/v1/keys/{old['id']}/rotate", json={"overlap_s": 0})
    unauthorized(call(app, old["key"]), "key_expired")


@pytest.mark.parametrize("seconds", [-1, 2_592_001, 1.5, "24", None])
def test_an_overlap_is_a_number_of_seconds(app: Any, settings: Settings, seconds: object) -> None:
    key = key_of(settings, "acme")
    admin = Api(app.test_client(), key.text)
    path = f"/v1/keys/{key.view.id}/rotate"
    refused(admin.post(path, json={"overlap_s": seconds}), 422, "invalid_request")


def test_its_last_use_is_noted_once_a_minute(
    app: Any, settings: Settings, database: Database
) -> None:
    key = key_of(settings, "acme").text
    noted = "SELECT last_used_at FROM api_key"
    assert one_value(database, noted) is None
    call(app, key)
    first = one_value(database, noted)
    assert first is not None
    with statements(app) as asked:
        call(app, key)
    assert one_value(database, noted) == first
    assert not [one for one in asked if "UPDATE" in one]
    execute(database, "UPDATE api_key SET last_used_at = now() - interval '61 seconds'")
    call(app, key)
    assert one_value(database, noted) > first


def test_a_request_does_not_wait_for_its_note_nor_fail_with_it(
    app: Any, settings: Settings, database: Database
) -> None:
    key = key_of(settings, "acme")
    with database.connect() as other, other.begin():
        other.execute(text("SELECT 1 FROM api_key FOR UPDATE"))
        assert call(app, key.text).status_code == 200
    assert one_value(database, "SELECT last_used_at FROM api_key") is None
    execute(
        database,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$",
    )
    execute(
        database,
        "CREATE TRIGGER refuse BEFORE UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    assert call(app, key.text).status_code == 200
    note_use(database, key.view.id)


ROUTES = sorted((scope, endpoint) for scope, endpoints in NEEDED.items() for endpoint in endpoints)


def test_each_route_needs_one_scope_or_is_open(app: Any) -> None:
    needed = needed_scopes(app)
    assert len(needed) == len(ROUTES)
    assert not OPEN & needed.keys()
    paths = app.api_doc["paths"]
    scopes = operation_scopes(app)
    told = {
        (path, method): operation["security"]
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    for at, security in told.items():
        assert security == ([{"bearer": [scopes[at].value]}] if at in scopes else [])
    assert {path for (path, _), security in told.items() if not security} == {"/", "/health"}
    schemes = app.api_doc["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")


def test_a_route_that_nobody_gave_a_scope_is_no_route(app: Any, settings: Settings) -> None:
    app.add_url_rule("/v1/forgotten", "forgotten", lambda: "")
    with pytest.raises(LookupError, match="forgotten"):
        needed_scopes(app)


@pytest.mark.parametrize(("scope", "endpoint"), ROUTES, ids=str)
def test_a_key_opens_the_routes_of_its_scopes_and_no_others(
    app: Any, settings: Settings, scope: Scope, endpoint: str
) -> None:
    rule = next(one for one in app.url_map.iter_rules() if one.endpoint == endpoint)
    path = re.sub(r"<uuid:\w+>", NOWHERE, rule.rule)
    method = next(iter((rule.methods or set()) - {"HEAD", "OPTIONS"}))
    others = [one for one in Scope if one is not scope]
    without = Api(app.test_client(), key_of(settings, "acme", *others).text)
    answer = without.client.open(path, method=method)
    assert f"'{scope}'" in refused(answer, 403, "scope_missing")
    assert f'error="insufficient_scope", scope="{scope}"' in answer.headers["WWW-Authenticate"]
    only = Api(app.test_client(), key_of(settings, "acme", scope).text)
    assert only.client.open(path, method=method).status_code not in {401, 403, 500}


def test_a_request_that_may_not_is_refused_before_it_is_read(
    app: Any, settings: Settings, database: Database
) -> None:
    api = Api(app.test_client(), key_of(settings, "acme", Scope.READ).text)
    refused(api.submit(("a.jpg", image()), kind="detect"), 403, "scope_missing")
    refused(api.post("/v1/galleries", data=b"{"), 403, "scope_missing")
    assert one_value(database, "SELECT count(*) FROM upload") == 0


def test_which_methods_a_route_takes_is_no_secret(app: Any) -> None:
    answer = app.test_client().options("/v1/galleries")
    assert answer.status_code == 200
    assert "POST" in answer.headers["Allow"]


def test_a_program_on_this_machine_is_the_tenant_local(settings: Settings, api: Api) -> None:
    gallery = api.gallery("ours")
    keyed = api_of(settings, "local", Scope.READ)
    assert keyed.get(f"/v1/galleries/{gallery}").status_code == 200
    assert api.get("/v1/keys").status_code == 200


@pytest.mark.parametrize("key", ["fb_live_x", "Bearer", new_key_text().text])
def test_a_wrong_key_is_refused_on_this_machine_too(api: Api, key: str) -> None:
    answer = api.get("/v1/galleries", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "peer", ["10.0.0.1", "192.168.1.5", "203.0.113.9", "::2", "", "127.0.0.1.evil", "localhost.x"]
)
def test_a_program_elsewhere_needs_a_key(api: Api, peer: str) -> None:
    answer = api.get("/v1/galleries", environ_base={"REMOTE_ADDR": peer})
    unauthorized(answer, "key_missing")


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_all_of_loopback_is_this_machine(api: Api, peer: str) -> None:
    answer = api.get("/v1/galleries", environ_base={"REMOTE_ADDR": peer})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "header",
    ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto", "Via"],
)
@pytest.mark.parametrize("value", ["127.0.0.1", "203.0.113.9", ""])
def test_whom_a_proxy_on_this_machine_leads_here_needs_a_key(
    api: Api, header: str, value: str
) -> None:
    unauthorized(api.get("/v1/galleries", headers={header: value}), "key_missing")


def test_who_calls_us_by_a_public_name_comes_by_a_proxy(settings: Settings) -> None:
    named = settings.model_copy(update={"trusted_hosts": "faces.example,localhost"})
    api = Api(create_app(named).test_client())
    unauthorized(api.get("/v1/galleries", headers={"Host": "faces.example"}), "key_missing")
    assert api.get("/v1/galleries").status_code == 200


def test_a_server_on_its_own_opens_to_nobody_unless_it_is_told_to(settings: Settings) -> None:
    for value in (False, None):
        closed = settings.model_copy(update={"open_loopback": value})
        unauthorized(Api(create_app(closed).test_client()).get("/v1/galleries"), "key_missing")


@pytest.fixture
def log_defaults() -> Iterator[None]:
    """Undoes what a test has configured, so that no other logs into its closed stream."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("log_defaults")
def test_keys_stay_out_of_the_logs_whatever_becomes_of_them(
    app: Any,
    settings: Settings,
    database: Database,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    configure_logs("debug")
    key = key_of(settings, "acme")
    admin = Api(app.test_client(), key.text)
    created = admin.post("/v1/keys", json={"name": "ci", "scopes": ["read"]}).json
    rotated = admin.post(f"/v1/keys/{created['id']}/rotate", json={}).json
    sent = [key.text, created["key"], rotated["key"], forged(settings, key), new_key_text().text]
    sent += [cut(key.text), mistyped(key.text)]
    for one in sent:
        call(app, one)
    execute(database, "ALTER TABLE api_key RENAME TO elsewhere")
    assert call(app, key.text).status_code == 500
    said = capsys.readouterr().out
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {"request", "request_crashed"} <= {one["event"] for one in events}
    assert str(key.view.id) in said
    secrets = {one[len(MARK) + 12 :] for one in sent}
    assert [one for one in secrets if one[:20] in said] == []
