"""Tokens of the operator's issuer open the API as keys do."""

from pathlib import Path
from typing import Any

import pytest
from api_kit import Api, key_of, made, refused
from token_kit import AUDIENCE, ISSUER, RSA, confused, in_file, token

from db.session import Database, transaction
from db.settings import Settings
from db.tenants import ensure_tenant
from web.app import create_app


@pytest.fixture
def app(settings: Settings, tmp_path: Path, database: Database) -> Any:
    with transaction(database) as session:
        ensure_tenant(session, "acme")
    named = {
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_jwks": in_file(tmp_path, RSA),
        "open_loopback": False,
    }
    return create_app(settings.model_copy(update=named))


def test_a_token_works_for_its_tenant_with_its_scopes(app: Any, settings: Settings) -> None:
    api = Api(app.test_client(), token(scope="read manage"))
    gallery = api.gallery("ours")
    by_key = Api(app.test_client(), key_of(settings, "acme").text)
    assert by_key.get(f"/v1/galleries/{gallery}").json["name"] == "ours"
    refused(api.post("/v1/jobs", json={"kind": "detect"}), 403, "scope_missing")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (token(aud="somebody"), "token_invalid"),
        (token(exp=1), "token_expired"),
        (confused(), "token_invalid"),
        ("a.b.c", "token_invalid"),
        ("fb_live_x", "key_malformed"),
    ],
)
def test_a_token_that_is_not_good_is_refused_with_the_challenge(
    app: Any, text: str, code: str
) -> None:
    answer = Api(app.test_client(), text).get("/v1/galleries")
    refused(answer, 401, code)
    assert answer.headers["WWW-Authenticate"].endswith('error="invalid_token"')


@pytest.mark.parametrize("tenant", ["nobody", "ACME", "acme ", "../acme"])
def test_a_tenant_that_there_is_not_is_not_made(app: Any, database: Database, tenant: str) -> None:
    api = Api(app.test_client(), token(tenant=tenant))
    refused(api.get("/v1/galleries"), 403, "tenant_unknown")


def test_keys_are_taken_beside_tokens(app: Any, settings: Settings) -> None:
    api = Api(app.test_client(), key_of(settings, "acme").text)
    made(api.post("/v1/galleries", json={"name": "a"}))


def test_without_the_issuers_keys_tokens_have_to_wait_and_keys_do_not(
    settings: Settings, tmp_path: Path
) -> None:
    named = {
        "jwt_issuer": ISSUER,
        "jwt_audience": AUDIENCE,
        "jwt_jwks": str(tmp_path / "absent.json"),
    }
    app = create_app(settings.model_copy(update=named))
    answer = Api(app.test_client(), token()).get("/v1/galleries")
    refused(answer, 503, "issuer_unavailable")
    assert answer.headers["Retry-After"]
    api = Api(app.test_client(), key_of(settings, "acme").text)
    assert api.get("/v1/galleries").status_code == 200


def test_where_no_issuer_is_named_a_token_is_no_key(settings: Settings) -> None:
    api = Api(create_app(settings).test_client(), token())
    refused(api.get("/v1/galleries"), 401, "key_malformed")
