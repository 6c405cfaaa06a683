"""The API of a real stack: gunicorn, queue, workers; as its clients meet it."""

import concurrent.futures
import contextlib
import json
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from place import Place, wait_for

from cli.sample import Sample

MB = 1_000_000
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def api(served: Place) -> Iterator[httpx.Client]:
    view = served.view()
    assert view
    with httpx.Client(base_url=view.api_url, timeout=120, trust_env=False) as client:
        yield client


@pytest.fixture
def gallery(api: httpx.Client, sample: Sample, request: pytest.FixtureRequest) -> str:
    """A gallery with Obama and Biden."""
    made = api.post("/v1/galleries", json={"name": request.node.name}).json()["id"]
    for name in ("obama", "biden"):
        path = f"/v1/galleries/{made}/subjects"
        subject = api.post(path, json={"name": name}).json()["id"]
        file = (sample.people_dir / name / f"{name}.jpg").read_bytes()
        done = api.post(
            f"{path}/{subject}/photos",
            files={"photos": (f"{name}.jpg", file)},
            headers={"Prefer": "wait=60"},
        )
        assert done.json()["results"][0]["status"] == "done"
    return str(made)


def test_submit_then_poll(api: httpx.Client, gallery: str, sample: Sample) -> None:
    photos = [
        ("photos", (name, (sample.photos_dir / name).read_bytes()))
        for name in ("obama2.jpg", "obama_and_biden.jpg")
    ]
    answer = api.post("/v1/jobs", data={"kind": "identify", "gallery": gallery}, files=photos)
    assert answer.status_code == 202
    job = answer.headers["Location"]
    assert answer.headers["Retry-After"]
    wait_for(lambda: api.get(job).json()["finished_at"])
    assert api.get(job).json()["state"] == "succeeded"
    results = api.get(f"{job}/results").json()["results"]
    found = [{face["subject"]["name"] for face in one["faces"]} for one in results]
    assert found == [{"obama"}, {"obama", "biden"}]


def test_with_patience_the_answer_is_the_result(
    api: httpx.Client, gallery: str, sample: Sample
) -> None:
    answer = api.post(
        "/v1/jobs",
        data={"kind": "identify", "gallery": gallery},
        files={"photos": ("p.jpg", (sample.photos_dir / "obama3.jpg").read_bytes())},
        headers={"Prefer": "wait=10"},
    )
    assert answer.status_code == 200
    assert answer.headers["Preference-Applied"] == "wait=10"
    assert answer.json()["results"][0]["faces"][0]["subject"]["name"] == "obama"


def test_the_reference_lists_what_lies_in_the_home(served: Place) -> None:
    page = (REPOSITORY / "docs" / "reference" / "stack.md").read_text(encoding="utf-8")
    table = page.partition("\n## The home\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = {name for row in rows for name in re.findall(r"`(\S+)`", row)}
    there = {path.name + "/" * path.is_dir() for path in served.home.path.iterdir()}
    # A state that is being written has a hidden name for a moment.
    shown = {name for name in there if not name.startswith(".")}
    # The demo alone makes its folder.
    assert listed == shown | {"sample/"}


def test_the_classic_endpoints(api: httpx.Client, sample: Sample) -> None:
    photo = (sample.people_dir / "obama" / "obama.jpg").read_bytes()
    made = api.post("/register", data={"name": "Barack"}, files={"image": ("o.jpg", photo)})
    assert made.json()["status"] == "success"
    probe = (sample.photos_dir / "obama2.jpg").read_bytes()
    match = api.post("/recognize", files={"image": ("p.jpg", probe)}).json()
    assert match["matched_user"] == {"id": made.json()["user_id"], "name": "Barack"}
    assert api.get("/stats").json()["total_users"] == 1
    assert api.get("/health").json()["status"] == "healthy"


def web_rss_bytes(place: Place) -> int:
    part = place.part("web")
    assert part
    assert part.process
    workers = psutil.Process(part.process.pid).children(recursive=True)
    return max(one.memory_info().rss for one in workers)


def test_large_requests_are_never_held_whole(served: Place, api: httpx.Client) -> None:
    size, count = 20 * MB, 20
    job = api.post("/v1/jobs", json={"kind": "detect"}).json()["id"]
    api.get("/health")
    before = web_rss_bytes(served)
    answer = api.post(
        f"/v1/jobs/{job}/photos",
        files=[("photos", (f"{n}.jpg", bytes([n]) * size)) for n in range(count)],
    )
    assert answer.json()["accepted"] == count
    assert web_rss_bytes(served) - before < size * count / 4
    # Chunked, as a client sends what it does not know the length of.
    body = b'--x\r\nContent-Disposition: form-data; name="photos"; filename="c.jpg"\r\n\r\n'
    pieces = [body, *[b"c" * MB] * 5, b"\r\n--x--\r\n"]
    sent = api.post(
        f"/v1/jobs/{job}/photos",
        content=iter(pieces),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert sent.json() == {"accepted": 1, "missing": []}
    api.delete(f"/v1/jobs/{job}")


def test_a_client_that_hangs_up_leaves_nothing(served: Place, api: httpx.Client) -> None:
    job = api.post("/v1/jobs", json={"kind": "detect"}).json()["id"]
    url = httpx.URL(str(api.base_url))
    connection = socket.create_connection((url.host, url.port))
    connection.sendall(
        f"POST /v1/jobs/{job}/photos HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        '--x\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\nabc'.encode()
    )
    connection.close()
    log = served.home.log("web")
    wait_for(lambda: '"status": 400, "ms"' in log.read_text() and job in log.read_text())
    assert api.get(f"/v1/jobs/{job}").json()["counts"]["total"] == 0


def test_many_who_wait_do_not_keep_others_out(api: httpx.Client) -> None:
    job = api.post("/v1/jobs", json={"kind": "detect"}).json()["id"]  # Open: it does not end.

    def wait(_: int) -> int:
        return httpx.get(
            f"{str(api.base_url).rstrip('/')}/v1/jobs/{job}",
            headers={"Prefer": "wait=8"},
            timeout=60,
        ).status_code

    # More than there are threads.
    with concurrent.futures.ThreadPoolExecutor(160) as pool:
        waiting = [pool.submit(wait, n) for n in range(160)]
        time.sleep(1)
        assert max(health_s(api) for _ in range(3)) < 3
        assert not all(one.done() for one in waiting)
        assert [one.result() for one in waiting] == [200] * 160
    api.delete(f"/v1/jobs/{job}")


@pytest.fixture
def connect(api: httpx.Client) -> Iterator[Callable[[bytes], socket.socket]]:
    """Opens connections that stay open, and sends each its first bytes."""
    url = httpx.URL(str(api.base_url))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    with contextlib.ExitStack() as opened:

        def one(first: bytes) -> socket.socket:
            connection = opened.enter_context(socket.create_connection((url.host, url.port)))
            connection.sendall(first)
            return connection

        yield one
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def health_s(api: httpx.Client) -> float:
    """How long a stranger waits to hear how we are."""
    began = time.monotonic()
    assert httpx.get(api.base_url.join("/health"), timeout=60).status_code == 200
    return time.monotonic() - began


SLOW = b"HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
FORM = b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
JSON = b'Content-Type: application/json\r\n\r\n{"na'


@pytest.mark.parametrize(
    "first",
    [
        b"POST /v1/jobs " + SLOW + FORM,
        b"POST /v1/galleries " + SLOW + JSON,
        b"POST /nothing " + SLOW + JSON,
    ],
)
def test_slow_bodies_keep_nobody_out(
    api: httpx.Client, connect: Callable[[bytes], socket.socket], first: bytes
) -> None:
    for _ in range(140):
        connect(first)
    assert max(health_s(api) for _ in range(5)) < 5


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"GET /health HT",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
        b"\r\n\r\nGET /health HTTP/1.1\r\n",
        # Kept for another request, which has begun to come with the first one.
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HT",
    ],
)
def test_half_a_head_keeps_nobody_out(
    api: httpx.Client, connect: Callable[[bytes], socket.socket], first: bytes
) -> None:
    for _ in range(1100):
        connect(first)
    assert max(health_s(api) for _ in range(5)) < 5


def test_a_head_without_end_is_refused(
    api: httpx.Client, connect: Callable[[bytes], socket.socket]
) -> None:
    connection = connect(b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 15_000)
    connection.settimeout(20)
    assert connection.recv(12) == b"HTTP/1.1 431"


def test_who_does_not_hang_up_keeps_nobody_out(
    api: httpx.Client, connect: Callable[[bytes], socket.socket]
) -> None:
    for _ in range(20):
        connection = connect(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
    assert max(health_s(api) for _ in range(5)) < 2


@pytest.mark.parametrize(
    ("path", "content_type", "status"),
    [
        ("/v1/galleries", "text/plain", 415),
        ("/v1/galleries", "application/json", 413),
        ("/nothing", "application/json", 404),
        ("/recognize?threshold=near", "multipart/form-data; boundary=x", 422),
        ("/v1/jobs", "multipart/form-data; boundary=x", 400),
    ],
)
def test_a_refusal_before_the_body_was_read_does_not_disturb_the_next_request(
    api: httpx.Client, path: str, content_type: str, status: int
) -> None:
    for n in range(10):
        refused = api.post(path, content=b"x" * 3 * MB, headers={"Content-Type": content_type})
        assert refused.status_code == status
        assert refused.headers["Connection"] == "close"
        assert api.get("/").status_code == 200, n
    # In chunks, as a client sends what it does not know the length of.
    pieces = iter([b"x" * MB] * 3)
    refused = api.post(path, content=pieces, headers={"Content-Type": content_type})
    assert refused.status_code == status
    assert api.get("/").headers["Connection"] == "keep-alive"


def test_a_body_that_was_read_keeps_the_connection(api: httpx.Client) -> None:
    made = api.post("/v1/galleries", json={"name": "kept", "engine": "none"})
    assert (made.status_code, made.headers["Connection"]) == (422, "keep-alive")
    file = {"image": ("a.jpg", b"words")}
    failed = api.post("/register", data={"name": "kept"}, files=file)
    assert (failed.status_code, failed.headers["Connection"]) == (422, "keep-alive")


@pytest.mark.parametrize(
    ("status", "head"),
    [
        (414, b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: ten\r\n\r\n"),
        (501, b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: odd\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n"),
    ],
)
def test_what_is_no_request_is_refused_as_the_reference_says(
    connect: Callable[[bytes], socket.socket], status: int, head: bytes
) -> None:
    connection = connect(head)
    connection.settimeout(20)
    answer = b""
    while piece := connection.recv(1000):
        answer += piece
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Content-Type: application/problem+json\r\n" in answer
    page = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
    code = json.loads(answer.partition(b"\r\n\r\n")[2])["code"]
    assert re.search(rf"`{code}` \| {status} \|", page.read_text(encoding="utf-8"))


def test_garbage_on_the_wire_harms_nobody(api: httpx.Client) -> None:
    url = httpx.URL(str(api.base_url))
    for garbage in (
        b"\0\xff" * 500 + b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\n\r\n\r\n",
    ):
        with socket.create_connection((url.host, url.port)) as connection:
            connection.sendall(garbage)
            connection.settimeout(20)
            connection.recv(1000)
    assert api.get("/health").status_code == 200


def test_only_loopback_is_listened_to(served: Place) -> None:
    view = served.view()
    assert view
    listening = {
        connection.laddr.ip
        for one in psutil.process_iter()
        if served._is_ours(one)
        for connection in one.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}


def test_passwords_are_the_owners_alone_and_on_no_command_line(served: Place) -> None:
    secrets = list(served.home.secrets.iterdir())
    assert len(secrets) == 4  # Of three stores, and the key that others are derived from.
    words = {path.read_text().strip() for path in secrets}
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
    for one in psutil.process_iter():
        if served._is_ours(one):
            assert not any(word in " ".join(one.cmdline()) for word in words)
    for log in served.home.logs.iterdir():
        assert not any(word in log.read_text(errors="replace") for word in words), log


def test_the_page_to_try_it(api: httpx.Client) -> None:
    answer = api.get("/docs", follow_redirects=True)
    assert answer.status_code == 200
    assert "openapi.json" in answer.text
    assert api.get("/openapi.json").json()["openapi"].startswith("3.1")
