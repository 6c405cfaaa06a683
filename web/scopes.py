"""Which scope each route needs."""

import re

from flask import Flask

from db.scopes import Scope

OPEN = {
    "classic.index",
    "classic.read_health",
    "docs",
    "live.script",
    "live.show",
    "live.style",
    "openapi_json",
}
"""Routes that tell the same to everybody, besides the pages of `/docs`."""
PAGES = ("openapi.", "swagger.")
NEEDED = {
    Scope.READ: {
        "classic.read_stats",
        "crops.read_crop",
        "exports.list_exports",
        "exports.read_export",
        "exports.read_subjects",
        "exports.stream_export",
        "galleries.list_galleries",
        "galleries.read_gallery",
        "jobs.list_jobs",
        "jobs.read_job",
        "jobs.read_results",
        "sources.list_sources",
        "subjects.list_subjects",
        "subjects.read_subject",
        "usage.read_usage",
        "webhooks.list_deliveries",
        "webhooks.list_webhooks",
        "webhooks.read_callback_secret",
        "webhooks.read_delivery",
        "webhooks.read_webhook",
    },
    Scope.SUBMIT: {
        "classic.detect",
        "classic.recognize",
        "classic.verify",
        "exports.create_export",
        "exports.delete_export",
        "jobs.add_photos",
        "jobs.cancel_job",
        "jobs.create_job",
        "jobs.delete_job",
        "jobs.pause_job",
        "jobs.resume_job",
        "jobs.retry_job",
        "jobs.seal_job",
        "live.open_stream",
        "live.stream",
        "searches.search_job",
        "sources.add_source",
        "sources.rematch",
        "subjects.enrol_photos",
        "uploads.create_upload",
        "verifications.create_verification",
    },
    Scope.MANAGE: {
        "classic.register",
        "galleries.create_gallery",
        "galleries.delete_gallery",
        "subjects.create_subject",
        "subjects.delete_subject",
        "subjects.rename_subject",
        "webhooks.change_webhook",
        "webhooks.create_webhook",
        "webhooks.delete_webhook",
        "webhooks.make_callback_secret",
        "webhooks.replay_delivery",
        "webhooks.replay_since",
        "webhooks.rotate_secret",
        "webhooks.test_webhook",
    },
    Scope.ADMIN: {
        "keys.create_key",
        "keys.list_keys",
        "keys.read_key",
        "keys.revoke_key",
        "keys.rotate_key",
    },
}


def needed_scopes(app: Flask) -> dict[str, Scope]:
    """The scope that each of the app's routes needs, by endpoint; those that are open have none.

    Raises `LookupError` where a route is in no list or in two, or a list has what is no route.
    """
    found = {endpoint: scope for scope, endpoints in NEEDED.items() for endpoint in endpoints}
    routes = {rule.endpoint for rule in app.url_map.iter_rules()}
    routes -= {one for one in routes if one.startswith(PAGES)}
    listed = [*OPEN, *(endpoint for endpoints in NEEDED.values() for endpoint in endpoints)]
    wrong = routes ^ set(listed) | {one for one in listed if listed.count(one) > 1}
    if wrong:
        raise LookupError(f"web/scopes.py must list once each: {', '.join(sorted(wrong))}")
    return found


def operation_scopes(app: Flask) -> dict[tuple[str, str], Scope]:
    """The scope of each operation by its path and method, as OpenAPI writes them."""
    needed = needed_scopes(app)
    return {
        (re.sub(r"<(?:[^:<>]*:)?([^<>]+)>", r"{\1}", rule.rule), method.lower()): scope
        for rule in app.url_map.iter_rules()
        if (scope := needed.get(rule.endpoint)) is not None
        for method in rule.methods or ()
    }
