"""Links: which operations take the ids that an answer brings, for whoever follows a description."""

import re
from collections.abc import Mapping
from typing import Any

Spec = dict[str, Any]
BROUGHT: Mapping[str, Mapping[str, str]] = {
    "GET /v1/galleries": {"gallery_id": "galleries/0/id"},
    "POST /v1/galleries": {"gallery_id": "id"},
    "GET /v1/galleries/{gallery_id}/subjects": {"subject_id": "subjects/0/id"},
    "POST /v1/galleries/{gallery_id}/subjects": {"subject_id": "id"},
    "GET /v1/jobs": {"job_id": "jobs/0/id"},
    "POST /v1/jobs": {"job_id": "id"},
    "GET /v1/jobs/{job_id}/results": {"face_id": "results/0/faces/0/id"},
    "GET /v1/jobs/{job_id}/exports": {"export_id": "exports/0/id"},
    "POST /v1/jobs/{job_id}/exports": {"export_id": "id"},
    "GET /v1/webhooks": {"webhook_id": "webhooks/0/id"},
    "POST /v1/webhooks": {"webhook_id": "id"},
    "GET /v1/deliveries": {"delivery_id": "deliveries/0/id"},
    "GET /v1/keys": {"key_id": "keys/0/id"},
    "POST /v1/keys": {"key_id": "id"},
}
"""What the JSON of an operation's answer has for a path's parameter, and where in it."""


def add_links(spec: Spec) -> None:
    """Adds to each answer that brings ids the operations which take them."""
    operations = {
        f"{method.upper()} {path}": (path, operation)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    }
    for name, brought in BROUGHT.items():
        path, operation = operations[name]
        known = {one: f"$request.path.{one}" for one in _parameters(path)}
        known |= {one: f"$response.body#/{where}" for one, where in brought.items()}
        links = {
            other["operationId"]: {
                "operationId": other["operationId"],
                "parameters": {one: known[one] for one in sorted(wanted)},
            }
            for path, other in operations.values()
            if brought.keys() <= (wanted := _parameters(path)) <= known.keys()
        }
        for response in operation["responses"].values():
            if _has(spec, response, {where.partition("/")[0] for where in brought.values()}):
                response["links"] = links


def _parameters(path: str) -> set[str]:
    return set(re.findall(r"{(\w+)}", path))


def _has(spec: Spec, response: Spec, members: set[str]) -> bool:
    """Whether the response is JSON with these members."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    described: Spec = spec["components"]["schemas"].get(name, {}).get("properties", {})
    return members <= described.keys()
