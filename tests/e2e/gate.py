"""A gate before a server, which counts the photos that went through and can be shut."""

import contextlib
import re
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

NAME = re.compile(rb'name="photos"; filename="([^"\r\n]*)"')
PASSED_ON = ("content-type", "accept", "prefer")


class Gate:
    """Notes a photo when the server has taken it, and only then."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.shut = threading.Event()
        self.taken: Counter[str] = Counter()
        self.under_way = 0
        self._lock = threading.Lock()
        self.url = ""

    def passed(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> httpx.Response:
        with self._lock:
            self.under_way += 1
        try:
            answer = httpx.request(
                method,
                self.upstream + path,
                headers=headers,
                content=body,
                timeout=60,
                trust_env=False,
            )
            if answer.is_success:
                with self._lock:
                    self.taken.update(name.decode() for name in NAME.findall(body))
            return answer
        finally:
            with self._lock:
                self.under_way -= 1


def _handler(gate: Gate) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if gate.shut.is_set():
                self.close_connection = True
                return
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            try:
                answer = gate.passed(self.command, self.path, headers, body)
            except httpx.TransportError:
                self.close_connection = True
                return
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET  # noqa: N815 - http.server's names.

        def log_message(self, *_: object) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Clients are killed here all the time."""


@contextlib.contextmanager
def gate_before(upstream: str) -> Iterator[Gate]:
    gate = Gate(upstream)
    server = _Server(("127.0.0.1", 0), _handler(gate))
    gate.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield gate
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
