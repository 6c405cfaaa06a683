"""Exactly once in: a POST with an `Idempotency-Key` is done once, however often it is sent.

Whoever sends it again gets the first answer. That is written in the transaction which does what was
asked for, so a process that dies leaves either both or neither; and what keeps two of the same key
apart while they are under way goes with their process.
"""

import functools
import hmac
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, current_app, g, request

from db.errors import JobNotFoundError, UnavailableError
from db.kept_answers import Kept
from db.session import transaction
from web.answers import job_answer
from web.claims import Claim, resumed
from web.document import operation_of
from web.errors import IdempotencyKeyError, IdempotencyKeyInFlightError, IdempotencyKeyReusedError
from web.incoming import incoming, read_through
from web.schemas.base import PreferHeader
from web.services import Services, services
from web.waiting import finished_job, preferred_wait_s

log = structlog.get_logger()
HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY_CHARS = 255
# A string of RFC 9651, as the draft has it, or the same without its quotes.
PATTERN = (
    rf'^(?:"([\x20-\x21\x23-\x5b\x5d-\x7e]{{1,{MAX_KEY_CHARS}}})"'
    rf"|([\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{{1,{MAX_KEY_CHARS}}}))$"
)
_SHAPE = re.compile(PATTERN)
View = Callable[..., Any]


def guard(app: Flask) -> None:
    """Has all POST routes heed the key. To be called when the app has all of them."""
    rules = app.url_map.iter_rules()
    for endpoint in {one.endpoint for one in rules if "POST" in (one.methods or ())}:
        app.view_functions[endpoint] = _once(app.view_functions[endpoint])


def _once(view: View) -> View:
    @functools.wraps(view)
    def answering(**arguments: Any) -> Any:
        sent = request.headers.get(HEADER)
        return view(**arguments) if sent is None else _under_key(_key(sent), view, arguments)

    return answering


def _key(sent: str) -> str:
    """The key; two headers, which come as one with a comma, are none."""
    shape = _SHAPE.fullmatch(sent)
    if shape is None:
        raise IdempotencyKeyError(
            f"{HEADER} takes one key: 1 to {MAX_KEY_CHARS} printable ASCII characters but for "
            "quotes, backslashes and commas, such as a UUID"
        )
    return shape[1] or shape[2]


def _under_key(key: str, view: View, arguments: dict[str, Any]) -> Response:
    here = services()
    claim = Claim(here, key, request.method, request.path, request.query_string.decode("latin-1"))
    with here.key_locks.held(claim.number) as let_go:
        if let_go is None:
            raise IdempotencyKeyInFlightError(
                "the request with this key is under way; send it again later"
            )
        with transaction(here.database) as session:
            earlier = claim.find(session)
        claim.let_go = let_go
        incoming().fingerprint = claim.fingerprint
        g.claim = claim
        if earlier is not None:
            return _again(here, claim, earlier)
        response = current_app.make_response(view(**arguments))
        _keep_at_last(here, claim, response)
        return response


def _again(here: Services, claim: Claim, earlier: Kept) -> Response:
    """The first answer, where this is the same request."""
    operation = operation_of(request)
    if operation is not None and "requestBody" in operation:
        read_through(incoming())
    if not hmac.compare_digest(earlier.fingerprint, claim.fingerprint.digest()):
        raise IdempotencyKeyReusedError(
            "another request was sent with this key; draw a new one for each"
        )
    if earlier.answer is None:
        response = _resumed(here, earlier)
    else:
        response = _awaited(here, claim, earlier) or claim.opened(earlier.answer)
    response.headers[REPLAYED] = "true"
    return response


def _resumed(here: Services, earlier: Kept) -> Response:
    """The answer that a process which has died did not live to know."""
    assert earlier.job_id is not None  # noqa: S101 - the table sees to it.
    try:
        return resumed(request.endpoint or "")(here, earlier.job_id)
    except JobNotFoundError as exc:
        raise IdempotencyKeyInFlightError(
            "what this key was used for is just ending; send it again"
        ) from exc


def _awaited(here: Services, claim: Claim, earlier: Kept) -> Response | None:
    """For a client that would wait, what it would have got; None where there is nothing to it."""
    header = PreferHeader(Prefer=request.headers.get("Prefer"))
    if earlier.job_id is None or not preferred_wait_s(header.prefer):
        return None
    claim.let_go()
    try:
        return job_answer(here, finished_job(here, earlier.job_id, wait_s=0), header)
    except JobNotFoundError:
        return None


def _keep_at_last(here: Services, claim: Claim, response: Response) -> None:
    """Keeps the answer of a route that makes nothing which would stay if it were done twice."""
    if claim.is_kept or response.status_code >= HTTPStatus.MULTIPLE_CHOICES:
        return
    try:
        with transaction(here.database) as session:
            claim.keep(session, response, None)
    except UnavailableError as exc:
        # It is done all the same, and the client is to know.
        log.warning("answer_not_kept", code=exc.code)


def described() -> dict[str, Any]:
    """The header's place in the description of a route."""
    return {
        "name": HEADER,
        "in": "header",
        "required": False,
        "description": "Sent again with the same key within 24 hours, the same request gets the "
        f"first answer, with `{REPLAYED}: true`.",
        "schema": {"type": "string", "pattern": PATTERN},
        "example": "0192f3c1-8f6e-7cc4-9a0c-2f4f0a8d5b1e",
    }
