"""A live stream's connection takes the latest frame, bounded memory, and an end for everybody."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Protocol, Side, State

from web.errors import InvalidRequestError
from web.live import line as line_module
from web.live.handshake import LiveProtocol
from web.live.line import Line
from web.live.lines import hang_up, listed

FRAME_BYTES = 100_000
PATIENCE_S = 30.0


class Client:
    """The other end: a socket that is read when the test says so."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.settimeout(PATIENCE_S)
        self.protocol = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
        self.got: list[Frame] = []

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.sock.sendall(data)

    def send(self, data: bytes) -> None:
        self.protocol.send_binary(data)
        self.flush()

    def text(self, text: str) -> None:
        self.protocol.send_text(text.encode())
        self.flush()

    def next(self) -> Frame:
        """The next message or close."""
        while not self.got:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError
            self.protocol.receive_data(data)
            with contextlib.suppress(OSError):
                self.flush()
            self.got += [
                one
                for one in self.protocol.events_received()
                if isinstance(one, Frame) and one.opcode is not Opcode.PONG
            ]
        return self.got.pop(0)

    def told(self) -> dict:
        frame = self.next()
        assert frame.opcode is Opcode.TEXT, frame
        return dict(json.loads(bytes(frame.data)))

    def closed(self) -> tuple[int, str]:
        while self.next().opcode is not Opcode.CLOSE:
            pass
        assert self.protocol.close_rcvd
        return self.protocol.close_rcvd.code, self.protocol.close_rcvd.reason


@dataclass
class Pair:
    line: Line
    client: Client


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        protocol = LiveProtocol(max_size=FRAME_BYTES, state=State.OPEN)
        with Line(ours, protocol) as line:
            yield Pair(line, Client(theirs))
            theirs.close()


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_of_the_frames_that_came_meanwhile_the_latest_is_heard(pair: Pair) -> None:
    heard = pair.line.heard()
    pair.client.send(b"one")
    first = next(heard)
    assert (first.number, first.data) == (1, b"one")
    for n in range(2, 12):
        pair.client.send(b"%d" % n)
    until(lambda: pair.line.frames == 11)
    last = next(heard)
    assert (last.number, last.data) == (11, b"11")
    assert pair.line.dropped == 9


def test_who_does_not_take_an_answer_gets_no_further_one(pair: Pair) -> None:
    pair.line._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    answer = "x" * (line_module.OUT_BYTES - 1000)
    heard = pair.line.heard()
    pair.client.send(b"1")
    next(heard)
    pair.line.say(answer)
    pair.client.send(b"2")
    until(lambda: pair.line.frames == 2)
    later: list = []
    asking = threading.Thread(target=lambda: later.append(next(heard)))
    asking.start()
    asking.join(0.3)
    assert later == []
    assert bytes(pair.client.next().data) == answer.encode()
    asking.join(PATIENCE_S)
    assert [one.number for one in later] == [2]


def test_a_client_that_takes_nothing_is_given_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "TAKE_S", 0.3)
    pair.line.say("x" * 5_000_000)
    assert list(pair.line.heard()) == []
    assert pair.line.is_over


def test_a_client_that_pings_and_does_not_read_is_not_read_either(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "TAKE_S", 1.0)
    ping = Protocol(Side.CLIENT, state=State.OPEN)
    for _ in range(1000):
        ping.send_ping(b"x" * 125)
    pings = b"".join(ping.data_to_send())
    most = 0
    pair.client.sock.settimeout(3)
    with contextlib.suppress(OSError):
        for _ in range(400):
            pair.client.sock.sendall(pings)
            most = max(most, len(pair.line._out))
    assert most < 2 * line_module.OUT_BYTES + line_module.READ_BYTES
    assert list(pair.line.heard()) == []


def test_a_stream_without_frames_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "IDLE_S", 0.4)
    ours, theirs = socket.socketpair()
    with ours, theirs, Line(ours, LiveProtocol(max_size=9, state=State.OPEN)) as line:
        client = Client(theirs)
        # Half a frame is none.
        theirs.sendall(b"\x82\x85")
        assert client.told()["code"] == "live_idle"
        assert client.closed() == (1008, "live_idle")
        assert list(line.heard()) == []


def test_frames_keep_a_stream_until_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "IDLE_S", 1.0)
    monkeypatch.setattr(line_module, "LIFETIME_S", 3.0)
    ours, theirs = socket.socketpair()
    with ours, theirs, Line(ours, LiveProtocol(max_size=9, state=State.OPEN)) as line:
        client = Client(theirs)
        while not line.is_over:
            with contextlib.suppress(OSError):
                client.send(b"frame")
            time.sleep(0.1)
        assert line.frames > 10
        assert client.told()["code"] == "live_over"
        assert client.closed() == (1001, "live_over")


def test_a_message_that_is_too_large_ends_the_stream_at_its_first_byte(pair: Pair) -> None:
    # The head alone: so many bytes are to come.
    pair.client.sock.sendall(b"\x82\xff" + (FRAME_BYTES + 1).to_bytes(8))
    assert pair.client.told()["code"] == "frame_too_large"
    assert pair.client.closed() == (1009, "frame_too_large")
    assert pair.line.frames == 0


def test_one_that_comes_in_parts_is_as_large_as_all_of_them(pair: Pair) -> None:
    half = b"x" * (FRAME_BYTES // 2)
    for fin in (False, True):
        pair.client.protocol.send_frame(Frame(Opcode.CONT if fin else Opcode.BINARY, half, fin))
        pair.client.flush()
    heard = next(pair.line.heard())
    assert heard.data == half * 2
    for opcode, fin in ((Opcode.BINARY, False), (Opcode.CONT, False), (Opcode.CONT, True)):
        pair.client.protocol.send_frame(Frame(opcode, half, fin))
    pair.client.flush()
    assert pair.client.closed() == (1009, "frame_too_large")
    assert pair.line.frames == 1


def test_options_come_once_and_before_the_first_frame(pair: Pair) -> None:
    heard = pair.line.heard()
    pair.client.text("{}")
    assert next(heard) == b"{}"
    pair.client.send(b"frame")
    assert next(heard).number == 1
    pair.client.text("{}")
    assert pair.client.closed() == (1003, "message_unexpected")


def test_options_are_short(pair: Pair) -> None:
    pair.client.text("x" * (line_module.OPTIONS_BYTES + 1))
    assert pair.client.closed() == (1009, "frame_too_large")
    assert list(pair.line.heard()) == []


def test_the_reason_for_the_end_is_told(pair: Pair) -> None:
    pair.line.end(InvalidRequestError("no"))
    pair.line.end(None)
    assert pair.client.told() == {
        "type": "error",
        "frame": None,
        "code": "invalid_request",
        "detail": "no",
        "dropped": 0,
    }
    assert pair.client.closed() == (CloseCode.POLICY_VIOLATION, "invalid_request")


def test_what_was_said_before_the_end_still_arrives(pair: Pair) -> None:
    pair.line.say("{}")
    pair.line.end()
    assert pair.client.told() == {}
    assert pair.client.closed() == (1000, "")


def test_a_client_that_does_not_answer_a_close_keeps_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_module, "CLOSE_S", 0.3)
    ours, theirs = socket.socketpair()
    with ours, theirs, Line(ours, LiveProtocol(max_size=9, state=State.OPEN)) as line:
        line.end()
        line._thread.join(PATIENCE_S)
        assert not line._thread.is_alive()


def test_who_hangs_up_is_not_waited_for(pair: Pair) -> None:
    hearing = threading.Thread(target=lambda: list(pair.line.heard()))
    hearing.start()
    pair.client.sock.close()
    hearing.join(PATIENCE_S)
    assert not hearing.is_alive()
    pair.line.say("to nobody")


def test_who_says_goodbye_gets_a_goodbye_back(pair: Pair) -> None:
    pair.client.protocol.send_close(1000)
    pair.client.flush()
    pair.client.sock.shutdown(socket.SHUT_WR)
    assert pair.client.closed() == (1000, "")


def test_what_is_no_websocket_ends_the_stream(pair: Pair) -> None:
    pair.client.sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
    code, _ = pair.client.closed()
    assert code == CloseCode.PROTOCOL_ERROR


def test_all_streams_end_with_the_process(pair: Pair) -> None:
    with listed(pair.line):
        hang_up()
    assert pair.client.closed() == (1001, "server_closing")
    hang_up()
