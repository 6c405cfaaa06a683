"""Pages of other origins that may use the API (CORS): none, unless the operator names them."""

from flask import Flask, Response, request

from web import request_ids
from web.idempotency import HEADER as KEY
from web.idempotency import REPLAYED

METHODS = "GET, POST, PATCH, DELETE"
TAKEN = f"Authorization, Content-Type, {KEY}, If-Match, If-None-Match, Prefer, {request_ids.HEADER}"
SHOWN = (
    f"Content-Disposition, Content-Location, ETag, Facebatch-Job-State, {REPLAYED}, Location, "
    "Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, "
    f"{request_ids.HEADER}"
)
KNOWN_FOR_S = 600


def guard(app: Flask, origins: frozenset[str]) -> None:
    """Answers what browsers ask beforehand, and tells them which pages may read answers.

    No cookie is ever asked for: a page proves who it is as any other client does.
    """

    def preflight() -> Response | None:
        asked = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not asked or request.headers.get("Origin") not in origins:
            return None
        response = Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = METHODS
        response.headers["Access-Control-Allow-Headers"] = TAKEN
        response.headers["Access-Control-Max-Age"] = str(KNOWN_FOR_S)
        return response

    def allow(response: Response) -> Response:
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = SHOWN
        return response

    if origins:
        app.before_request(preflight)
        app.after_request(allow)
