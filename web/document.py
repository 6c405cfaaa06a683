"""The description of the routes, as the app itself goes by it."""

import re
from typing import Any, cast

from flask import Request, current_app
from flask_openapi3.openapi import OpenAPI

_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")


def path_of(rule: str) -> str:
    """A rule of Flask's as the description writes it."""
    return _VARIABLE.sub(r"{\1}", rule)


def operation_of(request: Request) -> dict[str, Any] | None:
    """What the description says of the request's route; None where it is none of the API."""
    if request.url_rule is None:
        return None
    paths = cast("OpenAPI", current_app).api_doc["paths"]
    path: dict[str, Any] = paths.get(path_of(request.url_rule.rule), {})
    method = "get" if request.method == "HEAD" else request.method.lower()
    found: dict[str, Any] | None = path.get(method)
    return found


def parameters_of(request: Request, where: str) -> set[str] | None:
    """The names of the `header` or `query` parameters that the route takes; None likewise."""
    operation = operation_of(request)
    if operation is None:
        return None
    parameters: list[dict[str, str]] = operation.get("parameters", [])
    return {one["name"] for one in parameters if one.get("in") == where}
