"""Where a live stream comes to an end that is not its own, or has no room to begin."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_kit import Api, BackgroundWorker, key_of, refused
from bucket_kit import unowned
from ledger_kit import Kit
from live_kit import (
    PATIENCE_S,
    closed,
    count,
    ended,
    frames,
    gallery_of_obama,
    opened,
    told,
    until,
)
from server_kit import Server, server
from websockets.exceptions import InvalidStatus

from cli.sample import Sample
from db.models import Job, Photo
from db.session import Database, transaction
from db.settings import Settings
from db.tenants import ensure_tenant
from web.app import create_app
from web.live.lines import admitted


@pytest.fixture
def web(settings: Settings, tmp_path: Path) -> Iterator[Server]:
    with server(settings, tmp_path) as running:
        yield running


def test_a_server_that_stops_says_goodbye(
    web: Server, worker: BackgroundWorker, sample: Sample
) -> None:
    gallery = gallery_of_obama(web, sample)
    with opened(web, gallery) as idle, opened(web, gallery) as busy:
        for frame in frames(sample, 10):
            busy.send(frame)
        assert web.process
        web.process.terminate()
        for stream in (idle, busy):
            code, reason, messages = closed(stream)
            assert (code, reason) == (1001, "server_closing")
            assert messages[-1]["code"] == "server_closing"
        assert web.process.wait(timeout=PATIENCE_S) == 0
        # A worker that is killed at the end of its time says nothing of its streams.
        assert len(ended(web)) == 2


def test_a_worker_that_takes_no_job_costs_the_frame_alone(
    web: Server, local: Kit, settings: Settings, sample: Sample
) -> None:
    with opened(web, local.gallery()) as stream:
        stream.send(frames(sample, 1)[0])
        said = told(stream)
    assert (said["type"], said["frame"], said["code"]) == ("error", 1, "still_working")
    assert [count(local, table) for table in (Job, Photo)] == [0, 0]
    assert unowned(local.database, settings) == set()


def test_streams_keep_nobody_out(web: Server, local: Kit) -> None:
    gallery = local.gallery()
    statuses = []
    with contextlib.ExitStack() as streams:
        for _ in range(40):
            try:
                streams.enter_context(opened(web, gallery))
            except InvalidStatus as exc:
                statuses.append(exc.response.status_code)
        assert httpx.get(f"{web.url}/health", trust_env=False, timeout=60).status_code == 200
    # Each of the two processes takes eight, and four of them of one tenant.
    assert 32 <= len(statuses) < 40
    assert set(statuses) == {503}
    until(lambda: len(ended(web)) == 40 - len(statuses))
    with opened(web, gallery):
        pass


def test_a_request_that_opens_no_websocket_is_told_so(api: Api, local: Kit) -> None:
    path = f"/v1/live?gallery={local.gallery()}"
    plain = api.get(path)
    refused(plain, 426, "upgrade_required")
    assert plain.headers["Upgrade"] == "websocket"
    half = api.get(path, headers={"Connection": "upgrade", "Upgrade": "websocket"})
    refused(half, 426, "upgrade_required")
    refused(api.get(f"/v1/live?gallery={uuid.uuid4()}"), 404, "gallery_not_found")
    refused(api.get("/v1/live"), 422, "invalid_request")


def test_there_are_only_so_many_streams(settings: Settings, local: Kit) -> None:
    path = f"/v1/live?gallery={local.gallery()}"
    one = Api(create_app(settings.model_copy(update={"live_streams": 1})).test_client())
    refused(one.get(path), 426, "upgrade_required")
    with admitted(1, tenant_id=0):
        refused(one.get(path), 503, "too_busy")
    none = Api(create_app(settings.model_copy(update={"live_streams": 0})).test_client())
    refused(none.get(path), 503, "too_busy")


def test_a_tenant_leaves_half_of_the_streams_to_others(
    settings: Settings, database: Database
) -> None:
    app = create_app(settings.model_copy(update={"live_streams": 5}))
    mine, theirs = (Api(app.test_client(), key_of(settings, name).text) for name in ("a", "b"))
    with transaction(database) as session:
        me = ensure_tenant(session, "a")
    path = f"/v1/live?gallery={mine.gallery()}"
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    with admitted(5, tenant_id=me):
        refused(mine.get(path, headers=upgrade), 426, "upgrade_required")
        with admitted(5, tenant_id=me):
            for headers in (upgrade, {}):
                refused(mine.get(path, headers=headers), 503, "too_busy")
            others = f"/v1/live?gallery={theirs.gallery()}"
            refused(theirs.get(others, headers=upgrade), 426, "upgrade_required")
    refused(mine.get(path, headers=upgrade), 426, "upgrade_required")


def test_what_the_page_is_made_of_comes_from_here_alone(api: Api) -> None:
    page = api.get("/live")
    assert page.content_type.startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    text = page.text
    for name in ("/live/live.css", "/live/live.js"):
        assert f'"{name}"' in text
        found = api.get(name)
        assert found.status_code == 200
        again = api.get(name, headers={"If-None-Match": found.headers["ETag"]})
        assert again.status_code == 304
        text += found.text
    assert "//" not in page.text
    assert "http://" not in text
    assert " style=" not in page.text
    assert "<script>" not in page.text
    assert " onclick" not in page.text
