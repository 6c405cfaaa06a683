"""The tenant of each request: whose rows it sees, from its first line to its last."""

from collections.abc import Iterable

from flask import Blueprint, Flask, request

from db.tenancy import act_for
from web.services import services

OF_NOBODY = {"classic.index", "classic.read_health", "live.show", "live.style", "live.script"}
"""Routes that are nobody's: they answer the same to everybody, and where the database is away."""


def attend(app: Flask, blueprints: Iterable[Blueprint]) -> None:
    """Has each request to a route of these work for its tenant, and its thread then for none."""
    names = {one.name for one in blueprints}

    def begin() -> None:
        if request.blueprint in names and request.endpoint not in OF_NOBODY:
            act_for(services().local_tenant_id)

    def end(_error: BaseException | None) -> None:
        act_for(None)

    app.before_request(begin)
    app.teardown_request(end)
