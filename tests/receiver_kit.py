"""Receivers of events on loopback: some that behave, and some that do not."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

PATIENCE_S = 60.0
"""Far longer than anything takes: a wait ends by its condition, or the test fails."""
Answer = tuple[int, dict[str, str], bytes]
OK: Answer = (200, {}, b"thanks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request that a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def event_id(self) -> str:
        return self.headers["webhook-id"]

    def verify(self, secret: str) -> dict[str, Any]:
        """What the package of the standard reads of it; raises where the signature is none."""
        return dict(Webhook(secret).verify(self.body, self.headers))


@dataclass
class Receiver:
    """Answers as its script says, the last answer for ever, and notes what came."""

    answers: list[Answer] = field(default_factory=lambda: [OK])
    calls: list[Call] = field(default_factory=list)
    url: str = ""
    port: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    """Nobody is answered before it is set."""

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Couriers hang up here."""


@contextlib.contextmanager
def receiving(
    *answers: Answer,
    held: bool = False,
    at: tuple[str, int] = ("127.0.0.1", 0),
    tls: ssl.SSLContext | None = None,
) -> Iterator[Receiver]:
    """A receiver on loopback; one that is `held` answers nobody until its gate is opened."""
    receiver = Receiver(list(answers) or [OK])
    if not held:
        receiver.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.calls.append(Call(path=self.path, headers=headers, body=body))
            receiver.gate.wait(PATIENCE_S)
            status, more, answer = receiver.next_answer()
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(at, Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.port = server.server_port
    receiver.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def rude(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that reads a request's head and then does as it likes."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.05)
    ends = threading.Event()

    def serve() -> None:
        while not ends.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listening.accept()
                with connection:
                    connection.settimeout(PATIENCE_S)
                    connection.recv(65536)
                    talk(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
    finally:
        ends.set()
        thread.join(timeout=1)  # It may be talking to nobody.
        listening.close()
