"""Usage: how much a tenant has, and may have."""

from flask import Response

from db.session import transaction
from web.answers import answer
from web.openapi import USAGE, blueprint, problems
from web.schemas.usage import UsageOut
from web.services import services

api = blueprint("usage", __name__, USAGE)


@api.get("/usage", responses={200: UsageOut, **problems(503)})
def read_usage() -> Response:
    """Read how much there is of what has a quota, and how much may be."""
    here = services()
    with transaction(here.database) as session:
        return answer(UsageOut.of(here.quotas.usage(session, here.tenant_id)))
