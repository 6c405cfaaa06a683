"""What an answer is: a success, a problem, or nothing of ours."""

import datetime as dt
import email.utils
from typing import Any

import httpx

from facebatch.errors import ApiError, FieldError, ServerError, UnexpectedAnswerError, kind_of

UNEXPECTED = "unexpected_answer"
IN_FLIGHT = "idempotency_key_in_flight"
MAY_PASS = frozenset({429, 500, 502, 503, 504})


def checked(response: httpx.Response) -> httpx.Response:
    """The response where it is a success; raises `ApiError`."""
    if response.is_success:
        return response
    raise problem_of(response)


def problem_of(response: httpx.Response) -> ApiError:
    """The error that an answer tells of."""
    try:
        body = response.json()
        code, detail, request_id = body["code"], body["detail"], body.get("request_id")
    except (ValueError, KeyError, TypeError):
        return unexpected(response)
    if not isinstance(code, str) or not isinstance(detail, str):
        return unexpected(response)
    return kind_of(response.status_code)(
        response.status_code,
        code,
        detail,
        request_id=request_id if isinstance(request_id, str) else None,
        fields=_fields(body.get("errors")),
        retry_after_s=retry_after_s(response),
    )


def unexpected(response: httpx.Response) -> ApiError:
    """The error for an answer that is none of ours; it repeats nothing of it."""
    status, path = response.status_code, response.url.path
    detail = f"{path} answers {status} with no answer of facebatch"
    kind = ServerError if response.is_server_error else UnexpectedAnswerError
    return kind(status, UNEXPECTED, detail, retry_after_s=retry_after_s(response))


def may_pass(response: httpx.Response) -> bool:
    """Whether the same request may fare better a little later."""
    if response.status_code == httpx.codes.CONFLICT:
        return problem_of(response).code == IN_FLIGHT
    return response.status_code in MAY_PASS


def retry_after_s(response: httpx.Response) -> float | None:
    """The seconds of `Retry-After`, be it a number or a date; None where there is none."""
    told = response.headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdecimal():
        return float(told) if len(told) < 10 else None
    try:
        moment = email.utils.parsedate_to_datetime(told)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return max(0.0, (moment - dt.datetime.now(dt.UTC)).total_seconds())


def _fields(told: Any) -> list[FieldError]:
    if not isinstance(told, list):
        return []
    return [
        FieldError(field=str(one.get("field")), message=str(one.get("message")))
        for one in told
        if isinstance(one, dict)
    ]
