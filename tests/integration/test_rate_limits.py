"""Whoever asks too often waits: by key, by token, by address, and for keys that are not good."""

import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from api_kit import Api, key_of, refused
from caller_kit import call, cut, execute, statements
from flask import Flask
from structlog.testing import capture_logs
from token_kit import AUDIENCE, ISSUER, RSA, in_file, token
from werkzeug.test import TestResponse
from worker_kit import OwnQueue, wait_until

from db.key_text import new_key_text
from db.session import Database, transaction
from db.settings import Settings
from db.tenants import ensure_tenant
from web.app import create_app
from web.live.handshake import BEARER, SUBPROTOCOL
from web.rate_limits import STORE_TIMEOUT_S

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}
HERE, THERE = "192.0.2.1", "192.0.2.2"
Make = Callable[..., Flask]


@pytest.fixture
def make(settings: Settings, queue: redis.Redis) -> Make:
    """Makes a server that asks for a key, with these limits and no others."""
    assert queue

    def make(**limits: object) -> Flask:
        return create_app(settings.model_copy(update={"open_loopback": False, **limits}))

    return make


def asked(app: Flask, key: str | None, peer: str = HERE, **headers: str) -> TestResponse:
    return call(app, key, environ_base={"REMOTE_ADDR": peer, **headers})


def offered(app: Flask, key: str, peer: str = HERE) -> TestResponse:
    """A key shown as a browser's page shows it. A right one gets 422: no gallery is named."""
    headers = {**UPGRADE, "Sec-WebSocket-Protocol": f"{SUBPROTOCOL}, {BEARER}{key}"}
    peers = {"REMOTE_ADDR": peer}
    return app.test_client().get("/v1/live", headers=headers, environ_base=peers)


def too_many(answer: TestResponse) -> int:
    """Checks the refusal; returns how many seconds it asks to wait."""
    refused(answer, 429, "too_many_requests")
    wait_s = int(answer.headers["Retry-After"])
    assert f";r=0;t={wait_s}" in answer.headers["RateLimit"]
    return wait_s


def test_a_key_that_is_used_too_often_waits_and_no_other_does(
    make: Make, settings: Settings
) -> None:
    app = make(rate_limit="3/minute")
    mine, other = (key_of(settings, "acme").text for _ in range(2))
    left = []
    for _ in range(3):
        answer = asked(app, mine)
        assert answer.status_code == 200
        assert answer.headers["RateLimit-Policy"] == '"requests-per-minute";q=3;w=60'
        left.append(answer.headers["RateLimit"])
        assert "Retry-After" not in answer.headers
    assert [re.sub(r"t=\d+", "", one) for one in left] == [
        f'"requests-per-minute";r={n};' for n in (2, 1, 0)
    ]
    assert 0 < too_many(asked(app, mine)) <= 61
    # From wherever it comes; and refused before it is told that it may not.
    too_many(asked(app, mine, THERE))
    assert asked(app, other).status_code == 200


def test_all_processes_count_together(make: Make, settings: Settings) -> None:
    key = key_of(settings, "acme").text
    assert asked(make(rate_limit="1/hour"), key).status_code == 200
    too_many(asked(make(rate_limit="1/hour"), key))


def test_who_waits_as_long_as_asked_is_let_in_again(make: Make, settings: Settings) -> None:
    app = make(rate_limit="2/second,100/day")
    key = key_of(settings, "acme").text
    answer = asked(app, key)
    assert answer.headers["RateLimit-Policy"] == (
        '"requests-per-second";q=2;w=1, "requests-per-day";q=100;w=86400'
    )
    while answer.status_code != 429:
        answer = asked(app, key)
    time.sleep(too_many(answer))
    assert asked(app, key).status_code == 200


def test_tokens_count_by_their_subject(
    make: Make, settings: Settings, tmp_path: Path, database: Database
) -> None:
    with transaction(database) as session:
        ensure_tenant(session, "acme")
    issuer = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_jwks": in_file(tmp_path, RSA)}
    app = make(rate_limit="1/hour", **issuer)
    assert asked(app, token(sub="anna")).status_code == 200
    too_many(asked(app, token(sub="anna", exp=int(time.time()) + 99)))
    for other in ({"sub": "ben"}, {"sub": None}):
        assert asked(app, token(**other)).status_code == 200
    too_many(asked(app, token(sub=None)))
    # Another tenant's, and one of a tenant that there is not.
    refused(asked(app, token(sub="anna", tenant="nobody")), 403, "tenant_unknown")


def test_who_shows_no_key_counts_by_address(make: Make, settings: Settings) -> None:
    app = make(address_rate_limit="2/hour")
    for _ in range(2):
        refused(asked(app, None), 401, "key_missing")
    too_many(asked(app, None))
    refused(asked(app, None, THERE), 401, "key_missing")
    assert asked(app, key_of(settings, "acme").text).status_code == 200


def test_a_key_that_has_ended_counts_as_that_key(
    make: Make, settings: Settings, database: Database
) -> None:
    app = make(rate_limit="2/hour", address_rate_limit="1/hour", wrong_key_limit="1/hour")
    key = key_of(settings, "acme").text
    execute(database, "UPDATE api_key SET revoked_at = now()")
    for _ in range(2):
        refused(asked(app, key), 401, "key_revoked")
    too_many(asked(app, key))
    assert asked(app, key_of(settings, "acme").text).status_code == 200


@pytest.mark.parametrize("wrong", [lambda: new_key_text().text, lambda: cut(new_key_text().text)])
def test_an_address_that_guesses_keys_is_heard_no_more(
    make: Make, settings: Settings, wrong: Callable[[], str]
) -> None:
    app = make(wrong_key_limit="3/hour")
    right = key_of(settings, "acme").text
    for _ in range(3):
        assert asked(app, right).status_code == 200
        assert asked(app, None).status_code == 401
        assert asked(app, wrong()).status_code == 401
    with statements(app) as queries:
        answers = [asked(app, key) for key in (wrong(), right)]
    for answer in answers:
        too_many(answer)
    # Nobody learns which of the two was right.
    bodies = [{**one.json, "request_id": None} for one in answers]
    assert bodies[0] == bodies[1]
    assert queries == []
    assert asked(app, right, THERE).status_code == 200
    refused(asked(app, None), 401, "key_missing")


def test_keys_that_are_tried_as_a_subprotocol_count_with_all_others(
    make: Make, settings: Settings
) -> None:
    app = make(wrong_key_limit="3/hour")
    right = key_of(settings, "acme").text
    for key in (new_key_text().text, cut(new_key_text().text)):
        assert offered(app, key).status_code == 401
        assert offered(app, right).status_code == 422
    assert asked(app, new_key_text().text).status_code == 401
    for answer in (offered(app, new_key_text().text), offered(app, right), asked(app, right)):
        too_many(answer)
    assert offered(app, right, THERE).status_code == 422


def test_behind_a_proxy_of_ours_each_client_counts_by_its_own_address(
    make: Make, settings: Settings
) -> None:
    right = key_of(settings, "acme").text
    for trusted, expected in (("192.0.2.0/24", 200), (None, 429), ("198.51.100.0/24", 429)):
        app = make(wrong_key_limit="1/hour", trusted_proxies=trusted)
        asked(app, new_key_text().text, HTTP_X_FORWARDED_FOR="203.0.113.1")
        answer = asked(app, right, HTTP_X_FORWARDED_FOR="203.0.113.1, 203.0.113.2")
        assert answer.status_code == expected


@pytest.mark.parametrize("path", ["/", "/health", "/docs/", "/docs/swagger", "/openapi.json"])
def test_what_tells_the_same_to_everybody_has_no_limit(make: Make, path: str) -> None:
    app = make(rate_limit="1/hour", address_rate_limit="1/hour", loopback_rate_limit="1/hour")
    for _ in range(3):
        answer = app.test_client().get(path)
        assert answer.status_code in {200, 302}
        assert "RateLimit" not in answer.headers
    assert app.test_client().options("/v1/galleries").status_code == 200


def test_programs_on_this_machine_have_no_limit_unless_one_is_set(
    settings: Settings, make: Make, queue: redis.Redis
) -> None:
    usual = Settings.model_fields
    limits = {
        name: usual[name].default for name in usual if name.endswith(("rate_limit", "key_limit"))
    }
    assert len(limits) == 4
    answer = Api(make(open_loopback=True, **limits).test_client()).get("/v1/galleries")
    assert answer.status_code == 200
    assert "RateLimit" not in answer.headers
    assert queue.keys("LIMIT*") == []
    app = make(open_loopback=True, **limits | {"loopback_rate_limit": "1/hour"})
    assert Api(app.test_client()).get("/v1/galleries").status_code == 200
    too_many(Api(app.test_client()).get("/v1/galleries"))
    for _ in range(2):  # Who shows a key counts by that, on this machine too.
        assert call(app, key_of(settings, "local").text).status_code == 200


@contextlib.contextmanager
def gone(own_queue: OwnQueue, first: Callable[[], object]) -> Iterator[None]:
    """A Redis that is there for the first requests, and has ended since."""
    with own_queue.serving():
        first()
    yield


@contextlib.contextmanager
def stopped(own_queue: OwnQueue, first: Callable[[], object]) -> Iterator[None]:
    """One that takes connections, and says nothing."""
    with own_queue.serving() as client:
        first()
        server = client.info("server")["process_id"]
        os.kill(server, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server, signal.SIGCONT)


@pytest.mark.parametrize("away", [gone, stopped])
def test_without_redis_requests_work_and_do_not_each_wait_for_it(
    away: Callable[[OwnQueue, Callable[[], object]], Any],
    make: Make,
    settings: Settings,
    own_queue: OwnQueue,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("web.rate_limits._STORE_LOG._said_at", float("-inf"))
    key = key_of(settings, "acme").text
    app = make(
        redis_url=own_queue.settings.redis_url, rate_limit="30/hour", wrong_key_limit="3/hour"
    )
    requests = 30
    with capture_logs() as events, away(own_queue, lambda: asked(app, key)):
        began = time.monotonic()
        answers = [asked(app, key) for _ in range(requests)]
        assert time.monotonic() - began < requests * STORE_TIMEOUT_S / 2
        assert {one.status_code for one in answers} == {200}
        # Meanwhile a process counts for itself.
        too_many(asked(app, key))
        for _ in range(3):
            assert asked(app, cut(key)).status_code == 401
        too_many(asked(app, cut(key)))
    assert sum(one["event"] == "rate_limits_uncounted" for one in events) == 1
    with capture_logs() as events, own_queue.serving():
        wait_until(lambda: asked(app, key).status_code == 200)
    assert "rate_limits_counted_again" in {one["event"] for one in events}
