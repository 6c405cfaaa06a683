"""Conditional requests (RFC 9110, 13): `ETag`, `If-None-Match` and `If-Match`.

A tag is strong: it is a hash of all that an answer tells of a gallery, a subject, a job or a
webhook, but for what passes without anybody changing it. `If-Match` is looked at in the transaction
that makes the change, once what is to be changed is locked: nobody gets in between.
"""

import base64
import hashlib
from collections.abc import Callable
from http import HTTPStatus

from flask import Flask, Response, request
from pydantic import BaseModel

from web.answers import answer
from web.document import parameters_of
from web.errors import PreconditionFailedError

HEADER = "If-Match"
SAFE = {"GET", "HEAD", "OPTIONS"}
TAG_BYTES = 16
REFUSED = "it is not, or not any more, as your If-Match says; read it again"


def tag_of(model: BaseModel) -> str:
    """The tag of what a model tells, without its members that are `PASSING`."""
    passing = getattr(model, "PASSING", None)
    digest = hashlib.sha256(model.model_dump_json(exclude=passing).encode()).digest()
    return base64.urlsafe_b64encode(digest[:TAG_BYTES]).rstrip(b"=").decode()


def tagged(model: BaseModel, status: int = HTTPStatus.OK, **headers: str) -> Response:
    """`model` as an answer with its tag; 304 without it where its reader has it already."""
    tag = tag_of(model)
    if request.method in {"GET", "HEAD"} and request.if_none_match.contains_weak(tag):
        response = Response(status=HTTPStatus.NOT_MODIFIED)
    else:
        response = answer(model, status, **headers)
    response.set_etag(tag)
    return response


def is_conditional() -> bool:
    """Whether the request says as what it knows that which it would change."""
    return HEADER in request.headers


def expect(current: Callable[[], BaseModel]) -> None:
    """Raises `PreconditionFailedError` unless it is as the request says, where it says so."""
    if is_conditional() and not request.if_match.contains(tag_of(current())):
        raise PreconditionFailedError(REFUSED)


def guard(app: Flask) -> None:
    """Refuses an `If-Match` where nothing has a tag: but for `*`, it can match nothing there."""
    app.before_request(_check)


def _check() -> None:
    if request.method in SAFE or not is_conditional() or request.if_match.star_tag:
        return
    taken = parameters_of(request, "header")
    if taken is not None and HEADER not in taken:
        raise PreconditionFailedError("this route has no entity tags; leave If-Match out")
