"""Who may call: whoever has a key that is good, with the scope that the route needs."""

import datetime as dt
import hmac
import re
from typing import Any

import pytest
from api_kit import NOWHERE, Api, api_of, image, key_of, refused
from caller_kit import (
    call,
    cut,
    execute,
    forged,
    mistyped,
    one_value,
    statements,
    unauthorized,
)

from db.key_text import new_key_text
from db.scopes import Scope
from db.session import Database
from db.settings import Settings
from web.app import create_app
from web.scopes import NEEDED, OPEN, needed_scopes, operation_scopes

DAY = dt.timedelta(days=1)


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
    before = one_value(database, "SELECT count(*) FROM tenant")
    unauthorized(client.post("/v1/galleries", json={"name": "a"}), "key_missing")
    unauthorized(client.delete(f"/v1/galleries/{NOWHERE}"), "key_missing")
    for table in ("gallery", "upload"):
        assert one_value(database, f"SELECT count(*) FROM {table}") == 0
    assert one_value(database, "SELECT count(*) FROM tenant") == before


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


@pytest.mark.parametrize("spoilt", [cut, mistyped, lambda key: key + "0", lambda key: key.upper()])
def test_a_key_that_was_mistyped_or_cut_off_is_told_without_asking_the_database(
    app: Any, settings: Settings, spoilt: Any
) -> None:
    key = spoilt(key_of(settings, "acme").text)
    with statements(app) as asked:
        unauthorized(call(app, key), "key_malformed")
    assert asked == []


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
    for name, key in (("unknown", new_key_text().text), ("wrong", forged(known))):
        compared.clear()
        with statements(app) as asked:
            answer = call(app, key)
        unauthorized(answer, "key_invalid")
        lengths = [(len(a), len(b)) for a, b in compared]
        told = {member: said for member, said in answer.json.items() if member != "request_id"}
        ways[name] = (list(asked), lengths, told)
    assert ways["unknown"] == ways["wrong"]
    assert len(ways["wrong"][0]) == 1
    assert ways["wrong"][1] == [(32, 32)]


def test_a_key_of_another_deployment_is_unknown_here(app: Any, settings: Settings) -> None:
    key = key_of(settings, "acme").text
    other = settings.model_copy(update={"secret_key": type(settings.secret_key)("o" * 32)})
    unauthorized(call(create_app(other), key), "key_invalid")
    assert call(app, key).status_code == 200


def test_who_does_not_have_the_secret_does_not_learn_that_a_key_has_ended(
    app: Any, settings: Settings, database: Database
) -> None:
    key = key_of(settings, "acme", valid_for=DAY)
    execute(database, "UPDATE api_key SET expires_at = now(), revoked_at = now()")
    unauthorized(call(app, forged(key)), "key_invalid")


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
    path = re.sub(r"<int:\w+>", "1", re.sub(r"<uuid:\w+>", NOWHERE, rule.rule))
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


@pytest.mark.parametrize(
    "key", ["fb_live_x", "Bearer", new_key_text().text], ids=("short", "scheme", "unknown")
)
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
