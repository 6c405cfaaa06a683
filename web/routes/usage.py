"""Usage: how much a tenant has, and may have."""

from flask import Response
from flask_openapi3.blueprint import APIBlueprint

from db.session import transaction
from web.answers import answer
from web.openapi import USAGE, problems
from web.schemas.usage import UsageOut
from web.services import services

api = APIBlueprint("usage", __name__, url_prefix="/v1", abp_tags=[USAGE])


@api.get("/usage", responses={200: UsageOut, **problems(503)})
def read_usage() -> Response:
    """Read how much there is of what has a quota, and how much may be."""
    here = services()
    with transaction(here.database) as session:
        return answer(UsageOut.of(here.quotas.usage(session, here.tenant_id)))
