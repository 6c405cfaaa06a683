"""The client waits for a server that is away, and says what one that answers has refused."""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from http_kit import Answer, Scripted, scripted
from pydantic import SecretStr

import cli.calls
from cli.calls import ApiError, ServerAwayError
from cli.client import Client, PhotoFile

REFUSED = {"status": 409, "code": "job_sealed", "detail": "the job takes no further photos"}


@contextlib.contextmanager
def client_of(*answers: Answer, patience_s: float = 30) -> Iterator[tuple[Client, Scripted]]:
    with scripted(*answers) as script, Client(script.url, patience_s=patience_s) as client:
        yield client, script


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with client_of((status, b""), (status, b"<html>"), (200, {"id": "j"})) as (client, script):
        assert client.job("j") == {"id": "j"}
        assert script.asked == ["GET /v1/jobs/j"] * 3


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_refusal_is_final_and_carries_its_code(status: int) -> None:
    with client_of((status, REFUSED)) as (client, script):
        with pytest.raises(ApiError, match="no further photos") as caught:
            client.seal("j")
        assert (caught.value.status, caught.value.code) == (status, "job_sealed")
        assert script.asked == ["POST /v1/jobs/j/seal"]


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", [], {"detail": "no code"}, "text"])
def test_a_refusal_by_somebody_else_is_still_an_error_of_ours(body: object) -> None:
    with client_of((404, body)) as (client, _), pytest.raises(ApiError) as caught:
        client.job("j")
    assert (caught.value.status, caught.value.code) == (404, "unexpected_answer")


@pytest.mark.parametrize("body", [b"<html>", b"7"])
def test_an_answer_that_is_none_of_ours_is_an_error_of_ours(body: bytes) -> None:
    with client_of((200, body)) as (client, _), pytest.raises(ApiError) as caught:
        client.job("j")
    assert caught.value.code == "unexpected_answer"


def test_a_server_that_comes_back_is_waited_for() -> None:
    port = free_port()
    answered: list[object] = []
    with Client(f"http://127.0.0.1:{port}", patience_s=60) as client:
        thread = threading.Thread(target=lambda: answered.append(client.job("j")))
        thread.start()
        time.sleep(0.3)
        assert answered == []
        with scripted((200, {"id": "j"}), port=port):
            thread.join()
    assert answered == [{"id": "j"}]


def test_a_server_that_stays_away_is_given_up_with_its_address() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, patience_s=0.3) as client, pytest.raises(ServerAwayError) as caught:
        client.job("j")
    assert url in str(caught.value)
    assert "ConnectError" in str(caught.value)


def test_a_server_that_only_fails_is_given_up_with_its_status() -> None:
    with client_of((503, b""), patience_s=0.3) as (client, script):
        with pytest.raises(ServerAwayError, match="it answers 503"):
            client.job("j")
        assert len(script.asked) > 1


def test_a_long_wait_is_told_once_and_a_short_one_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.calls, "TELL_AFTER_S", 0.4)
    away, back = (500, b""), (200, {"id": "j"})
    told: list[str] = []
    with scripted(away, back) as script, Client(script.url, tell=told.append) as client:
        client.job("j")
        assert told == []
        script.answers = [away] * 6 + [back]
        client.job("j")
    (line,) = told
    assert script.url in line
    assert "it answers 500" in line
    assert "waiting up to 120 s" in line


def test_a_server_that_asks_to_wait_is_not_away_however_long_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept))
    monkeypatch.setattr(cli.calls, "time", clock)
    full = (429, REFUSED, {"Retry-After": "30"})
    told: list[str] = []
    with (
        scripted(*[full] * 3, (200, {"id": "j"})) as script,
        Client(script.url, patience_s=20, tell=told.append) as client,
    ):
        assert client.job("j") == {"id": "j"}
        assert slept == [30.0] * 3
        (line,) = told
        assert "takes no more for now (it answers 429)" in line
        script.answers = [full, full, (200, {})]
        with pytest.raises(ServerAwayError):
            client.cancel("j", patience_s=1)


def test_cancelling_can_be_less_patient_than_the_rest() -> None:
    with (
        client_of((503, b""), patience_s=120) as (client, _),
        pytest.raises(ServerAwayError, match="away for 0 s"),
    ):
        client.cancel("j", patience_s=0)


def test_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with client_of((200, {"id": "j"}), patience_s=0.3) as (client, _):
        assert client.job("j") == {"id": "j"}


def test_pages_are_read_to_the_end() -> None:
    pages = [
        (200, {"results": [1, 2], "next_cursor": "2"}),
        (200, {"results": [3], "next_cursor": None}),
    ]
    with client_of(*pages) as (client, script):
        assert list(client.results("j")) == [1, 2, 3]
        assert script.asked == [
            "GET /v1/jobs/j/results?limit=500",
            "GET /v1/jobs/j/results?limit=500&cursor=2",
        ]


def test_a_gallery_that_exists_is_found_by_its_name() -> None:
    taken = {"code": "gallery_exists", "detail": "taken"}
    found = {"galleries": [{"id": "g"}], "next_cursor": None}
    with client_of((409, taken), (200, found)) as (client, script):
        assert client.ensure_gallery("a&b", engine="dlib-classic") == "g"
        assert script.asked[-1] == "GET /v1/galleries?name=a%26b"


def test_a_subject_that_exists_is_found_by_its_name() -> None:
    taken = {"code": "duplicate_subject", "detail": "taken"}
    found = {"subjects": [{"id": "s"}], "next_cursor": None}
    with client_of((409, taken), (200, found)) as (client, _):
        assert client.ensure_subject("g", "anna") == "s"


def test_deleting_what_is_gone_is_no_error() -> None:
    with client_of((404, {"code": "gallery_not_found", "detail": "gone"})) as (client, _):
        client.delete_gallery("g")


@pytest.mark.parametrize(
    "answer", [(409, REFUSED), (404, {"code": "job_not_found", "detail": "x"}), (404, b"<html>")]
)
def test_a_gallery_is_gone_only_where_the_answer_says_so(answer: Answer) -> None:
    with client_of(answer) as (client, _), pytest.raises(ApiError):
        client.delete_gallery("g")


def test_a_photo_is_sent_whole_at_each_try(tmp_path: Path) -> None:
    photo = PhotoFile(client_id="p", path=tmp_path / "p.jpg")
    photo.path.write_bytes(b"photo" * 1000)
    with client_of((503, b""), (200, {})) as (client, script):
        client.add_photos("j", [photo], subject_id="s")
        assert script.asked == ["POST /v1/jobs/j/photos?subject=s"] * 2


def test_a_file_that_grows_while_it_is_sent_is_the_files_fault(tmp_path: Path) -> None:
    photo = PhotoFile(client_id="p", path=tmp_path / "p.jpg")
    photo.path.touch()
    os.truncate(photo.path, 50_000_000)  # More than fits between the two before the other reads.

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1)  # The length has been promised.
            with photo.path.open("ab") as file:
                file.write(b"x" * 1_000_000)
            with contextlib.suppress(ConnectionError):
                while connection.recv(1_000_000):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with (
            Client(url, patience_s=0.5) as client,
            pytest.raises(OSError, match="changed while it was sent"),
        ):
            client.add_photos("j", [photo])
        thread.join()


def test_a_file_that_is_gone_is_no_servers_fault(tmp_path: Path) -> None:
    with client_of((200, {})) as (client, script):
        with pytest.raises(FileNotFoundError):
            client.add_photos("j", [PhotoFile(client_id="p", path=tmp_path / "absent.jpg")])
        assert script.asked == []


def test_what_is_no_http_counts_as_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        stop = threading.Event()

        def babble() -> None:
            listener.settimeout(0.05)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError), listener.accept()[0] as connection:
                    connection.sendall(b"SSH-2.0-what\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        try:
            with Client(url, patience_s=0.3) as client, pytest.raises(ServerAwayError):
                client.job("j")
        finally:
            stop.set()
            thread.join()


def test_a_source_whose_answer_was_lost_is_not_added_again() -> None:
    none, one = {"sources": []}, {"sources": [{"id": "s"}]}
    with client_of((200, none), (502, b""), (200, one)) as (client, script):
        client.add_source("j", {"kind": "prefix", "prefix": "p"})
        path = "/v1/jobs/j/sources"
        assert script.asked == [f"GET {path}", f"POST {path}", f"GET {path}"]


def test_several_threads_tell_together_that_the_server_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli.calls, "TELL_AFTER_S", 0.2)
    told: list[str] = []
    with Client(f"http://127.0.0.1:{free_port()}", patience_s=1.5, tell=told.append) as client:

        def ask() -> None:
            with contextlib.suppress(ServerAwayError):
                client.job("j")

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(told) == 1


@contextlib.contextmanager
def listening(answer: Answer = (200, {})) -> Iterator[tuple[str, list[str | None]]]:
    """A server, and the `Authorization` of each request that it gets."""
    shown: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.append(self.headers.get("Authorization"))
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            data = json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 - likewise.

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", shown
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_key_is_shown_to_the_server_and_not_to_the_bucket(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"x")
    with listening() as (bucket, shown_to_bucket):
        upload = {"id": "u", "files": [{"url": f"{bucket}/b", "fields": {"key": "k"}}]}
        with (
            listening((201, upload)) as (server, shown),
            Client(server, key=SecretStr("fb_live_k")) as client,
        ):
            client.job("j")
            assert client.upload("archive", archive) == "u"
    assert shown == ["Bearer fb_live_k"] * 2
    assert shown_to_bucket == [None]


def test_without_a_key_none_is_shown() -> None:
    with listening() as (server, shown), Client(server) as client:
        client.job("j")
    assert shown == [None]


def test_who_is_not_let_in_is_told_what_to_do() -> None:
    refusal = {"status": 401, "code": "key_missing", "detail": "this needs an API key"}
    with (
        client_of((401, refusal)) as (client, _),
        pytest.raises(ApiError, match=r"needs an API key; FACEBATCH_API_KEY .* keys create") as at,
    ):
        client.job("j")
    assert (at.value.status, at.value.code) == (401, "key_missing")
