"""What is no request, or two in one, is refused with a problem; nothing behind it is answered."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_kit import Server, server

from db.settings import Settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
NEXT = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""A second request, smuggled in behind the first."""


@pytest.fixture(scope="module")
def http(lasting_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(lasting_settings, tmp_path_factory.mktemp("web")) as one:
        yield one


def sent(http: Server, data: bytes) -> bytes:
    """All that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", http.port)) as connection:
        connection.settimeout(30)
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def head(*lines: str, method: str = "POST", path: str = "/v1/galleries") -> bytes:
    first = f"{method} {path} HTTP/1.1"
    return "\r\n".join([first, "Host: localhost", *lines, "", ""]).encode("latin-1")


JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
BODY = b'{"name": "smuggled"}'
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

NO_REQUEST: dict[str, tuple[int, str, bytes]] = {
    "a length and chunks": (400, "malformed_request", head(JSON, "Content-Length: 4", CHUNKED)),
    "chunks and a length": (400, "malformed_request", head(JSON, CHUNKED, "Content-Length: 4")),
    "two lengths": (400, "malformed_request", head("Content-Length: 4", "Content-Length: 5")),
    "one length twice": (400, "malformed_request", head("Content-Length: 4", "Content-Length: 4")),
    "two lengths in one": (400, "malformed_request", head("Content-Length: 4, 4")),
    "a length with a sign": (400, "malformed_request", head("Content-Length: +4")),
    "a length below nothing": (400, "malformed_request", head("Content-Length: -4")),
    "a length in hex": (400, "malformed_request", head("Content-Length: 0x4")),
    "a length with a bar": (400, "malformed_request", head("Content-Length: 4_0")),
    "a length in other digits": (400, "malformed_request", head("Content-Length: \xb2")),
    "an unknown coding": (501, "transfer_encoding_unknown", head("Transfer-Encoding: odd")),
    "a coding that looks known": (
        501,
        "transfer_encoding_unknown",
        head("Transfer-Encoding: xchunked"),
    ),
    "chunks twice": (400, "malformed_request", head(CHUNKED, CHUNKED)),
    "chunks that are not last": (
        400,
        "malformed_request",
        head("Transfer-Encoding: chunked, identity"),
    ),
    "a space before the colon": (400, "malformed_request", head("Transfer-Encoding : chunked")),
    "a folded header": (400, "malformed_request", head("X: a\r\n b")),
    "a folded coding": (400, "malformed_request", head("Transfer-Encoding:\r\n chunked")),
    "a line without a colon": (400, "malformed_request", head("Transfer-Encoding chunked")),
    "a header without a name": (400, "malformed_request", head(": chunked")),
    "a zero byte": (400, "malformed_request", head("X: a\0b")),
    "a bare carriage return": (400, "malformed_request", head("X: a\rTransfer-Encoding: chunked")),
    "bare line feeds": (400, "malformed_request", head("X: a\nTransfer-Encoding: chunked")),
    "a request line with bare line feeds": (
        400,
        "malformed_request",
        b"POST /v1/galleries HTTP/1.1\nHost: localhost\nContent-Length: 4\n\n\r\n\r\n",
    ),
    "chunks in HTTP/1.0": (
        400,
        "malformed_request",
        b"POST / HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    "no version": (400, "malformed_request", b"GET /\r\n\r\n"),
    "another version": (400, "malformed_request", b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n"),
    "a method that is none": (400, "malformed_request", b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "garbage": (400, "malformed_request", b"\0\xff" * 500 + b"\r\n\r\n"),
    "an expectation": (417, "expectation_failed", head("Expect: a miracle", "Content-Length: 4")),
    "a long line": (414, "uri_too_long", head(method="GET", path="/" + "x" * 5000)),
    "many headers": (431, "headers_too_large", head(*["X: y"] * 200)),
    "headers without end": (431, "headers_too_large", head()[:-2] + b"X: y\r\n" * 15_000),
}


@pytest.mark.parametrize("shape", NO_REQUEST)
def test_what_is_no_request_is_refused_with_a_problem(http: Server, shape: str) -> None:
    status, code, data = NO_REQUEST[shape]
    # Whatever the sender takes for its body, the next request stands behind it.
    answer = sent(http, data + BODY + NEXT)
    top, _, body = answer.partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 %d " % status), answer
    headers = dict(re.findall(r"^([\w-]+): (.*)$", top.decode().replace("\r", ""), re.MULTILINE))
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Connection"] == "close"
    assert headers["X-Content-Type-Options"] == "nosniff"
    problem = json.loads(body)  # And nothing behind it.
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == headers["X-Request-ID"]
    assert problem["request_id"] in http.log
    assert problem["detail"]


def test_no_refusal_repeats_what_was_sent(http: Server) -> None:
    secret = "fb_live_Zm9vYmFyYmF6"
    answer = sent(http, head(f"Authorization {secret}"))
    assert b" 400 " in answer
    assert secret not in answer.decode()
    assert secret not in http.log


CHUNKED_BODIES = {
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "a size that is none": b"zz\r\nabc\r\n0\r\n\r\n",
    "a size with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "a size below nothing": b"-3\r\nabc\r\n0\r\n\r\n",
    "a size with a prefix": b"0x3\r\nabc\r\n0\r\n\r\n",
    "a size with a bar": b"1_0\r\nabcdefghijklmnop\r\n0\r\n\r\n",
    "a size that is too small": b"2\r\nabc\r\n0\r\n\r\n",
    "bare line feeds": b"3\nabc\n0\n\n",
    "an extension with a bare carriage return": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "a huge size": b"f" * 40 + b"\r\nabc",
}


@pytest.mark.parametrize("shape", CHUNKED_BODIES)
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/galleries", "application/json"),
        ("/v1/jobs", "multipart/form-data; boundary=x"),
        ("/nothing", "application/json"),
    ],
)
def test_chunks_that_are_none_end_the_connection(
    http: Server, shape: str, path: str, kind: str
) -> None:
    data = head(f"Content-Type: {kind}", CHUNKED, path=path) + CHUNKED_BODIES[shape] + NEXT
    with socket.create_connection(("127.0.0.1", http.port)) as connection:
        connection.settimeout(60)
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    status = 404 if path == "/nothing" else 400
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert answer.count(b"HTTP/1.1 ") == 1, answer


def test_a_request_that_is_one_is_answered(http: Server) -> None:
    """What the shapes above are the broken forms of."""
    for data in (
        head(JSON, f"Content-Length: {len(BODY)}", path="/v1/uploads") + BODY,
        head(JSON, CHUNKED, path="/v1/uploads") + CHUNKS,
    ):
        answer = sent(http, data + head("Connection: close", method="GET", path="/health"))
        # Both of them are read to their end, and the next is answered.
        assert answer.count(b"HTTP/1.1 ") == 2, answer
        assert answer.startswith(b"HTTP/1.1 422 ")
        assert b"HTTP/1.1 200 OK" in answer


@pytest.mark.parametrize(
    "lines",
    [
        ["Host: localhost\r\nHost: evil.example"],
        ["Host: evil.example"],
        ["Host: localhost@evil.example"],
        ["Host: localhost, evil.example"],
        ["X: y"],
    ],
)
def test_one_host_is_answered_to(http: Server, lines: list[str]) -> None:
    data = "\r\n".join(["GET /v1/galleries HTTP/1.1", *lines, "Connection: close", "", ""])
    answer = sent(http, data.encode())
    assert re.match(rb"HTTP/1.1 (400|421) ", answer), answer


def test_a_header_with_an_underscore_is_not_that_with_a_dash(http: Server) -> None:
    data = head("Content_Length: 4", "X_Request_ID: evil", "Connection: close", method="GET",
                path="/health")  # fmt: skip
    answer = sent(http, data)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"evil" not in answer


def test_each_code_of_the_server_is_in_the_reference() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    for status, code, _ in NO_REQUEST.values():
        assert f"| `{code}` | {status} |" in text
