"""Tokens are taken where all of them is right, and the issuer is not asked more than is good."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from http_kit import scripted
from joserfc import jws
from joserfc.jwk import OctKey, RSAKey
from token_kit import (
    AUDIENCE,
    EC,
    ED,
    ENCRYPTING,
    ISSUER,
    RSA,
    by_hand,
    claims,
    confused,
    encoded,
    in_file,
    issuer_settings,
    public,
    token,
)

import web.jwks
from db.scopes import Scope
from db.settings import SettingsError, load_settings
from web.errors import IssuerUnavailableError, TokenExpiredError, TokenInvalidError
from web.issuers import LEEWAY_S, Claimed, Issuer
from web.jwks import IssuerKeys

GOOD = Claimed(tenant="acme", scopes=frozenset({Scope.READ, Scope.SUBMIT}))


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer.of(issuer_settings(in_file(tmp_path, RSA, EC, ED, ENCRYPTING)))


def refusal(issuer: Issuer, text: str) -> str:
    with pytest.raises(TokenInvalidError) as caught:
        issuer.claims(text)
    return str(caught.value)


def test_nobody_is_the_issuer_unless_somebody_is_named() -> None:
    assert Issuer.of(load_settings({}, dotenv=None)) is None


@pytest.mark.parametrize(
    ("key", "alg"),
    [(RSA, "RS256"), (RSA, "PS256"), (EC, "ES256"), (ED, "EdDSA"), (ED, "Ed25519")],
)
def test_a_good_token_says_for_whom_and_what(issuer: Issuer, key: Any, alg: str) -> None:
    assert issuer.claims(token(key, alg)) == GOOD


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        (["read", "admin"], {Scope.READ, Scope.ADMIN}),
        ("admin  manage root", {Scope.ADMIN, Scope.MANAGE}),
        ("", set()),
        (None, set()),
        ({"read": True}, set()),
        (["Read", 1, None], set()),
        ("readsubmit", set()),
    ],
)
def test_scopes_come_as_a_list_or_a_text(issuer: Issuer, scope: Any, scopes: set[Scope]) -> None:
    assert issuer.claims(token(scope=scope)).scopes == scopes


def test_claims_may_have_other_names(tmp_path: Path) -> None:
    names = {
        "FACEBATCH_JWT_TENANT_CLAIM": "https://acme.example/org",
        "FACEBATCH_JWT_SCOPES_CLAIM": "roles",
    }
    issuer = Issuer.of(issuer_settings(in_file(tmp_path, RSA), **names))
    more = {"https://acme.example/org": "brand", "roles": ["manage"]}
    assert issuer.claims(token(**more)) == Claimed(tenant="brand", scopes=frozenset({Scope.MANAGE}))


NOW = int(time.time())
WRONG: dict[str, tuple[Callable[[], str], str]] = {
    "issuer": (lambda: token(iss="https://issuer.example/"), "'iss'"),
    "no issuer": (lambda: token(iss=None), "'iss'"),
    "audience": (lambda: token(aud="somebody"), "'aud'"),
    "no audience": (lambda: token(aud=None), "'aud'"),
    "audiences": (lambda: token(aud=["a", "b"]), "'aud'"),
    "no end": (lambda: token(exp=None), "'exp'"),
    "end that is none": (lambda: token(exp="2099-01-01"), "'exp'"),
    "not yet": (lambda: token(nbf=NOW + 3600), "'nbf'"),
    "made tomorrow": (lambda: token(iat=NOW + 3600), "'iat'"),
    "no tenant": (lambda: token(tenant=None), "'tenant'"),
    "tenants": (lambda: token(tenant=["acme"]), "'tenant'"),
    "empty tenant": (lambda: token(tenant=""), "'tenant'"),
    "another's key": (
        lambda: token(RSAKey.generate_key(2048, {"kid": "rsa"})),
        "signature",
    ),
    "key of no kind": (lambda: token(EC, "ES256", {"kid": "rsa"}), "no token of the issuer's"),
    "key to encrypt": (lambda: token(RSA, "RS256", {"kid": "enc"}), "no key of the issuer's"),
    "unknown key": (lambda: token(RSA, "RS256", {"kid": "x"}), "no key of the issuer's"),
    "no key named": (lambda: token(RSA, "RS256", {"kid": None}), "no key of the issuer's"),
    "algorithm that is not taken": (lambda: token(RSA, "RS512"), "no token of the issuer's"),
    "shared secret": (
        lambda: token(OctKey.import_key("s" * 32), "HS256", {"kid": "rsa"}),
        "no token of the issuer's",
    ),
    "public key as a secret": (confused, "no token of the issuer's"),
    "critical header": (
        lambda: by_hand({"crit": ["x"], "x": 1}),
        "no token of the issuer's",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_token_that_is_not_all_right_is_refused(issuer: Issuer, what: str) -> None:
    make, said = WRONG[what]
    assert said in refusal(issuer, make())


def unsigned(alg: str) -> str:
    return f"{encoded({'alg': alg, 'kid': 'rsa'})}.{encoded(claims())}."


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", ""])
def test_a_token_without_a_signature_is_none(issuer: Issuer, alg: str) -> None:
    refusal(issuer, unsigned(alg))
    head, payload, signature = token().split(".")
    refusal(issuer, f"{encoded({'alg': alg, 'kid': 'rsa'})}.{payload}.{signature}")
    refusal(issuer, f"{head}.{payload}.")


def test_a_public_key_is_no_secret_even_where_secrets_are_taken(tmp_path: Path) -> None:
    secret = OctKey.import_key("s" * 32, {"kid": "oct"})
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [RSA.as_dict(private=False), secret.as_dict()]}))
    settings = issuer_settings(str(file), FACEBATCH_JWT_ALGORITHMS="RS256,HS256")
    issuer = Issuer.of(settings)
    assert issuer.claims(token(secret, "HS256")) == GOOD
    refusal(issuer, confused())
    refusal(issuer, token(RSA, "RS256", {"kid": "oct"}))


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "a.b.c",
        "..",
        "a" * 20_000,
        f"{encoded([])}.{encoded(claims())}.x",
        f"{encoded({'alg': 1})}.{encoded({})}.x",
        f"{encoded({'alg': 'RS256', 'kid': ['rsa']})}.{encoded(claims())}.x",
        f"{encoded(b'{' * 400)}.{encoded({})}.x",
        f"{encoded(b'[' * 4000)}.{encoded({})}.x",
        f"{token()}.x.y",
        token()[:-5],
        token().replace(".", "", 1),
        "\N{SNOWMAN}.a.b",
    ],
)
def test_garbage_is_no_token(issuer: Issuer, text: str) -> None:
    refusal(issuer, text)


@pytest.mark.parametrize("payload", [[], "acme", 1, None])
def test_a_payload_that_is_no_object_is_refused(issuer: Issuer, payload: Any) -> None:
    text = jws.serialize_compact(
        {"alg": "RS256", "kid": "rsa"}, json.dumps(payload), RSA, algorithms=["RS256"]
    )
    refusal(issuer, text)


def test_a_token_ends(issuer: Issuer) -> None:
    with pytest.raises(TokenExpiredError):
        issuer.claims(token(exp=int(time.time()) - LEEWAY_S - 60))
    assert issuer.claims(token(exp=int(time.time()) - LEEWAY_S + 20)) == GOOD


def test_clocks_may_differ_a_little(issuer: Issuer) -> None:
    soon = int(time.time()) + LEEWAY_S - 10
    assert issuer.claims(token(iat=soon, nbf=soon)) == GOOD


def test_no_word_of_a_token_is_in_its_refusal(issuer: Issuer) -> None:
    said = refusal(issuer, token(iss="s3cr3t", aud="s3cr3t", tenant="s3cr3t"))
    assert "s3cr3t" not in said


def test_the_only_key_there_is_needs_no_name(tmp_path: Path) -> None:
    issuer = Issuer.of(issuer_settings(in_file(tmp_path, RSA)))
    assert issuer.claims(token(header={"kid": None})) == GOOD


def later(keys: IssuerKeys, by_s: float) -> None:
    """As if so much time had passed since the issuer was asked."""
    keys._asked_at -= by_s
    if keys._kept:
        keys._kept = web.jwks._Kept(keys=keys._kept.keys, at=keys._kept.at - by_s)


def test_keys_are_fetched_once_and_for_an_unknown_one_once_a_minute() -> None:
    with scripted((200, public(RSA)), (200, public(RSA, EC))) as server:
        issuer = Issuer.of(issuer_settings(f"{server.url}/jwks"))
        for _ in range(3):
            assert issuer.claims(token()) == GOOD
            refusal(issuer, token(EC, "ES256"))
        assert len(server.asked) == 1
        later(issuer.keys, 61)
        assert issuer.claims(token(EC, "ES256")) == GOOD
        for kid in "abc":
            refusal(issuer, token(RSA, "RS256", {"kid": kid}))
        assert len(server.asked) == 2


def test_a_token_that_cannot_be_right_asks_the_issuer_nothing() -> None:
    with scripted((200, public(RSA))) as server:
        issuer = Issuer.of(issuer_settings(f"{server.url}/jwks"))
        for text in (confused(), unsigned("none"), "a.b.c", token(RSA, "RS512")):
            refusal(issuer, text)
        assert server.asked == []


def test_a_key_that_was_withdrawn_is_none_after_an_hour() -> None:
    with scripted((200, public(RSA, EC)), (200, public(EC))) as server:
        issuer = Issuer.of(issuer_settings(f"{server.url}/jwks"))
        assert issuer.claims(token()) == GOOD
        later(issuer.keys, 3601)
        refusal(issuer, token())
        assert issuer.claims(token(EC, "ES256")) == GOOD


def test_an_issuer_that_is_away_is_done_without_for_a_day() -> None:
    with scripted((200, public(RSA)), (503, b"")) as server:
        issuer = Issuer.of(issuer_settings(f"{server.url}/jwks"))
        assert issuer.claims(token()) == GOOD
        later(issuer.keys, 3601)
        assert issuer.claims(token()) == GOOD
        later(issuer.keys, 24 * 3600)
        with pytest.raises(IssuerUnavailableError):
            issuer.claims(token())


def test_an_issuer_that_was_never_there_is_asked_again_soon_and_not_at_once() -> None:
    with scripted((500, b""), (200, public(RSA))) as server:
        issuer = Issuer.of(issuer_settings(f"{server.url}/jwks"))
        for _ in range(3):
            with pytest.raises(IssuerUnavailableError):
                issuer.claims(token())
        assert len(server.asked) == 1
        later(issuer.keys, 6)
        assert issuer.claims(token()) == GOOD


@pytest.mark.parametrize(
    "answer",
    [
        (200, b""),
        (200, b"<html>"),
        (200, []),
        (200, {"keys": 1}),
        (200, {}),
        (200, b"[" * 100_000),
        (200, b" " * 300_000),
        (204, b""),
        (302, public(RSA)),
        (404, public(RSA)),
    ],
)
def test_what_is_no_set_of_keys_is_not_taken_for_one(answer: tuple[int, object]) -> None:
    with scripted(answer) as server:
        issuer = Issuer.of(issuer_settings(f"{server.url}/jwks"))
        with pytest.raises(IssuerUnavailableError):
            issuer.claims(token())
        assert len(server.asked) == 1


def test_nobody_is_led_elsewhere_for_keys() -> None:
    with scripted((200, public(RSA))) as elsewhere:

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(301)
                self.send_header("Location", elsewhere.url)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        issuer = Issuer.of(issuer_settings(f"http://127.0.0.1:{server.server_port}/jwks"))
        with pytest.raises(IssuerUnavailableError):
            issuer.claims(token())
        server.shutdown()
        server.server_close()
        assert elsewhere.asked == []


def test_many_threads_fetch_the_keys_once() -> None:
    with scripted((200, public(RSA))) as server:
        issuer = Issuer.of(issuer_settings(f"{server.url}/jwks"))
        text, found = token(), []
        threads = [
            threading.Thread(target=lambda: found.append(issuer.claims(text))) for _ in range(8)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert found == [GOOD] * 8
        assert len(server.asked) == 1


def test_a_file_that_is_not_there_is_an_issuer_that_is_away(tmp_path: Path) -> None:
    issuer = Issuer.of(issuer_settings(str(tmp_path / "absent.json")))
    with pytest.raises(IssuerUnavailableError):
        issuer.claims(token())


WHOLE = {
    "FACEBATCH_JWT_ISSUER": ISSUER,
    "FACEBATCH_JWT_AUDIENCE": AUDIENCE,
    "FACEBATCH_JWT_JWKS": "https://issuer.example/jwks",
}


@pytest.mark.parametrize("missing", WHOLE)
def test_half_an_issuer_is_refused(missing: str) -> None:
    with pytest.raises(SettingsError, match="go together"):
        load_settings(WHOLE | {missing: ""}, dotenv=None)


@pytest.mark.parametrize(
    "place",
    [
        "http://issuer.example/jwks",
        "http://10.0.0.1/jwks",
        "ftp://issuer.example/jwks",
        "https://",
        "https://user:pass@issuer.example/jwks",
        "jwks.json",
        "file:///jwks.json",
    ],
)
def test_keys_come_from_where_nobody_can_change_them_on_the_way(place: str) -> None:
    with pytest.raises(SettingsError, match="FACEBATCH_JWT_JWKS"):
        issuer_settings(place)


@pytest.mark.parametrize("algorithms", ["none", "RS256,none", "RS256,", "RS1", "A;B", "dir"])
def test_an_algorithm_is_one_that_signs(algorithms: str) -> None:
    with pytest.raises(SettingsError, match="FACEBATCH_JWT_ALGORITHMS"):
        issuer_settings("/jwks.json", FACEBATCH_JWT_ALGORITHMS=algorithms)


def test_a_header_may_have_more_than_we_know(issuer: Issuer) -> None:
    assert issuer.claims(by_hand({"x": 1, "typ": "at+jwt"})) == GOOD
