"""Who asks the API, where a test wants it to be somebody else."""

from api_kit import Api

from web.services import EXTENSION


def ask_as(api: Api, tenant_id: int) -> None:
    """From now on the API works for this tenant."""
    api.client.application.extensions[EXTENSION].__dict__["local_tenant_id"] = tenant_id
