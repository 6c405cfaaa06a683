"""Each request has an id: in its answer, in problems, and in every line that is logged for it."""

import re

import structlog
from flask import Flask, Response, g, request

from db.ids import new_id

HEADER = "X-Request-ID"
MAX_CHARS = 128
_SANE = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{{0,{MAX_CHARS - 1}}}")
"""Nothing that a log or a header could take for anything else than a word."""


def guard(app: Flask) -> None:
    """Gives an id to every request, before anything else sees it."""
    app.before_request(_begin)
    app.after_request(_tell)


def request_id() -> str:
    """The id of the request that is being answered."""
    if "request_id" not in g:
        g.request_id = _id_of(request.headers.get(HEADER))
    found: str = g.request_id
    return found


def new_request_id() -> str:
    """An id for a request that brings none."""
    return str(new_id())


def _id_of(sent: str | None) -> str:
    """The client's own, where it is sane: it may follow a request over several services."""
    return sent if sent is not None and _SANE.fullmatch(sent) else new_request_id()


def _begin() -> None:
    # A thread answers many requests, and what was bound for the last is bound still.
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id())


def _tell(response: Response) -> Response:
    response.headers[HEADER] = request_id()
    return response
