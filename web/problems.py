"""Errors as answers: `application/problem+json` (RFC 9457) with a stable `code`."""

from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, json
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException

from db.errors import (
    ConflictError,
    NotFoundError,
    QuotaExceededError,
    SourceNotAllowedError,
    SubjectNotAllowedError,
    SubjectRequiredError,
    UnavailableError,
)
from db.webhooks.targets import TargetRefusedError
from pipeline.archives.errors import ArchiveTooLargeError
from pipeline.errors import (
    EngineUnknownError,
    FaceBatchError,
    FileTooLargeError,
    PhotoError,
    TargetUnknownError,
    ThresholdRangeError,
)
from web.errors import InvalidNameError, MediaTypeError, RequestError
from web.request_ids import request_id

log = structlog.get_logger()
MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
MAX_LISTED = 20
"""Fields that an answer names; a client with more mistakes meets the others next time."""
MAX_SHOWN_CHARS = 100

# The first that fits is taken.
_STATUS: tuple[tuple[type[FaceBatchError], HTTPStatus], ...] = (
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (ConflictError, HTTPStatus.CONFLICT),
    (UnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
    (QuotaExceededError, HTTPStatus.TOO_MANY_REQUESTS),
    (TargetRefusedError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (ThresholdRangeError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (TargetUnknownError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (SubjectNotAllowedError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (SubjectRequiredError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (SourceNotAllowedError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (EngineUnknownError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (FileTooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (ArchiveTooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (PhotoError, HTTPStatus.UNPROCESSABLE_ENTITY),
)
# What Flask and Werkzeug refuse by themselves.
_HTTP_CODES = {
    404: ("route_not_found", "there is no such route; see /docs"),
    405: ("method_not_allowed", "the route does not take this method; see /docs"),
    413: ("request_too_large", "the request is too large; send it in parts"),
    429: ("too_many_requests", "too many requests; send fewer"),
}
INTERNAL = ("internal_error", "something went wrong here, and was logged; try again later")


def members(status: int, code: str, detail: str, request_id: str) -> dict[str, Any]:
    """What a problem consists of."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        "request_id": request_id,
    }


def problem(status: int, code: str, detail: str, **more: Any) -> Response:
    """The answer for one error; `more` are further members of its object."""
    body = members(status, code, detail, request_id()) | more
    return Response(json.dumps(body), status=int(status), content_type=MEDIA_TYPE)


def of_error(error: FaceBatchError) -> Response:
    """The answer for one of our own errors."""
    response = problem(_status_of(error), error.code, str(error), **_more(error))
    if isinstance(error, RequestError):
        response.headers.update(error.headers)
    if not error.permanent:
        response.headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return response


def _more(error: FaceBatchError) -> dict[str, Any]:
    """What a program is to know of an error besides its code."""
    if not isinstance(error, QuotaExceededError):
        return {}
    return {"quota": error.quota, "used": error.used, "allowed": error.allowed}


def of_validation(error: ValidationError) -> Response:
    """The answer for fields that pydantic refuses: some by name, and never with their values."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    fields = [
        {
            "field": shortened(".".join(map(str, one["loc"]))) or "body",
            "message": one["msg"].removeprefix("Value error, "),
        }
        for one in found[:MAX_LISTED]
    ]
    own = next((one["type"] for one in found if one["type"] == InvalidNameError.code), None)
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in fields)
    return problem(RequestError.status, own or RequestError.code, detail, errors=fields)


def shortened(name: str) -> str:
    """A name that a client has made up, so that an answer repeats little of it."""
    return name if len(name) <= MAX_SHOWN_CHARS else name[:MAX_SHOWN_CHARS] + "..."


def register(app: Flask) -> None:
    """Makes problems of all errors that leave a view."""
    app.register_error_handler(FaceBatchError, _on_own)
    app.register_error_handler(ValidationError, of_validation)
    app.register_error_handler(HTTPException, _on_http)
    app.register_error_handler(Exception, _on_unforeseen)


def _status_of(error: FaceBatchError) -> HTTPStatus:
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, QuotaExceededError) and error.permanent:
        return HTTPStatus.FORBIDDEN  # Whoever waits and tries again gets no further.
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


def _on_own(error: FaceBatchError) -> Response:
    response = of_error(error)
    if response.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request_failed", code=error.code, exc_info=error)
    return response


def _on_http(error: HTTPException) -> Response:
    if isinstance(error.response, Response):
        return error.response  # Made elsewhere and thrown.
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if status < HTTPStatus.BAD_REQUEST:
        return Response(error.get_body(), status, error.get_headers())
    if status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return of_error(MediaTypeError("the route does not take this content type; see /docs"))
    code, detail = _HTTP_CODES.get(status, ("bad_request", "the request cannot be understood"))
    response = problem(status, code, detail)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _on_unforeseen(error: Exception) -> Response:
    log.error("request_crashed", exc_info=error)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, *INTERNAL)
