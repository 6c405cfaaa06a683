"""Queries are taken at their word: what a route does not know is refused, and what comes twice."""

from http import HTTPStatus

from flask import Flask, Response, request

from web.document import parameters_of
from web.errors import InvalidRequestError
from web.problems import MAX_LISTED, problem, shortened


def guard(app: Flask) -> None:
    """Looks at the query of each request before its route does."""
    app.before_request(_check)


def _check() -> Response | None:
    if not request.args or (known := parameters_of(request, "query")) is None:
        return None
    wrong = [(name, "no such parameter is taken here") for name in request.args.keys() - known]
    wrong += [
        (name, "it is sent twice; send it once")
        for name, values in request.args.lists()
        if len(values) > 1 and name in known
    ]
    if not wrong:
        return None
    errors = [
        {"field": shortened(name), "message": message}
        for name, message in sorted(wrong)[:MAX_LISTED]
    ]
    detail = "; ".join(f"{one['field']}: {one['message']}" for one in errors)
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, InvalidRequestError.code, detail, errors=errors)
