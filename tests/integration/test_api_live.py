"""The live stream over real sockets: gunicorn, WebSockets, and a worker behind them."""

import json
import socket
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pytest
from api_kit import BackgroundWorker, image
from bucket_kit import unowned
from ledger_kit import Kit
from live_kit import (
    closed,
    count,
    ended,
    frames,
    gallery_of_obama,
    opened,
    refusal,
    told,
    until,
)
from server_kit import Server, server
from sqlalchemy import select
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from cli.sample import Sample
from db.models import DoomedObject, Face, Item, Job, Photo
from db.session import transaction
from db.settings import Settings
from db.storage import ObjectStore
from web.live.handshake import SUBPROTOCOL
from workers.reconciler import Reconciler


@pytest.fixture(scope="module")
def settings(lasting_settings: Settings) -> Settings:
    """Of one database for the module: a server for each test would take long to start."""
    return lasting_settings


@pytest.fixture(scope="module")
def database_url(settings: Settings) -> str:
    assert settings.database
    return settings.database


@pytest.fixture(scope="module")
def web(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(settings, tmp_path_factory.mktemp("web")) as running:
        yield running


@pytest.fixture(scope="module")
def worker(settings: Settings) -> Iterator[BackgroundWorker]:
    with BackgroundWorker(settings) as working:
        yield working


@pytest.fixture(scope="module")
def gallery(web: Server, worker: BackgroundWorker, sample: Sample) -> str:
    return gallery_of_obama(web, sample)


def test_a_frame_is_answered_with_who_is_in_it(web: Server, gallery: str, sample: Sample) -> None:
    with opened(web, gallery) as stream:
        stream.send((sample.photos_dir / "obama_and_biden.jpg").read_bytes())
        answer = told(stream)
    assert (answer["type"], answer["frame"], answer["dropped"]) == ("faces", 1, 0)
    assert answer["latency_ms"] > 0
    left, right = sorted(answer["faces"], key=lambda face: face["box"][0])
    assert (left["decision"], left["subject"]["name"]) == ("match", "Barack Obama")
    assert left["distance"] <= answer["threshold"]["distance"] < right["distance"]
    assert (right["decision"], right["subject"]) == ("above_threshold", None)
    assert 0 <= left["box"][0] < left["box"][2] <= answer["width"]
    assert answer["threshold"]["meaning"]


def test_a_frame_without_a_face_is_answered_too(web: Server, gallery: str) -> None:
    with opened(web, gallery) as stream:
        stream.send(image())
        answer = told(stream)
    assert (answer["type"], answer["faces"], answer["width"]) == ("faces", [], 64)


def test_the_latest_frame_wins(web: Server, gallery: str, sample: Sample) -> None:
    with opened(web, gallery) as stream:
        for frame in frames(sample, 20):
            stream.send(frame)
        answers = [told(stream)]
        while answers[-1]["frame"] < 20:
            answers.append(told(stream))
    assert {answer["type"] for answer in answers} == {"faces"}
    numbers = [answer["frame"] for answer in answers]
    assert numbers == sorted(numbers)
    assert answers[-1]["dropped"] == 20 - len(answers) > 0


def test_what_is_no_picture_is_told_and_the_stream_goes_on(
    web: Server, gallery: str, sample: Sample
) -> None:
    with opened(web, gallery) as stream:
        for n, (garbage, code) in enumerate(
            [(b"words", "not_an_image"), (b"", "empty_file"), (image()[:-200], "image_truncated")]
        ):
            stream.send(garbage)
            said = told(stream)
            assert (said["type"], said["frame"], said["code"]) == ("error", n + 1, code)
        stream.send(frames(sample, 1)[0])
        assert told(stream)["faces"][0]["subject"]["name"] == "Barack Obama"


def test_a_frame_that_is_too_large_ends_the_stream(web: Server, gallery: str) -> None:
    with opened(web, gallery) as stream:
        stream.send(bytes(2_000_001))
        code, reason, messages = closed(stream)
    assert (code, reason) == (1009, "frame_too_large")
    assert [one["code"] for one in messages] == ["frame_too_large"]


def test_options_decide_who_is_a_match(web: Server, gallery: str, sample: Sample) -> None:
    with opened(web, gallery) as stream:
        stream.send(json.dumps({"threshold": 0.01, "min_quality": 0.0}))
        stream.send(frames(sample, 1)[0])
        answer = told(stream)
    assert answer["faces"][0]["decision"] == "above_threshold"
    assert answer["threshold"]["distance"] == 0.01


def test_options_that_make_no_sense_end_the_stream(web: Server, gallery: str) -> None:
    for options, wanted in (
        ('{"threshold": "0.4"}', "invalid_request"),
        ('{"threshold": 0.4, "target_fmr": 0.1}', "invalid_request"),
        ('{"tenant": 1}', "invalid_request"),
        ('{"threshold": 0.4, "threshold": 0.5}', "invalid_request"),
        ("[]", "invalid_request"),
        ("{", "malformed_json"),
        ("[" * 9000, "malformed_json"),
        ('{"threshold": 9.0}', "threshold_out_of_range"),
    ):
        with opened(web, gallery) as stream:
            stream.send(options)
            with suppress(ConnectionClosed):  # The stream may end before the frame is sent.
                stream.send(image())
            code, reason, told_before = closed(stream)
        assert (code, reason) == (1008, wanted), options
        said = [(one["type"], one["frame"], one["code"]) for one in told_before]
        assert said == [("error", None, wanted)]


def test_nothing_of_a_stream_stays(
    web: Server, gallery: str, sample: Sample, local: Kit, settings: Settings
) -> None:
    tables = (Job, Item, Photo, Face)
    store = ObjectStore.from_settings(settings)

    def ours() -> set[str]:
        """Objects that this test's database knows of; the bucket is shared with other tests."""
        with transaction(local.database) as session:
            doomed = set(session.scalars(select(DoomedObject.object_key)))
            photos = set(session.scalars(select(Photo.object_key)))
        return set(store.keys("")) & (doomed | photos)

    Reconciler(settings, local.database, store).reconcile()
    before, kept, ends = [count(local, table) for table in tables], ours(), len(ended(web))
    with opened(web, gallery) as stream:
        for frame in (*frames(sample, 3), b"words", image()):
            stream.send(frame)
            told(stream)
        # One whose answer nobody waits for.
        stream.send(frames(sample, 5)[4])
    until(lambda: len(ended(web)) > ends)
    assert [count(local, table) for table in tables] == before
    assert len(ours()) > len(kept)
    Reconciler(settings, local.database, store).reconcile()
    assert ours() == kept
    assert count(local, DoomedObject) == 0
    assert unowned(local.database, settings) == set()


def test_logs_tell_of_a_stream_and_not_whom_it_shows(
    web: Server, gallery: str, sample: Sample
) -> None:
    ends = len(ended(web))
    with opened(web, gallery) as stream:
        stream.send(frames(sample, 1)[0])
        told(stream)
    until(lambda: len(ended(web)) > ends)
    event = json.loads(ended(web)[-1])
    assert (event["frames"], event["answered"], event["dropped"]) == (1, 1, 0)
    until(lambda: '"route": "/v1/live", "status": 101' in web.log)
    assert "Obama" not in web.log


def test_pages_of_other_origins_get_no_stream(web: Server, local: Kit) -> None:
    gallery = local.gallery()
    for origin in (
        "http://evil.example",
        f"http://localhost:{web.port}",
        "https://127.0.0.1",
        "null",
        "http://[::1",
    ):
        assert refusal(web, gallery, origin=origin) == (403, "origin_untrusted"), origin
    with opened(web, gallery, origin=f"http://127.0.0.1:{web.port}"):
        pass


def test_another_host_name_gets_no_stream(web: Server, local: Kit) -> None:
    url = f"ws://evil.example:{web.port}/v1/live?gallery={local.gallery()}"
    sock = socket.create_connection(("127.0.0.1", web.port))
    refused_here = pytest.raises(InvalidStatus)
    with refused_here as answer, connect(url, sock=sock, origin="http://evil.example", proxy=None):
        pass
    assert answer.value.response.status_code == 421


def test_somebody_elses_gallery_is_not_there(web: Server, stranger: Kit, local: Kit) -> None:
    for gallery in (stranger.gallery("theirs"), uuid.uuid4()):
        assert refusal(web, gallery) == (404, "gallery_not_found")
    assert refusal(web, f"{local.gallery()}&token=1") == (422, "invalid_request")


def test_a_gallery_that_is_deleted_ends_the_stream(
    web: Server, gallery: str, sample: Sample
) -> None:
    with opened(web, gallery) as stream:
        with web.client() as client:
            assert client.delete(f"/v1/galleries/{gallery}").status_code == 204
        stream.send(frames(sample, 1)[0])
        assert closed(stream)[:2] == (1008, "gallery_not_found")


def test_the_subprotocol_is_agreed_on_where_it_is_offered(web: Server, local: Kit) -> None:
    with opened(web, local.gallery(), subprotocols=["other", SUBPROTOCOL]) as stream:
        assert stream.subprotocol == SUBPROTOCOL
        assert stream.protocol.extensions == []
