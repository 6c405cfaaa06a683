"""API keys: made, shown once, listed, rotated, revoked, and noted when they are used."""

import datetime as dt
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from api_kit import Api, key_of, made, refused
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
from sqlalchemy import text

from db.api_keys import note_use
from db.key_text import MARK, new_key_text
from db.logs import configure_logs
from db.session import Database
from db.settings import Settings

DAY = dt.timedelta(days=1)


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


def test_a_key_ends(app: Any, settings: Settings, database: Database) -> None:
    key = key_of(settings, "acme", valid_for=DAY)
    assert call(app, key.text).status_code == 200
    execute(database, "UPDATE api_key SET expires_at = now() - interval '1 second'")
    unauthorized(call(app, key.text), "key_expired")


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
    app: Any, settings: Settings, database: Database, owners: Database
) -> None:
    key = key_of(settings, "acme")
    with database.connect() as other, other.begin():
        other.execute(text("SELECT 1 FROM api_key FOR UPDATE"))
        assert call(app, key.text).status_code == 200
    assert one_value(database, "SELECT last_used_at FROM api_key") is None
    execute(
        owners,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$",
    )
    execute(
        owners,
        "CREATE TRIGGER refuse BEFORE UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    assert call(app, key.text).status_code == 200
    note_use(database, key.view.id)


@pytest.fixture
def log_defaults() -> Iterator[None]:
    """Undoes what a test has configured, so that no other logs into its closed stream."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("log_defaults")
def test_keys_stay_out_of_the_logs_whatever_becomes_of_them(
    app: Any,
    settings: Settings,
    owners: Database,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    configure_logs("debug")
    key = key_of(settings, "acme")
    admin = Api(app.test_client(), key.text)
    created = admin.post("/v1/keys", json={"name": "ci", "scopes": ["read"]}).json
    rotated = admin.post(f"/v1/keys/{created['id']}/rotate", json={}).json
    sent = [key.text, created["key"], rotated["key"], forged(key), new_key_text().text]
    sent += [cut(key.text), mistyped(key.text)]
    for one in sent:
        call(app, one)
    execute(owners, "ALTER TABLE api_key RENAME TO elsewhere")
    assert call(app, key.text).status_code == 500
    said = capsys.readouterr().out
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {"request", "request_crashed"} <= {one["event"] for one in events}
    assert str(key.view.id) in said
    secrets = {one[len(MARK) + 12 :] for one in sent}
    assert [one for one in secrets if one[:20] in said] == []
