"""Gunicorn's threads, for clients that speak: those who are slow or silent hold none of them.

Gunicorn gives a thread to a connection before a byte of it has come, waits for headers and bodies
for ever, and closes connections, for up to two seconds each, in the loop that accepts them. Here
that loop collects the heads of requests and watches over those who hang up, for all connections at
once; a thread gets a request whose head is complete; and reading a body comes to an end.
"""

import contextlib
import json
import select
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from selectors import EVENT_READ
from typing import Any

import structlog
from gunicorn import util
from gunicorn.http.errors import (
    ConfigurationProblem,
    ExpectationFailed,
    InvalidResponseHeader,
    InvalidResponseHeaderName,
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from web.errors import (
    ExpectationError,
    HeadersTooLargeError,
    LineTooLongError,
    MalformedRequestError,
    RequestError,
    TransferEncodingError,
)
from web.live.lines import hang_up
from web.problems import INTERNAL, MEDIA_TYPE, members
from web.request_ids import HEADER as REQUEST_ID
from web.request_ids import new_request_id
from web.security import EVERYWHERE, NOTHING, PERSONAL

log = structlog.get_logger()

HEAD_S = 10.0
"""From the connection, or the end of the last request's body, to the end of the next head."""
HEAD_BYTES = 64 * 1024
SILENCE_S = 30.0
"""Without a byte of a body."""
LEAST_BYTES_PER_S = 1000
"""Of a body, on average after the first `SILENCE_S`."""
ANSWER_S = 60.0
"""For the client to take an answer."""
LINGER_S = 2.0
LINGER_BYTES = 16 * 1024 * 1024
"""What a client may go on sending after a refusal, so that it gets to read it."""
READ_BYTES = 64 * 1024
TOO_LARGE = "the headers of the request are too long, or too many; send fewer"
OURS = (ConfigurationProblem, InvalidResponseHeader, InvalidResponseHeaderName)
"""What gunicorn raises for faults that are none of the client's."""
END_OF_HEAD = b"\r\n\r\n"
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


@dataclass(slots=True, kw_only=True)
class _Watched:
    """A connection that the loop watches, without a thread."""

    until: float
    head: bytearray = field(default_factory=bytearray)
    lingered_bytes: int = 0

    @property
    def complete(self) -> bool:
        """Whether the head has ended; empty lines may come before it."""
        return END_OF_HEAD in self.head.lstrip(b"\r\n")


class PatientUnreader(SocketUnreader):  # type: ignore[misc] # gunicorn has no types.
    """Reads from a client that has to go on sending; raises `TimeoutError` where it does not."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.begin()

    def begin(self) -> None:
        """Another request begins."""
        self._waited_s = 0.0
        self._got_bytes = 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        """What comes next."""
        began = time.monotonic()
        left_s = SILENCE_S + self._got_bytes / LEAST_BYTES_PER_S - self._waited_s
        limit_s = min(SILENCE_S, left_s, self.sock.gettimeout() or SILENCE_S)
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        if limit_s <= 0 or not poller.poll(limit_s * 1000):
            raise TimeoutError("the client is too slow")
        data: bytes = super().chunk(size_hint)
        self._waited_s += time.monotonic() - began
        self._got_bytes += len(data)
        return data


class HeadsFirst(ThreadWorker):  # type: ignore[misc] # gunicorn has no types.
    """Threads for requests, and the loop for all who have not yet made one.

    It speaks HTTP/1.1 without TLS, which is for a proxy.
    """

    wsgi: Wsgi

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # In the order in which their time ends.
        self._heads: dict[TConn, _Watched] = {}
        self._lingering: dict[TConn, _Watched] = {}

    def load_wsgi(self) -> None:
        """Likewise, with an eye on bodies that are not read."""
        super().load_wsgi()
        self.wsgi = closing_unread(self.wsgi)

    def enqueue_req(self, conn: TConn) -> None:
        """Called for each connection that may have a request: a new one, or one that was kept."""
        watched = _Watched(until=time.monotonic() + HEAD_S)
        if conn.parser is not None:
            watched.head += conn.parser.unreader.take_buffered()
        if watched.complete:
            self._hand_over(conn, watched)
            return
        conn.sock.settimeout(0)
        self._heads[conn] = watched
        self.poller.register(conn.sock, EVENT_READ, partial(self._on_head, conn))
        self._on_head(conn, conn.sock)  # It often is there already.

    def _on_head(self, conn: TConn, _socket: object) -> None:
        watched = self._heads[conn]
        data = _received(conn.sock)
        if data is None:
            return
        watched.head += data
        if not data:
            self._drop(self._heads, conn)
        elif watched.complete:
            self._forget(self._heads, conn)
            self._hand_over(conn, watched)
        elif len(watched.head) > HEAD_BYTES:
            self._forget(self._heads, conn)
            refuse(conn.sock, HeadersTooLargeError(TOO_LARGE))
            self._linger(conn)

    def _hand_over(self, conn: TConn, watched: _Watched) -> None:
        conn.head = bytes(watched.head)
        conn.data_ready = True
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        """Answers the request whose head has come, in a thread."""
        conn.init()
        if not isinstance(conn.parser.unreader, PatientUnreader):
            conn.parser.unreader = PatientUnreader(conn.sock)
        conn.parser.unreader.begin()
        conn.parser.unreader.unread(conn.head)
        return super().handle(conn)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        """Likewise, once it is parsed."""
        conn.sock.settimeout(ANSWER_S)
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:  # noqa: ARG002 - gunicorn's signature.
        """Answers what is no request, or what broke outside of the app."""
        error = _refusal(exc)
        if error is None:
            log.error("request_broken", exc_info=exc)
        refuse(client, error)

    def finish_request(self, conn: TConn, fs: "Future[Any]") -> None:
        """Keeps the connection, or sees it off, when a thread is done with it."""
        if fs.cancelled() or fs.exception() or fs.result():
            super().finish_request(conn, fs)
        else:
            self._linger(conn)

    def _linger(self, conn: TConn) -> None:
        """Closes our side and waits for the client's.

        Closed at once with bytes of the client's still unread, the connection would be reset, and
        the client might lose the answer (RFC 9112, 9.6).
        """
        try:
            conn.sock.settimeout(0)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, EVENT_READ, partial(self._on_lingering, conn))
        except (OSError, ValueError):
            self._close(conn)
            return
        self._lingering[conn] = _Watched(until=time.monotonic() + LINGER_S)

    def _on_lingering(self, conn: TConn, _socket: object) -> None:
        watched = self._lingering[conn]
        data = _received(conn.sock)
        if data is None:
            return
        watched.lingered_bytes += len(data)
        if not data or watched.lingered_bytes > LINGER_BYTES:
            self._drop(self._lingering, conn)

    def murder_pending(self) -> None:
        """Called in each turn of the loop: closes those whose time is up.

        Where there are too many connections, those that have waited longest without a request make
        room, and where the worker ends, all of them do, and live streams with them.
        """
        super().murder_pending()
        self._drop_late(self._lingering, all_of_them=False)
        self._drop_late(self._heads, all_of_them=not self.alive)
        if not self.alive:
            hang_up()

    def _drop_late(self, watched: dict[TConn, _Watched], *, all_of_them: bool) -> None:
        now = time.monotonic()
        while watched and (
            all_of_them
            or next(iter(watched.values())).until < now
            or self.nr_conns >= self.worker_connections
        ):
            self._drop(watched, next(iter(watched)))

    def _drop(self, watched: dict[TConn, _Watched], conn: TConn) -> None:
        self._forget(watched, conn)
        self._close(conn)

    def _forget(self, watched: dict[TConn, _Watched], conn: TConn) -> None:
        del watched[conn]
        self.poller.unregister(conn.sock)

    def _close(self, conn: TConn) -> None:
        self.nr_conns -= 1
        conn.close()


def refuse(client: socket.socket, error: RequestError | None) -> None:
    """Writes the problem to a client that has made no request; None: the fault is ours.

    What the client sent is in neither the answer nor the log: it may be a key.
    """
    status = HTTPStatus.INTERNAL_SERVER_ERROR if error is None else error.status
    code, detail = INTERNAL if error is None else (error.code, str(error))
    request_id = new_request_id()
    log.warning("request_refused", status=int(status), code=code, request_id=request_id)
    body = json.dumps(members(status, code, detail, request_id)).encode()
    headers = {
        "Connection": "close",
        "Content-Type": MEDIA_TYPE,
        "Content-Length": str(len(body)),
        REQUEST_ID: request_id,
        **EVERYWHERE,
        "Content-Security-Policy": NOTHING,
        "Cache-Control": PERSONAL,
    }
    lines = [f"HTTP/1.1 {int(status)} {status.phrase}", *map(": ".join, headers.items()), "", ""]
    with contextlib.suppress(OSError):
        util.write_nonblock(client, "\r\n".join(lines).encode("ascii") + body)


def _refusal(exc: BaseException) -> RequestError | None:
    """What gunicorn's parser means by an exception."""
    if isinstance(exc, LimitRequestLine):
        return LineTooLongError("the first line of the request is too long; send less in its query")
    if isinstance(exc, LimitRequestHeaders):
        return HeadersTooLargeError(TOO_LARGE)
    if isinstance(exc, UnsupportedTransferCoding):
        return TransferEncodingError("the body's transfer coding is unknown; send it in chunks")
    if isinstance(exc, ExpectationFailed):
        return ExpectationError("no expectation but 100-continue is met; leave it out")
    if isinstance(exc, ParseException) and not isinstance(exc, OURS):
        return MalformedRequestError("this is no HTTP request, or could be read as two; mend it")
    return None


def closing_unread(app: Wsgi) -> Wsgi:
    """`app`, whose connection is closed after a request whose body it has not read to its end.

    What is left of the body stands where the next request would. Gunicorn finds out when it has
    already promised to keep the connection, and takes no `Connection: close` from the app.
    """

    def closing(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = app(environ, start_response)
        if not _is_read(environ["wsgi.input"]):
            start_response.__self__.force_close()  # type: ignore[attr-defined] # gunicorn's answer.
        return answer

    return closing


def _is_read(body: Any) -> bool:
    """Whether nothing of a request's body (gunicorn's) is left."""
    if body.failed or body.buf.tell():
        return False
    reader = body.reader
    # One of a known length counts down; one in chunks drops its parser at the end.
    return bool(reader.length == 0 if hasattr(reader, "length") else reader.parser is None)


def _received(sock: socket.socket) -> bytes | None:
    """What has come, nothing at the end, and None for a false alarm."""
    try:
        return sock.recv(READ_BYTES)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""
