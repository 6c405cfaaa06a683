"""What all routes have in common, added to the description: errors, headers, examples."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from web import examples, further_examples, idempotency, rate_limits, request_ids
from web.examples import FILES
from web.links import add_links
from web.problems import MEDIA_TYPE
from web.schemas.base import ProblemOut

Spec = dict[str, Any]
ANSWERS = examples.ANSWERS | further_examples.ANSWERS
REQUESTS = examples.REQUESTS | further_examples.REQUESTS
FORMS = examples.FORMS | further_examples.FORMS
_SCHEMA = "#/components/schemas/"
EVERYWHERE = {
    400: "bad_request",
    401: "unauthenticated",
    403: "origin_untrusted",
    404: "route_not_found",
    405: "method_not_allowed",
    414: "uri_too_long",
    421: "host_untrusted",
    422: "invalid_request",
    429: "too_many_requests",
    431: "headers_too_large",
    500: "internal_error",
    503: "database_unavailable",
}
"""What any request may be answered, with a code that may come."""
WITH_A_BODY = {
    408: "request_too_slow",
    413: "request_too_large",
    415: "unsupported_media_type",
    417: "expectation_failed",
    501: "transfer_encoding_unknown",
}
POSTED = {409: "idempotency_key_in_flight"}
CONDITIONAL = {412: "precondition_failed"}
UPGRADED = {426: "upgrade_required"}
NOWHERE = {
    "POST /v1/uploads",
    "POST /v1/webhooks/{webhook_id}/test",
    "POST /v1/webhooks/{webhook_id}/replay",
}
"""They make what has no place of its own."""
RETRIED = {409, 429, 503}
"""Statuses that may come with `Retry-After`."""


def complete(spec: Spec) -> None:
    """Adds to the description what no signature tells."""
    components = spec["components"]
    components["headers"] = _headers()
    components["parameters"] = {"IdempotencyKey": idempotency.described()}
    components["responses"] = {
        name: _problem(status, code)
        for status, code in {
            **EVERYWHERE,
            **WITH_A_BODY,
            **POSTED,
            **CONDITIONAL,
            **UPGRADED,
        }.items()
        for name in [_name(status)]
    }
    for name, method, operation in operations(spec):
        if method == "post":
            operation.setdefault("parameters", []).append(
                {"$ref": "#/components/parameters/IdempotencyKey"}
            )
        _add_problems(method, operation)
        _add_headers(name, operation)
        _add_examples(name, operation)
    add_links(spec)


def operations(spec: Spec) -> Iterator[tuple[str, str, Spec]]:
    """Of each operation its name, like `GET /health`, its method and what is said of it."""
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", method, operation


def _add_problems(method: str, operation: Spec) -> None:
    wanted = dict(EVERYWHERE)
    if "requestBody" in operation:
        wanted |= WITH_A_BODY
    if method == "post":
        wanted |= POSTED
    if any(one.get("name") == "If-Match" for one in operation.get("parameters", [])):
        wanted |= CONDITIONAL
    responses = operation["responses"]
    own = {int(status) for status, one in responses.items() if MEDIA_TYPE in one.get("content", {})}
    for status in sorted(own | wanted.keys()):
        # The health of the parts has a 503 of its own.
        if status in own or str(status) not in responses:
            responses[str(status)] = {"$ref": f"#/components/responses/{_name(status)}"}
    operation["responses"] = dict(sorted(responses.items()))


def _add_headers(name: str, operation: Spec) -> None:
    parameters = {one.get("name") for one in operation.get("parameters", [])}
    for status, response in operation["responses"].items():
        if "$ref" in response:
            continue
        headers = response.setdefault("headers", {})
        named = [request_ids.HEADER, *(rate_limits.HEADERS if operation["security"] else ())]
        if status in {"201", "202"} and name not in NOWHERE:
            named.append("Location")
        if status == "202" and name not in NOWHERE:
            named.append("Retry-After")
        if "If-None-Match" in parameters and status in {"200", "304"}:
            named.append("ETag")
        for one in named:
            headers.setdefault(one, {"$ref": f"#/components/headers/{one}"})


def _add_examples(name: str, operation: Spec) -> None:
    body = operation.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in body:
        body["multipart/form-data"].setdefault("example", FORMS.get(name))
    if "application/json" in body:
        _add_examples_of(body["application/json"], REQUESTS)
    for response in operation["responses"].values():
        for kind, content in response.get("content", {}).items():
            if kind == "application/json":
                _add_examples_of(content, ANSWERS)
            elif kind.partition(";")[0] in FILES:
                content.setdefault("schema", {"type": "string"})
                content.setdefault("example", FILES[kind.partition(";")[0]])


def _add_examples_of(content: Spec, examples: dict[str, Any]) -> None:
    schema = content.get("schema", {})
    refs = [one["$ref"] for one in (schema, *schema.get("oneOf", ())) if "$ref" in one]
    found = {ref.removeprefix(_SCHEMA): ref for ref in refs}
    known = {name: {"value": examples[name]} for name in found if name in examples}
    if known and "example" not in content:
        content.setdefault("examples", known)


def _problem(status: int, code: str) -> Spec:
    title = HTTPStatus(status).phrase
    example = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "code": code,
        "detail": "what is wrong, and what to do",
        "request_id": "0192f3c1-8f6e-7cc4-9a0c-2f4f0a8d5b1e",
    }
    headers = [
        request_ids.HEADER,
        *(["Retry-After"] if status in RETRIED else []),
        *(rate_limits.HEADERS if status == HTTPStatus.TOO_MANY_REQUESTS else ()),
    ]
    return {
        "description": title,
        "headers": {one: {"$ref": f"#/components/headers/{one}"} for one in headers},
        "content": {
            MEDIA_TYPE: {"schema": {"$ref": _SCHEMA + ProblemOut.__name__}, "example": example}
        },
    }


def _name(status: int) -> str:
    """Of a response in the components."""
    return "".join(filter(str.isalnum, HTTPStatus(status).phrase.title()))


def _headers() -> Spec:
    def text(description: str) -> Spec:
        return {"description": description, "schema": {"type": "string"}}

    return {
        request_ids.HEADER: text("The request's id: the client's own, or one that was made."),
        "Location": text("Where what was made is."),
        "ETag": text("Of what the answer tells, for `If-None-Match` and `If-Match`."),
        "Retry-After": {
            "description": "Seconds after which asking again makes sense.",
            "schema": {"type": "integer", "minimum": 0},
        },
        **{name: text(said) for name, said in rate_limits.HEADERS.items()},
        idempotency.REPLAYED: text("`true`: it was done before, and this is its first answer."),
    }
