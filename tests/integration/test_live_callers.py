"""Who may open a live stream, and for how long: callers and their keys, as with every route."""

from collections.abc import Iterator
from typing import Any

import pytest
from api_kit import Api, image, key_of, refused
from caller_kit import forged, one_value, unauthorized
from ledger_kit import Kit
from live_kit import closed, opened, refusal, told
from server_kit import Server, server
from werkzeug.test import TestResponse

from db.scopes import Scope
from db.session import Database
from db.settings import Settings
from web.app import create_app
from web.live.handshake import BEARER, SUBPROTOCOL

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


def bearing(*keys: str) -> dict[str, str]:
    """What a page's request has that offers these keys."""
    offered = ", ".join([SUBPROTOCOL, *(BEARER + key for key in keys)])
    return {**UPGRADE, "Sec-WebSocket-Protocol": offered}


def asking(client: Any, gallery: object, headers: dict[str, str]) -> TestResponse:
    """Who may open a stream gets 426 here, where there is no socket for one."""
    answer: TestResponse = client.get(f"/v1/live?gallery={gallery}", headers=headers)
    return answer


def test_a_page_shows_its_key_among_the_subprotocols(app: Any, settings: Settings) -> None:
    key = key_of(settings, "acme", Scope.SUBMIT).text
    owner = Api(app.test_client(), key_of(settings, "acme").text)
    gallery, client = owner.gallery(), app.test_client()
    refused(asking(client, gallery, bearing(key)), 426, "upgrade_required")
    unauthorized(asking(client, gallery, UPGRADE), "key_missing")
    unauthorized(asking(client, gallery, bearing(key[:-3])), "key_malformed")
    unauthorized(asking(client, gallery, bearing("")), "key_malformed")
    unauthorized(asking(client, gallery, bearing(key, key)), "key_malformed")
    unauthorized(asking(client, gallery, bearing(forged(key_of(settings, "acme")))), "key_invalid")
    reads = key_of(settings, "acme", Scope.READ, Scope.MANAGE, Scope.ADMIN).text
    refused(asking(client, gallery, bearing(reads)), 403, "scope_missing")
    others = key_of(settings, "other").text
    refused(asking(client, gallery, bearing(others)), 404, "gallery_not_found")
    # Elsewhere a key stands in `Authorization` and nowhere else.
    plain = client.get("/v1/galleries", headers={"Sec-WebSocket-Protocol": BEARER + key})
    unauthorized(plain, "key_missing")


def test_a_wrong_key_is_refused_where_none_is_needed(settings: Settings, local: Kit) -> None:
    open_here = settings.model_copy(update={"open_loopback": True})
    gallery, client = local.gallery(), create_app(open_here).test_client()
    refused(asking(client, gallery, UPGRADE), 426, "upgrade_required")
    unauthorized(asking(client, gallery, bearing("fb_live_x")), "key_malformed")
    wrong = {**UPGRADE, "Authorization": "Bearer x"}
    unauthorized(asking(client, gallery, wrong), "key_malformed")
    elsewhere = {**UPGRADE, "X-Forwarded-For": "192.0.2.1"}
    unauthorized(asking(client, gallery, elsewhere), "key_missing")


@pytest.fixture(scope="module")
def settings(lasting_settings: Settings) -> Settings:
    return lasting_settings.model_copy(update={"open_loopback": False})


@pytest.fixture(scope="module")
def database_url(settings: Settings) -> str:
    assert settings.database
    return settings.database


@pytest.fixture(scope="module")
def web(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that needs a key from everybody."""
    with server(settings, tmp_path_factory.mktemp("web")) as running:
        yield running


def test_a_stream_ends_with_the_key_that_opened_it(
    web: Server, settings: Settings, database: Database
) -> None:
    page, program = (key_of(settings, "live", Scope.SUBMIT) for _ in range(2))
    owner = key_of(settings, "live")
    with web.client() as client:
        client.headers["Authorization"] = f"Bearer {owner.text}"
        gallery = client.post("/v1/galleries", json={"name": "seen"}).json()["id"]
        offered = [SUBPROTOCOL, BEARER + page.text]
        carried = {"Authorization": f"Bearer {program.text}"}
        with (
            opened(web, gallery, subprotocols=offered) as first,
            opened(web, gallery, additional_headers=carried) as second,
        ):
            assert first.subprotocol == SUBPROTOCOL
            assert first.response
            assert first.response.headers["X-Request-ID"]
            assert client.delete(f"/v1/keys/{page.view.id}").status_code == 204
            first.send(image())
            code, reason, said = closed(first)
            assert (code, reason, said[-1]["code"]) == (1008, "key_revoked", "key_revoked")
            # Nobody works here: a frame that was let in waits for its time to be over.
            second.send(image())
            assert told(second)["code"] == "still_working"
    assert one_value(database, "SELECT count(*) FROM job") == 0
    assert refusal(web, gallery, subprotocols=offered) == (401, "key_revoked")
    assert "fb_live_" not in web.log
