"""A WebSocket is opened by what RFC 6455 asks for, and its secrets stay out of logs."""

import logging
import socket
from collections.abc import Iterator

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from web.errors import UpgradeRequiredError
from web.live.handshake import SUBPROTOCOL, handshake, offered_bearer

GOOD = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


def asked(headers: dict[str, str], sock: socket.socket | None = None) -> Request:
    environ = EnvironBuilder(path="/v1/live", headers=headers).get_environ()
    environ["SERVER_PROTOCOL"] = "HTTP/1.1"
    if sock is not None:
        environ["gunicorn.socket"] = sock
    return Request(environ)


def test_the_answer_is_that_of_the_standard(sock: socket.socket) -> None:
    found, protocol = handshake(asked(GOOD, sock), most_bytes=9, headers={"X-Request-ID": "a"})
    assert found is sock
    answer = b"".join(protocol.data_to_send()).decode()
    assert answer.startswith("HTTP/1.1 101 ")
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert "\r\nX-Request-ID: a\r\n" in answer
    assert "Sec-WebSocket-Protocol" not in answer


@pytest.mark.parametrize(
    "wrong",
    [
        {"Upgrade": "h2c"},
        {"Connection": "close"},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Key": ""},
    ],
)
def test_anything_else_opens_none(sock: socket.socket, wrong: dict[str, str]) -> None:
    with pytest.raises(UpgradeRequiredError):
        handshake(asked(GOOD | wrong, sock), most_bytes=9, headers={})


def test_without_a_socket_there_is_none() -> None:
    with pytest.raises(UpgradeRequiredError):
        handshake(asked(GOOD), most_bytes=9, headers={})


def test_nothing_is_unpacked_that_a_client_has_packed(sock: socket.socket) -> None:
    packed = GOOD | {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    _, protocol = handshake(asked(packed, sock), most_bytes=9, headers={})
    assert "Extensions" not in b"".join(protocol.data_to_send()).decode()


def test_at_the_level_of_debugging_nothing_of_frames_is_logged(
    sock: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    key = {"Sec-WebSocket-Protocol": f"{SUBPROTOCOL}, facebatch.bearer.fb_live_secret"}
    _, protocol = handshake(asked(GOOD | key, sock), most_bytes=9, headers={})
    protocol.receive_data(b"\x82\x81\0\0\0\0x")
    assert len(protocol.events_received()) == 1
    assert caplog.records == []


@pytest.mark.parametrize(
    ("offered", "bearer"),
    [
        (f"{SUBPROTOCOL}, facebatch.bearer.fb_live_a-b_c", "Bearer fb_live_a-b_c"),
        ("facebatch.bearer.eyJh.eyJp.c2ln", "Bearer eyJh.eyJp.c2ln"),
        (SUBPROTOCOL, None),
        ("facebatch.bearer.one, facebatch.bearer.two", "Bearer one two"),
        ("facebatch.bearer.", "Bearer "),
    ],
)
def test_a_page_offers_its_key_as_a_subprotocol(
    sock: socket.socket, offered: str, bearer: str | None
) -> None:
    request = asked(GOOD | {"Sec-WebSocket-Protocol": offered}, sock)
    assert offered_bearer(request) == bearer
    # Which is not agreed on: a browser would be told it in the answer.
    _, protocol = handshake(request, most_bytes=9, headers={})
    assert "bearer" not in b"".join(protocol.data_to_send()).decode()
