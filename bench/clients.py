"""Clients that cost next to nothing: requests made beforehand, over sockets that stay open."""

import socket
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

BOUNDARY = b"bench-boundary"
MARK_CHARS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A multipart request of one photo, whose last bytes are another mark each time."""

    before: bytes
    after: bytes

    def marked(self, mark: str) -> bytes:
        """The whole request."""
        return self.before + mark.encode().rjust(MARK_CHARS) + self.after


def upload(url: str, photo: bytes, *, field: str, fields: dict[str, str]) -> Upload:
    """A request that sends `photo` to `url`. What stands behind a JPEG's end changes no pixel."""
    parts = urlsplit(url)
    body = b"".join(
        b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        % (BOUNDARY, name.encode(), value.encode())
        for name, value in fields.items()
    )
    body += (
        b'--%s\r\nContent-Disposition: form-data; name="%s"; filename="photo.jpg"\r\n'
        b"Content-Type: image/jpeg\r\n\r\n%s" % (BOUNDARY, field.encode(), photo)
    )
    after = b"\r\n--%s--\r\n" % BOUNDARY
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\n"
        f"Content-Length: {len(body) + MARK_CHARS + len(after)}\r\n\r\n"
    )
    return Upload(before=head.encode() + body, after=after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Requests that were sent and answered with success."""

    seconds: float
    latencies_ms: Sequence[float]

    @property
    def per_s(self) -> float:
        """Requests in a second."""
        return len(self.latencies_ms) / self.seconds

    def percentile_ms(self, share: float) -> float:
        """Of the latencies."""
        return percentile(self.latencies_ms, share)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of the others lies."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=1000, method="inclusive")[round(1000 * share) - 1]


def send_all(url: str, request: Upload, marks: Sequence[str], clients: int) -> Round:
    """Sends the request with each mark, by so many clients at once; raises where one fails."""
    latencies: list[float] = []
    failures: list[str] = []
    shares = [marks[n::clients] for n in range(clients)]
    threads = [
        threading.Thread(target=_send, args=(url, request, share, latencies, failures))
        for share in shares
    ]
    began_at = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began_at
    if failures:
        raise SystemExit(f"{url}: {failures[0]}")
    return Round(seconds=seconds, latencies_ms=latencies)


def _send(
    url: str, request: Upload, marks: Sequence[str], latencies: list[float], failures: list[str]
) -> None:
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 80)
    with socket.create_connection(address, timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for mark in marks:
            began_at = time.perf_counter()
            connection.sendall(request.marked(mark))
            answer = _answer(connection)
            if not answer.startswith(b"HTTP/1.1 2"):
                failures.append(answer.decode(errors="replace")[:500])
                return
            latencies.append(1000 * (time.perf_counter() - began_at))


def _answer(connection: socket.socket) -> bytes:
    """The whole answer, by its Content-Length."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += _some(connection)
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        body += _some(connection)
    return head + b"\r\n\r\n" + body


def _some(connection: socket.socket) -> bytes:
    if not (chunk := connection.recv(65536)):
        raise SystemExit("the server closed the connection")
    return chunk
