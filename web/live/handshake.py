"""From a request to a WebSocket: the handshake of RFC 6455, on the socket that gunicorn hands over.

No extension is agreed on: frames are compressed already, and what is not unpacked is no bomb.
"""

import logging
import socket
from collections.abc import Mapping, Sequence

from flask import Request
from websockets import http11
from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from web.errors import UpgradeRequiredError
from web.live.closing import FrameTooLargeError, words

SUBPROTOCOL = Subprotocol("facebatch.live.v1")
BEARER = "facebatch.bearer."
SOCKET = "gunicorn.socket"
NO_WEBSOCKET = "this is a WebSocket (RFC 6455, version 13); open it as one"
# At the level of debugging the library would log what frames begin and end with.
_QUIET = logging.getLogger("facebatch.live")
_QUIET.setLevel(logging.WARNING)


class LiveProtocol(ServerProtocol):
    """A connection's state, which says why it ends in words of ours where it ends by itself."""

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        """Called at the first byte of a message that is too large, among other things."""
        if code == CloseCode.MESSAGE_TOO_BIG and self.state is State.OPEN:
            error = FrameTooLargeError(
                f"a message has at most {self.max_message_size} bytes; send smaller frames"
            )
            self.send_text(words(error, dropped=0).encode())
            reason = error.code
        super().fail(code, reason)


def handshake(
    asked: Request, *, most_bytes: int, headers: Mapping[str, str]
) -> tuple[socket.socket, LiveProtocol]:
    """The socket, and the protocol that has its answer ready; raises `UpgradeRequiredError`.

    The answer has these `headers` too. Messages of more than `most_bytes` will end the connection.
    """
    protocol = LiveProtocol(max_size=most_bytes, select_subprotocol=_select, logger=_QUIET)
    protocol.receive_data(_head(asked))
    heads = [one for one in protocol.events_received() if isinstance(one, http11.Request)]
    sock = asked.environ.get(SOCKET)
    response = protocol.accept(heads[0]) if heads else None
    if response is None or response.status_code != 101 or not isinstance(sock, socket.socket):
        raise UpgradeRequiredError(NO_WEBSOCKET)
    response.headers.update(headers)
    protocol.send_response(response)
    return sock, protocol


def offered_bearer(asked: Request) -> str | None:
    """What a browser's page, which cannot send `Authorization`, offers in its place.

    The key or token stands among the subprotocols, of which none is ever logged, and is never
    agreed on. Several are as bad as one that is wrong.
    """
    offered = asked.headers.get("Sec-WebSocket-Protocol", "").split(",")
    found = [one.strip().removeprefix(BEARER) for one in offered if one.strip().startswith(BEARER)]
    return f"Bearer {' '.join(found)}" if found else None


def _head(asked: Request) -> bytes:
    """What the protocol is to know of the request: gunicorn has read it from the socket."""
    known = [
        (name, value)
        for name, value in asked.headers.items()
        if name.startswith("Sec-Websocket-") or name in {"Host", "Connection", "Upgrade"}
    ]
    version = str(asked.environ.get("SERVER_PROTOCOL"))
    return http11.Request("/", Headers(known), asked.method, version).serialize()


def _select(_protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return SUBPROTOCOL if SUBPROTOCOL in offered else None
