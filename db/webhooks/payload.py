"""What a receiver reads: ids, counts and links, the same bytes at every attempt."""

import datetime as dt
import json
import uuid
from dataclasses import dataclass
from typing import Any

from db.states import EventType


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """An event as its tenant's endpoints get it."""

    id: uuid.UUID
    type: EventType
    sequence: int
    created_at: dt.datetime
    job_id: uuid.UUID | None
    item_id: int | None
    subject_id: uuid.UUID | None
    data: dict[str, Any]


def body_of(event: EventView) -> bytes:
    """The event as JSON."""
    ids = {"job": event.job_id, "item": event.item_id, "subject": event.subject_id}
    told = {name: _plain(value) for name, value in ids.items() if value is not None} | event.data
    body = {
        "type": event.type.value,
        "timestamp": event.created_at.isoformat().replace("+00:00", "Z"),
        "sequence": event.sequence,
        "data": told | {"links": _links(event.type, told)},
    }
    return json.dumps(body, separators=(",", ":")).encode()


def _plain(value: uuid.UUID | int) -> str | int:
    return str(value) if isinstance(value, uuid.UUID) else value


def _links(event_type: EventType, told: dict[str, Any]) -> dict[str, str]:
    """Where to read more, as paths of the API."""
    links = {}
    if job_id := told.get("job"):
        links["job"] = f"/v1/jobs/{job_id}"
        links["results"] = f"/v1/jobs/{job_id}/results"
    if event_type is EventType.MATCH_FOUND:
        links["results"] += f"?item={told['item']}"
        links["subject"] = f"/v1/galleries/{told['gallery']}/subjects/{told['subject']}"
    if endpoint_id := told.get("endpoint"):
        links["webhook"] = f"/v1/webhooks/{endpoint_id}"
    return links
