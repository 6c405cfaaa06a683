"""A live stream's connection: the client is always read, and of its frames the latest is kept.

A thread of the line's own reads and writes, whatever else goes on. Whoever answers gets the latest
frame when it is ready for one and the client has taken the answer before; frames that came between
are dropped. So neither a client that sends too much nor one that reads too little takes more memory
than three frames.
"""

import contextlib
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Self

import structlog
from websockets import frames
from websockets.protocol import SEND_EOF, State

from pipeline.errors import FaceBatchError
from web.live.closing import (
    FrameTooLargeError,
    LiveIdleError,
    LiveOverError,
    MessageUnexpectedError,
    close_code,
    words,
)
from web.live.handshake import LiveProtocol

log = structlog.get_logger()
READ_BYTES = 64 * 1024
OPTIONS_BYTES = 10_000
OUT_BYTES = 64 * 1024
"""Not yet taken by the client; with more than that it is not read either."""
IDLE_S = 60.0
"""Without a whole frame."""
LIFETIME_S = 900.0
"""A client opens another stream after that, which asks anew who it is and what it may."""
TAKE_S = 10.0
"""For the client to take anything of what it is sent."""
CLOSE_S = 2.0
"""For the client to close its side."""
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One picture of the camera's."""

    number: int
    """From 1, in the order in which they came, those that were dropped included."""
    data: bytes
    came_at: float
    """By the monotonic clock."""


class Line:
    """One connection. Within its context `heard` and `say` are for one thread, `end` for any."""

    def __init__(self, sock: socket.socket, protocol: LiveProtocol) -> None:
        self._sock = sock
        self._protocol = protocol
        self._changed = threading.Condition()
        # What the threads hand each other.
        self._options: bytes | None = None
        self._latest: Frame | None = None
        self._said: deque[str] = deque()
        self._is_taken = True
        self._ends = False
        self._reason: FaceBatchError | None = None
        self._is_over = False
        self.frames = 0
        self.dropped = 0
        # What belongs to the line's own thread.
        self._message = bytearray()
        self._is_text = False
        self._out = bytearray()
        self._shuts = False
        self._idle_at = self._over_at = self._stuck_at = self._gone_at = inf
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # With what is bound for the log.
        run = partial(copy_context().run, self._run)
        self._thread = threading.Thread(target=run, name="live", daemon=True)

    def __enter__(self) -> Self:
        now = time.monotonic()
        self._idle_at, self._over_at = now + IDLE_S, now + LIFETIME_S
        self._sock.settimeout(0)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.join()
        os.close(self._wake)

    @property
    def is_over(self) -> bool:
        """Whether nothing that is said would be heard any more."""
        return self._ends or self._is_over

    @property
    def reason(self) -> FaceBatchError | None:
        """Why it ends, where it is for something that we say."""
        return self._reason

    def heard(self) -> Iterator[bytes | Frame]:
        """What the client says until the line is over: its options, and then the latest frames."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.is_over or self._has_next())
                if self.is_over:
                    return
                options, self._options = self._options, None
                if options is None:
                    latest, self._latest = self._latest, None
            if options is not None:
                yield options
            elif latest is not None:
                yield latest

    def _has_next(self) -> bool:
        has_come = self._options is not None or self._latest is not None
        return has_come and self._is_taken

    def say(self, text: str) -> None:
        """Sends a message, unless the line is over."""
        with self._changed:
            self._said.append(text)
            self._is_taken = False
        self._call()

    def end(self, reason: FaceBatchError | None = None) -> None:
        """Ends the line for this reason, or for none, unless it ends already."""
        with self._changed:
            if self._ends:
                return
            self._ends, self._reason = True, reason
            self._changed.notify_all()
        self._call()

    def _call(self) -> None:
        os.eventfd_write(self._wake, 1)

    # From here on: the line's own thread.

    def _run(self) -> None:
        try:
            # A client may be gone at any moment.
            with contextlib.suppress(OSError):
                while self._turn():
                    pass
        except Exception:  # The border of a thread.
            log.exception("live_line_failed")
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _turn(self) -> bool:
        """Sends what is to be sent and waits for the next thing to happen; False at the end."""
        self._deliver()
        if self._protocol.state is State.CLOSED:
            return False
        now = time.monotonic()
        if now >= min(self._stuck_at, self._gone_at):
            return False
        if now >= self._over_at:
            self.end(LiveOverError("the stream has lasted long enough; open another"))
        elif now >= self._idle_at:
            self.end(LiveIdleError(f"no frame came for {IDLE_S:.0f} s; open another stream"))
        else:
            return self._wait(min(self._stuck_at, self._gone_at, self._over_at, self._idle_at))
        return True

    def _wait(self, until: float) -> bool:
        wanted = select.POLLIN if len(self._out) < OUT_BYTES else 0
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        poller.register(self._sock, wanted | (select.POLLOUT if self._out else 0))
        ready = dict(poller.poll(1000 * max(0.0, until - time.monotonic()) + 1))
        if self._wake in ready:
            os.eventfd_read(self._wake)
        happened = ready.get(self._sock.fileno(), 0)
        if happened & select.POLLIN:
            self._receive()
        return bool(happened & select.POLLIN) or not happened & _GONE

    def _deliver(self) -> None:
        """Sends as much as the client takes."""
        with self._changed:
            said, self._said = self._said, deque()
            ends, reason = self._ends, self._reason
        if self._protocol.state is State.OPEN:
            for text in said:
                self._protocol.send_text(text.encode())
            if ends:
                self._close(reason)
        for data in self._protocol.data_to_send():
            self._shuts = data == SEND_EOF
            self._out += data
        self._write()
        if self._protocol.state is not State.OPEN and self._gone_at == inf:
            self._gone_at = time.monotonic() + CLOSE_S
            self._idle_at = self._over_at = inf

    def _close(self, reason: FaceBatchError | None) -> None:
        if reason is None:
            self._protocol.send_close(frames.CloseCode.NORMAL_CLOSURE)
            return
        self._protocol.send_text(words(reason, dropped=self.dropped).encode())
        self._protocol.send_close(close_code(reason), reason.code)

    def _write(self) -> None:
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while self._out and (sent := self._sock.send(self._out)):
                del self._out[:sent]
        if self._out:
            if sent or self._stuck_at == inf:
                self._stuck_at = time.monotonic() + TAKE_S
            return
        self._stuck_at = inf
        if self._shuts:
            self._sock.shutdown(socket.SHUT_WR)
            self._shuts = False
        with self._changed:
            self._is_taken = not self._said
            self._changed.notify_all()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, frames.Frame) and event.opcode in frames.DATA_OPCODES:
                self._take_in(event)

    def _take_in(self, part: frames.Frame) -> None:
        """A message, or a part of one."""
        if part.opcode is not frames.Opcode.CONT:
            self._message.clear()
            self._is_text = part.opcode is frames.Opcode.TEXT
        self._message += part.data
        if self._is_text and len(self._message) > OPTIONS_BYTES:
            self.end(FrameTooLargeError(f"options have at most {OPTIONS_BYTES} bytes"))
        elif part.fin and self._is_text:
            self._hear_options(bytes(self._message))
        elif part.fin:
            self._hear_frame(bytes(self._message))
        if part.fin:
            self._message.clear()

    def _hear_options(self, data: bytes) -> None:
        with self._changed:
            if not self.frames and self._options is None:
                self._options = data
                self._changed.notify_all()
                return
        self.end(MessageUnexpectedError("options come once, before the first frame"))

    def _hear_frame(self, data: bytes) -> None:
        now = time.monotonic()
        if self._idle_at < inf:
            self._idle_at = now + IDLE_S
        with self._changed:
            self.frames += 1
            if self._latest is not None:
                self.dropped += 1
            self._latest = Frame(number=self.frames, data=data, came_at=now)
            self._changed.notify_all()
