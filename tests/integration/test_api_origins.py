"""The API answers to its own names, and changes nothing for pages of others."""

import pytest
from api_kit import Api, api_of, image, made, refused
from caller_kit import unauthorized
from ledger_kit import Kit

from db.settings import Settings
from web.app import create_app

APP = "https://app.example"


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8765", "127.0.0.1", "127.0.0.1:8765", "[::1]", "[::1]:8765"],
)
def test_this_machines_own_names_are_answered(api: Api, host: str) -> None:
    assert api.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8765",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "[::2]",
        "a b",
    ],
)
def test_another_name_is_not_answered(api: Api, host: str) -> None:
    for path in ("/health", "/v1/galleries", "/docs", "/nothing"):
        refused(api.get(path, headers={"Host": host}), 421, "host_untrusted")
    answer = api.post("/v1/galleries", json={"name": "a"}, headers={"Host": host})
    refused(answer, 421, "host_untrusted")
    assert api.get("/v1/galleries").json["galleries"] == []


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://localhost:9999",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "null",
        "",
        "localhost",
        "http://[::1",
    ],
)
def test_a_page_of_another_origin_changes_nothing(api: Api, origin: str) -> None:
    headers = {"Origin": origin}
    gallery = api.gallery("kept")
    answer = api.post("/v1/galleries", json={"name": "a"}, headers=headers)
    refused(answer, 403, "origin_untrusted")
    for path in ("/register", "/v1/jobs", "/nothing"):
        answer = api.post(path, data={"name": "a", "image": image()}, headers=headers)
        refused(answer, 403, "origin_untrusted")
    refused(api.delete(f"/v1/galleries/{gallery}", headers=headers), 403, "origin_untrusted")
    assert [one["name"] for one in api.get("/v1/galleries").json["galleries"]] == ["kept"]
    # Without a key it reads nothing either. What is the same for everybody it may have.
    unauthorized(api.get("/v1/galleries", headers=headers), "key_missing")
    assert api.get("/health", headers=headers).status_code == 200


def test_our_own_page_may_change_things(api: Api) -> None:
    headers = {"Host": "127.0.0.1:8765", "Origin": "http://127.0.0.1:8765"}
    made(api.post("/v1/galleries", json={"name": "a"}, headers=headers))


def test_a_deployment_has_the_names_that_it_is_given(settings: Settings, local: Kit) -> None:
    named = settings.model_copy(update={"trusted_hosts": "Faces.Example"})
    api = api_of(named, "local")
    headers = {"Host": "faces.example", "Origin": "https://faces.example"}
    made(api.post("/v1/galleries", json={"name": "a"}, headers=headers))
    refused(api.get("/health"), 421, "host_untrusted")


def test_a_deployment_may_leave_the_names_to_its_proxy(settings: Settings, local: Kit) -> None:
    anyone = settings.model_copy(update={"trusted_hosts": "*"})
    api = api_of(anyone, "local")
    headers = {"Host": "upstream:80", "Origin": "https://faces.example"}
    made(api.post("/v1/galleries", json={"name": "a"}, headers=headers))


def test_where_any_name_is_trusted_a_page_of_another_origin_needs_a_key(
    settings: Settings, local: Kit
) -> None:
    named = {"trusted_hosts": "*", "cors_origins": APP}
    api = Api(create_app(settings.model_copy(update=named)).test_client())
    stream = f"/v1/live?gallery={local.gallery()}"
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    for origin in ("http://evil.example", "http://localhost:9999", "null", ""):
        headers = {"Origin": origin}
        answer = api.post("/v1/galleries", json={"name": "a"}, headers=headers)
        unauthorized(answer, "key_missing")
        unauthorized(api.get(stream, headers=headers | upgrade), "key_missing")
    for n, headers in enumerate(({}, {"Origin": "http://localhost"}, {"Origin": APP})):
        made(api.post("/v1/galleries", json={"name": f"{n}"}, headers=headers))
        refused(api.get(stream, headers=headers | upgrade), 426, "upgrade_required")
