"""Reading from a client comes to an end, whatever the client does."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from web import serving
from web.serving import PatientUnreader


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end and the client's, with a patience of half a second."""
    monkeypatch.setattr(serving, "SILENCE_S", 0.5)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_what_comes_is_read(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"abc")
    assert PatientUnreader(ours).read(3) == b"abc"
    theirs.close()
    assert PatientUnreader(ours).read() == b""


def test_a_client_that_falls_silent_is_given_up(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"abc")
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        PatientUnreader(ours).read(4)
    assert time.monotonic() - began > 0.4


def test_a_client_that_sends_a_byte_now_and_then_is_given_up(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    over = threading.Event()

    def trickle() -> None:
        while not over.wait(0.1):
            theirs.sendall(b"x")

    trickling = threading.Thread(target=trickle)
    trickling.start()
    with pytest.raises(TimeoutError):
        PatientUnreader(ours).read(1_000_000)  # It would take more than a day.
    over.set()
    trickling.join()


def test_a_client_that_keeps_its_pace_is_read_to_the_end(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair

    def send() -> None:
        for _ in range(12):
            time.sleep(0.1)
            theirs.sendall(b"x" * 500)

    sending = threading.Thread(target=send)
    sending.start()
    assert len(PatientUnreader(ours).read(6000)) == 6000
    sending.join()
