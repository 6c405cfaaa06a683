"""The client waits for a server that is away, and says what one that answers has refused."""

import contextlib
import datetime as dt
import email.utils
import io
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import pytest
from http_kit import (
    HANGS_UP,
    SOME_ID,
    Answer,
    Scripted,
    TinyApi,
    gallery_told,
    job_told,
    results_told,
    scripted,
    serving,
    subject_told,
)

from facebatch.client import Client, Photo, connection, jobs, photos
from facebatch.errors import (
    ApiError,
    ClientError,
    ConflictError,
    FieldError,
    InvalidRequestError,
    JobUnfinishedError,
    NotFoundError,
    ServerAwayError,
    ServerError,
    TooManyRequestsError,
    UnexpectedAnswerError,
)

JOB = job_told()
DONE: Answer = (200, JOB)
ADDED: Answer = (200, {"accepted": 1, "missing": []})
REFUSED = {"status": 409, "code": "job_sealed", "detail": "it takes no further photos"}
UNKNOWN = {"code": "gallery_not_found", "detail": "there is no such gallery"}
KEY = "fb_live_secret"


@contextlib.contextmanager
def client_of(*answers: Answer, patience_s: float = 30) -> Iterator[tuple[Client, Scripted]]:
    with scripted(*answers) as script, Client(script.url, patience_s=patience_s) as client:
        yield client, script


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client would make, of which none is made."""
    pauses: list[float] = []
    monkeypatch.setattr(connection.time, "sleep", pauses.append)
    return pauses


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with client_of((status, b""), (status, b"<html>"), DONE) as (client, script):
        assert client.jobs.get("j").id == UUID(SOME_ID)
        assert script.asked == ["GET /v1/jobs/j"] * 3


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_refusal_is_final_and_tells_what_the_problem_tells(status: int) -> None:
    fields = [{"field": "top_k", "message": "too many"}]
    with client_of((status, REFUSED | {"request_id": "r-1", "errors": fields})) as (client, script):
        with pytest.raises(ApiError, match="no further photos") as caught:
            client.jobs.seal("j")
        assert script.asked == ["POST /v1/jobs/j/seal"]
    error = caught.value
    assert (error.status, error.code, error.request_id) == (status, "job_sealed", "r-1")
    assert error.fields == (FieldError(field="top_k", message="too many"),)
    kind = {404: NotFoundError, 409: ConflictError}.get(status, InvalidRequestError)
    assert (type(error), error.permanent) == (kind, True)


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", [], {"detail": "no code"}, "text"])
def test_a_refusal_by_somebody_else_is_still_an_error_of_ours(body: object) -> None:
    with client_of((404, body)) as (client, _), pytest.raises(UnexpectedAnswerError) as caught:
        client.jobs.get("j")
    assert (caught.value.status, caught.value.code) == (404, "unexpected_answer")


@pytest.mark.parametrize("body", [b"<html>", b"7", {"id": "Jane Doe"}])
def test_an_answer_that_is_none_of_ours_is_an_error_that_repeats_nothing_of_it(
    body: object,
) -> None:
    with client_of((200, body)) as (client, _), pytest.raises(UnexpectedAnswerError) as caught:
        client.jobs.get("j")
    assert "Jane" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_that_comes_back_is_waited_for() -> None:
    port = free_port()
    answered: list[object] = []
    with Client(f"http://127.0.0.1:{port}", patience_s=60) as client:
        thread = threading.Thread(target=lambda: answered.append(client.jobs.get("j").state))
        thread.start()
        time.sleep(0.3)
        assert answered == []
        with scripted(DONE, port=port):
            thread.join()
    assert answered == ["running"]


def test_a_server_that_stays_away_is_given_up_with_its_address_and_no_password() -> None:
    port = free_port()
    with (
        Client(f"http://me:secret@127.0.0.1:{port}", patience_s=0.3) as client,
        pytest.raises(ServerAwayError) as caught,
    ):
        client.jobs.get("j")
    assert f"http://127.0.0.1:{port} has been away" in str(caught.value)
    assert "ConnectError" in str(caught.value)
    assert "secret" not in str(caught.value) + repr(client)
    assert not caught.value.permanent


def test_a_server_that_only_fails_is_given_up_with_what_it_says() -> None:
    failing = {"code": "database_unavailable", "detail": "PostgreSQL does not answer"}
    with client_of((503, failing), patience_s=0.3) as (client, script):
        with pytest.raises(ServerError, match="does not answer") as caught:
            client.jobs.get("j")
        assert len(script.asked) > 1
    assert (caught.value.status, caught.value.code) == (503, "database_unavailable")


def _in_a_minute() -> str:
    return email.utils.format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=60))


@pytest.mark.parametrize("told", [lambda: "60", _in_a_minute])
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_is_not_asked_before_it_wishes(
    status: int, told: Callable[[], str], slept: list[float]
) -> None:
    busy: Answer = (status, b"", {"Retry-After": told()})
    with client_of(busy, DONE, patience_s=120) as (client, _):
        client.jobs.get("j")
    (pause_s,) = slept
    assert 50 < pause_s < 62


def test_a_pause_for_which_there_is_no_time_is_none(slept: list[float]) -> None:
    problem = {"code": "too_many_requests", "detail": "slowly"}
    with client_of((429, problem, {"Retry-After": "600"})) as (client, script):
        with pytest.raises(TooManyRequestsError) as caught:
            client.jobs.get("j")
        assert len(script.asked) == 1
    assert (caught.value.retry_after_s, slept) == (600, [])


def test_pauses_grow_and_are_never_in_step(slept: list[float]) -> None:
    with client_of(*[(500, b"")] * 8, DONE) as (client, _):
        client.jobs.get("j")
        client.jobs.get("j")
    assert slept[4] > connection.FIRST_PAUSE_S
    with client_of(*[(500, b"")] * 8, DONE) as (client, _):
        client.jobs.get("j")
    assert slept[:8] != slept[8:16]


def test_a_long_wait_is_told_once_and_a_short_one_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TELL_AFTER_S", 0.4)
    away = (500, b"")
    told: list[str] = []
    with scripted(away, DONE) as script, Client(script.url, tell=told.append) as client:
        client.jobs.get("j")
        assert told == []
        script.answers = [away] * 6 + [DONE]
        client.jobs.get("j")
    (line,) = told
    assert script.url in line
    assert "it answers 500" in line
    assert "waiting up to 30 s" in line


def test_several_threads_tell_together_that_the_server_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "TELL_AFTER_S", 0.2)
    told: list[str] = []
    with Client(f"http://127.0.0.1:{free_port()}", patience_s=1.5, tell=told.append) as client:

        def ask() -> None:
            with contextlib.suppress(ServerAwayError):
                client.jobs.get("j")

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(told) == 1


def test_a_server_that_says_when_it_takes_more_is_endured_where_that_is_wished(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append, monotonic=lambda: sum(slept))
    monkeypatch.setattr(connection, "time", clock)
    full: Answer = (429, REFUSED, {"Retry-After": "30"})
    told: list[str] = []
    with (
        scripted(*[full] * 5, DONE) as script,
        Client(script.url, patience_s=40, endures_limits=True, tell=told.append) as client,
    ):
        client.jobs.get("j")
        assert len(slept) == 5
        assert min(slept) >= 30
        (line,) = told
        assert "takes no more for now (it answers 429)" in line
        script.answers = [full, full, DONE]
        with pytest.raises(TooManyRequestsError):
            client.jobs.cancel("j", patience_s=1)
    slept.clear()
    with (
        scripted(*[full] * 5, DONE) as script,
        Client(script.url, patience_s=40) as client,
        pytest.raises(TooManyRequestsError),
    ):
        client.jobs.get("j")


def test_cancelling_can_be_less_patient_than_the_rest(slept: list[float]) -> None:
    with client_of((503, b""), patience_s=120) as (client, _), pytest.raises(ServerError):
        client.jobs.cancel("j", patience_s=0)
    assert slept == []


def test_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with client_of(DONE, patience_s=0.3) as (client, _):
        assert client.jobs.get("j").state == "running"


def test_a_list_is_read_to_its_end_and_no_page_before_it_is_needed() -> None:
    pages: list[Answer] = [
        (200, results_told("a", "b", next_cursor="2")),
        (200, results_told("c")),
    ]
    with client_of(*pages) as (client, script):
        found = client.jobs.results("j")
        assert [one.name for one in itertools.islice(found, 2)] == ["a", "b"]
        assert script.asked == ["GET /v1/jobs/j/results?limit=500"]
        assert [one.name for one in found] == ["c"]
        assert script.asked[1:] == ["GET /v1/jobs/j/results?limit=500&cursor=2"]


def test_what_exists_is_found_by_its_name() -> None:
    taken = {"code": "gallery_exists", "detail": "taken"}
    found = {"galleries": [gallery_told()], "next_cursor": None}
    with client_of((409, taken), (200, found)) as (client, script):
        assert client.galleries.ensure("a&b", engine="dlib-classic").id == UUID(SOME_ID)
        assert script.asked[-1] == "GET /v1/galleries?name=a%26b"
    taken = {"code": "duplicate_subject", "detail": "taken"}
    found = {"subjects": [subject_told()], "next_cursor": None}
    with client_of((409, taken), (200, found)) as (client, _):
        assert client.subjects.ensure("g", "anna").id == UUID(SOME_ID)


def test_what_is_gone_when_its_deletion_is_tried_again_is_deleted() -> None:
    with client_of(HANGS_UP, (404, UNKNOWN)) as (client, script):
        client.galleries.delete("g")
        assert script.asked == ["DELETE /v1/galleries/g"] * 2
    with client_of((404, UNKNOWN)) as (client, _), pytest.raises(NotFoundError):
        client.galleries.delete("g")


SOURCES: list[Callable[[Path], photos.PhotoLike]] = [
    lambda path: path,
    str,
    lambda path: path.read_bytes(),
    lambda path: io.BytesIO(path.read_bytes()),
    lambda path: path.open("rb"),
    lambda path: Photo(name="p.jpg", source=path),
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_request_whose_answer_was_lost_is_sent_whole_under_the_same_key(
    source: Callable[[Path], photos.PhotoLike], tmp_path: Path
) -> None:
    path = tmp_path / "p.jpg"
    path.write_bytes(b"photo" * 1000)
    with client_of(HANGS_UP, (503, b""), (202, JOB)) as (client, script):
        for _ in range(2):
            client.jobs.create("detect", [source(path)], min_face_px=20)
    assert script.asked == ["POST /v1/jobs"] * 4
    assert [body.count(b"photo" * 1000) for body in script.bodies] == [1] * 4
    assert b'name="min_face_px"\r\n\r\n20\r\n' in script.bodies[0]
    first, *others, second = (one["idempotency-key"] for one in script.headers)
    assert others == [first] * 2
    assert UUID(first) != UUID(second)


def test_a_key_may_be_chosen_and_one_in_flight_is_waited_for(slept: list[float]) -> None:
    in_flight = {"code": "idempotency_key_in_flight", "detail": "later"}
    busy: Answer = (409, in_flight, {"Retry-After": "2"})
    with client_of(busy, (201, JOB)) as (client, script):
        client.jobs.open("detect", idempotency_key="mine")
    assert [one["idempotency-key"] for one in script.headers] == ["mine"] * 2
    assert slept[0] > 2


def test_photos_of_an_open_job_need_no_key_and_are_sent_again(tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(b"x")
    with client_of(HANGS_UP, ADDED) as (client, script):
        client.jobs.add_photos("j", [tmp_path / "p.jpg"], subject=SOME_ID)
    assert script.asked == [f"POST /v1/jobs/j/photos?subject={SOME_ID}"] * 2
    assert "idempotency-key" not in script.headers[0]


def test_a_change_of_what_is_known_is_not_repeated_where_its_answer_was_lost() -> None:
    answers: list[Answer] = [HANGS_UP, (200, subject_told(), {"ETag": '"tag"'}), HANGS_UP]
    with client_of(*answers) as (client, script):
        with pytest.raises(ServerAwayError, match="did not answer"):
            client.subjects.rename("g", "s", "new", if_match='"old"')
        assert [one["if-match"] for one in script.headers] == ['"old"']
        assert client.subjects.rename("g", "s", "new").etag == '"tag"'
        with pytest.raises(ServerAwayError, match="did not answer"):
            client.webhooks.change("w", enabled=False, if_match='"old"')
        assert script.headers[-1]["if-match"] == '"old"'


def test_a_file_that_grows_while_it_is_sent_is_the_files_fault(tmp_path: Path) -> None:
    photo = Photo(name="p", source=tmp_path / "p.jpg")
    (tmp_path / "p.jpg").touch()
    # More than fits between the two before the other reads.
    os.truncate(tmp_path / "p.jpg", 50_000_000)

    def serve() -> None:
        connected, _ = listening.accept()
        with connected:
            connected.recv(1)  # The length has been promised.
            with (tmp_path / "p.jpg").open("ab") as file:
                file.write(b"x" * 1_000_000)
            with contextlib.suppress(ConnectionError):
                while connected.recv(1_000_000):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with (
            Client(url, patience_s=0.5) as client,
            pytest.raises(OSError, match="changed while it was sent"),
        ):
            client.jobs.add_photos("j", [photo])
        thread.join()


def test_what_cannot_be_sent_is_no_servers_fault(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with client_of(ADDED) as (client, script):
        for name in ("absent.jpg", "pipe.jpg"):
            with pytest.raises(FileNotFoundError):
                client.jobs.add_photos("j", [tmp_path / name])
        with pytest.raises(ValueError, match="open for bytes"):
            client.jobs.add_photos("j", [io.StringIO("text")])  # type: ignore[list-item]
        assert script.asked == []


def test_what_is_no_http_counts_as_away() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        stop = threading.Event()

        def babble() -> None:
            listener.settimeout(0.05)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError), listener.accept()[0] as connected:
                    connected.sendall(b"SSH-2.0-what\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        try:
            with Client(url, patience_s=0.3) as client, pytest.raises(ServerAwayError):
                client.jobs.get("j")
        finally:
            stop.set()
            thread.join()


def test_a_key_is_shown_to_the_server_and_not_to_the_bucket(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(b"x")
    with scripted((204, b"")) as bucket:
        form = {"part": 0, "url": f"{bucket.url}/b", "fields": {"key": "k"}}
        times = {"forms_expire_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-02T00:00:00Z"}
        upload = {"id": SOME_ID, "files": [form], **times}
        with scripted((201, upload)) as server, Client(server.url, api_key=KEY) as client:
            assert client.uploads.send_one("archive", archive).id == UUID(SOME_ID)
    assert [one["authorization"] for one in server.headers] == [f"Bearer {KEY}"]
    assert "authorization" not in bucket.headers[0]
    with client_of(DONE) as (client, script):
        client.jobs.get("j")
    assert "authorization" not in script.headers[0]


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} x", f"{KEY}ü"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_told(key: str) -> None:
    with pytest.raises(ValueError, match="API key") as caught:
        Client("http://127.0.0.1:1", api_key=key)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://a", "http://", ""])
def test_an_address_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Client(url)


def test_a_key_is_in_nothing_that_is_shown() -> None:
    refusal = {"code": "key_invalid", "detail": "there is no such API key here"}
    with scripted((401, refusal)) as script, Client(script.url, api_key=KEY) as client:
        with pytest.raises(ClientError) as caught:
            client.jobs.get("j")
        shown = f"{client!r} {caught.value!r} {caught.value} {vars(caught.value)}"
    assert KEY not in shown


def test_the_end_of_a_job_is_waited_for_as_the_server_wishes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(jobs.time, "sleep", slept.append)
    running: Answer = (200, JOB, {"Retry-After": "7"})
    ended: Answer = (200, job_told(ended="succeeded"))
    with client_of(running, running, ended) as (client, script):
        assert client.jobs.wait("j").state == "succeeded"
    assert slept == [7, 7]
    assert [one["prefer"] for one in script.headers] == ["wait=20"] * 3


def test_a_job_that_has_not_ended_at_the_deadline_goes_on() -> None:
    with client_of((200, JOB, {"Retry-After": "600"})) as (client, script):
        with pytest.raises(JobUnfinishedError, match="running") as caught:
            client.jobs.wait("j", timeout_s=0.2)
        assert len(script.asked) == 2
        assert "prefer" not in script.headers[0]
    assert isinstance(caught.value, TimeoutError)


def test_any_number_of_photos_goes_into_one_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "SENT_AT_ONCE", 3)
    many = (Photo(name=f"{n}.jpg", source=b"%d" % n) for n in range(7))
    with serving(TinyApi()) as api, Client(api.url) as client:
        job = client.jobs.submit("identify", many, top_k=2)
    assert [len(one) for one in api.sent] == [3, 3, 1]
    assert (job.state, job.counts.total) == ("succeeded", 7)
    assert api.wanted[0]["top_k"] == 2


def test_a_submission_that_breaks_off_leaves_no_open_job() -> None:
    with serving(TinyApi(refuse=lambda _name: "no_photo")) as api, Client(api.url) as client:
        with pytest.raises(InvalidRequestError):
            client.jobs.submit("detect", [b"x"])
        assert list(api.ended.values()) == ["cancelled"]


def test_an_export_that_breaks_off_is_no_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connected, _ = listening.accept()
            with connected:
                connected.recv(10_000)
                connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nphoto")

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with Client(url) as client, client.exports.stream("j", "csv") as pieces:
            assert next(pieces) == b"photo"
            with pytest.raises(ServerAwayError, match="not whole"):
                list(pieces)
        thread.join()
