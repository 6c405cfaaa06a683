"""The Flask app, put together from its routes."""

import time
from importlib.metadata import version

import structlog
from flask import Response, g, redirect, request
from flask.json.provider import DefaultJSONProvider
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from db.settings import Settings
from web import (
    callers,
    conditions,
    cors,
    describing,
    idempotency,
    openapi,
    origins,
    problems,
    queries,
    request_ids,
    security,
)
from web.incoming import ApiRequest
from web.rate_limits import RateLimits
from web.routes import (
    classic,
    crops,
    exports,
    galleries,
    jobs,
    keys,
    live,
    searches,
    sources,
    subjects,
    uploads,
    usage,
    verifications,
    webhooks,
)
from web.schemas.base import ProblemOut
from web.scopes import operation_scopes
from web.services import EXTENSION, Caller, Services

log = structlog.get_logger()
DESCRIPTION = """Who is in these photos? Put people into a gallery, submit photos, poll the job.

A route's errors are `application/problem+json` with a stable `code`. Boxes and landmarks are in
pixels of the upright photo. Distances are L2: lower is closer."""


class InOrder(DefaultJSONProvider):
    """JSON whose members come as they were written."""

    sort_keys = False


class Api(OpenAPI):
    """Flask with our requests."""

    request_class = ApiRequest

    def generate_spec_json(self) -> None:
        """Makes the specification, without the library's own idea of a validation error."""
        super().generate_spec_json()  # type: ignore[no-untyped-call]
        openapi.secured(self.spec_json, operation_scopes(self))
        for path in self.spec_json["paths"].values():
            for operation in path.values():
                refused = operation["responses"].get("422", {}).get("content", {})
                if problems.MEDIA_TYPE not in refused:
                    operation["responses"].pop("422", None)
        describing.complete(self.spec_json)


def create_app(settings: Settings) -> Api:
    """An app on the stores of `settings`; it connects when it is first asked."""
    app = Api(
        __name__,
        info=Info(title="facebatch", version=version("facebatch"), description=DESCRIPTION),
        validation_error_callback=problems.of_validation,
        validation_error_model=ProblemOut,
        security_schemes=openapi.SECURITY,
        doc_prefix="/docs",
        doc_url="/openapi.json",
        static_folder=None,
    )
    # In place of a list of pages to choose from, of which there is one.
    app.config["OPENAPI_HTML_STRING"] = '<meta http-equiv="refresh" content="0; url=swagger">'
    app.json = InOrder(app)
    app.extensions[EXTENSION] = Services(settings)
    problems.register(app)
    routes = (
        *(galleries, subjects, jobs, sources, uploads, exports),
        *(verifications, searches, crops, live),
        *(webhooks, keys, usage, classic),
    )
    openapi.describe(app, *(one.api for one in routes))
    live.register_stream(app)
    app.add_url_rule("/openapi.json", "openapi_json", lambda: app.api_doc)
    app.add_url_rule("/docs", "docs", lambda: redirect("/docs/swagger"))
    idempotency.guard(app)
    request_ids.guard(app)
    app.before_request(_begin)
    origins.guard(app, settings.trusted_host_names, settings.cors_origin_names)
    cors.guard(app, settings.cors_origin_names)
    security.guard(app)
    callers.guard(app, RateLimits(settings))
    queries.guard(app)
    conditions.guard(app)
    app.after_request(_log)
    # Once, here: routes go by it, and two requests may not make it at the same moment.
    assert app.api_doc  # noqa: S101 - it is made where it is asked for.
    return app


def _begin() -> None:
    g.began_at = time.monotonic()


def _log(response: Response) -> Response:
    """One event a request: its route and ids, never its query or body, nor a key."""
    caller: Caller | None = g.get("caller")
    log.info(
        "request",
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        ms=round(1000 * (time.monotonic() - g.began_at), 1),
        **({"tenant_id": caller.tenant_id} if caller else {}),
        **({"caller_key_id": str(caller.key_id)} if caller and caller.key_id else {}),
        **{name: str(value) for name, value in (request.view_args or {}).items()},
    )
    return response
