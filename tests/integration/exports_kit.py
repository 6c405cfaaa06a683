"""What tests of exports share: asking for them, a worker's context without models, fetching."""

import uuid
from typing import Any

from api_kit import Api

from db.exports.queue import ExportClaim, claim_export
from db.session import Role, make_database, transaction
from db.settings import Settings
from db.storage import ObjectStore
from workers.context import WorkerContext


def context_of(settings: Settings) -> WorkerContext:
    """A worker's, as far as exports need it."""
    return WorkerContext(
        settings=settings,
        database=make_database(settings.database or "", role=Role.SYSTEM),
        store=ObjectStore.from_settings(settings),
    )


def asked_for(api: Api, job: uuid.UUID, **wanted: Any) -> uuid.UUID:
    """The id of an export that waits for a worker."""
    answer = api.post(f"/v1/jobs/{job}/exports", json=wanted)
    assert answer.status_code == 202, answer.text
    assert answer.json["state"] == "queued"
    assert answer.headers["Location"].endswith(answer.json["id"])
    return uuid.UUID(answer.json["id"])


def export(api: Api, job: uuid.UUID, export_id: uuid.UUID) -> dict[str, Any]:
    """Where it stands."""
    return dict(api.get(f"/v1/jobs/{job}/exports/{export_id}").json)


def claimed(context: WorkerContext, export_id: uuid.UUID) -> ExportClaim | None:
    with transaction(context.database) as session:
        return claim_export(session, export_id, lease_s=60.0, max_attempts=3)
