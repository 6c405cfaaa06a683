"""Examples of bodies of keys, webhooks, verifications and searches, as in `web.examples`."""

from typing import Any

from web.examples import (
    CREATED,
    CURSOR,
    ENGINE,
    FACE,
    FINISHED,
    JOB_ID,
    LATER,
    SHA256,
    SUBJECT_ID,
    THRESHOLD,
    WHO,
)

KEY_ID = "0192f3b6-5c6d-7e7f-8a81-8192a3b4c5d6"
WEBHOOK_ID = "0192f3b6-6d7e-7f80-8b92-92a3b4c5d6e7"
DELIVERY_ID = "0192f3b6-7e8f-7091-8ca3-a3b4c5d6e7f8"
EVENT_ID = "0192f3b6-8f90-71a2-8db4-b4c5d6e7f809"
SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"  # noqa: S105 - of nobody.
HOOK_URL = "https://app.example.com/hooks/facebatch"

KEY: dict[str, Any] = {
    "id": KEY_ID,
    "name": "newsroom",
    "prefix": "fb_live_4kT9wQ2z",
    "scopes": ["read", "submit"],
    "state": "active",
    "created_at": CREATED,
    "expires_at": None,
    "last_used_at": FINISHED,
    "revoked_at": None,
    "replaced_by": None,
}
NEW_KEY = {**KEY, "last_used_at": None, "key": "fb_live_4kT9wQ2z..."}
WEBHOOK: dict[str, Any] = {
    "id": WEBHOOK_ID,
    "url": HOOK_URL,
    "events": ["job.completed", "match.found"],
    "subjects": [SUBJECT_ID],
    "enabled": True,
    "disabled_reason": None,
    "disabled_at": None,
    "failing_since": None,
    "previous_secret_until": None,
    "created_at": CREATED,
    "changed_at": CREATED,
}
DELIVERY: dict[str, Any] = {
    "id": DELIVERY_ID,
    "event": EVENT_ID,
    "type": "job.completed",
    "sequence": 42,
    "job": JOB_ID,
    "webhook": WEBHOOK_ID,
    "state": "delivered",
    "next_attempt_at": None,
    "error": None,
    "created_at": FINISHED,
    "finished_at": FINISHED,
    "attempts": [
        {
            "attempt": 1,
            "began_at": FINISHED,
            "latency_ms": 31,
            "status": 204,
            "error": None,
            "answer": "",
        }
    ],
}
SEEN_FACE = {name: FACE[name] for name in ("box", "landmarks", "score", "quality")}
OF_ONE = {**THRESHOLD, "target_fpir": None, "subjects": None, "fpir": None}
FOUND: dict[str, Any] = {
    "name": "picnic.jpg",
    "client_id": None,
    "key": None,
    "sha256": SHA256,
    "taken_at": "2026-08-02T14:07:31",
    "face": {"face": 0, "id": FACE["id"], "box": FACE["box"]},
    "distance": 0.2104,
}
CALLBACK_SECRET = {"created_at": CREATED, "previous_secret_until": LATER}

ANSWERS: dict[str, Any] = {
    "KeyOut": KEY,
    "KeysOut": {"keys": [KEY], "next_cursor": None},
    "NewKeyOut": NEW_KEY,
    "WebhookOut": WEBHOOK,
    "WebhooksOut": {"webhooks": [WEBHOOK], "next_cursor": None},
    "WebhookWithSecretOut": {**WEBHOOK, "secret": SECRET},
    "CallbackSecretOut": CALLBACK_SECRET,
    "NewCallbackSecretOut": {**CALLBACK_SECRET, "secret": SECRET},
    "DeliveryOut": DELIVERY,
    "DeliveriesOut": {"deliveries": [DELIVERY], "next_cursor": CURSOR},
    "ReplayedOut": {"deliveries": 3},
    "TestedOut": {"event": EVENT_ID},
    "UsageOut": {
        "bytes": {"used": 48_318_220_513, "allowed": 50_000_000_000},
        "open_photos": {"used": 1_904, "allowed": None},
        "open_jobs": {"used": 3, "allowed": 100},
    },
    "VerificationOut": {
        "match": True,
        "distance": 0.3359,
        "threshold": OF_ONE,
        "engine": ENGINE,
        "face": SEEN_FACE,
        "reference": None,
        "subject": WHO,
    },
    "SearchOut": {
        "job": JOB_ID,
        "probe": SEEN_FACE,
        "subject": None,
        "engine": ENGINE,
        "faces": 1,
        "threshold": THRESHOLD,
        "photos": [FOUND],
        "next_cursor": None,
    },
}
REQUESTS: dict[str, Any] = {
    "KeyIn": {"name": "newsroom", "scopes": ["read", "submit"], "expires_in_days": 365},
    "KeyRotationIn": {"overlap_s": 86400},
    "WebhookIn": {"url": HOOK_URL, "events": ["job.completed"]},
    "WebhookPatch": {"enabled": False},
    "RotateIn": {"overlap_s": 86400},
    "ReplayIn": {"since": CREATED},
    "SearchIn": {"subject": SUBJECT_ID},
    "VerificationIn": {"face": {"job": JOB_ID, "face": FACE["id"]}, "subject": SUBJECT_ID},
}
FORMS: dict[str, dict[str, Any]] = {
    "POST /detect": {"image": "picnic.jpg"},
    "POST /verify": {"image": "ada.jpg", "reference": "picnic.jpg"},
    "POST /v1/verifications": {"photo": "ada.jpg", "reference": "picnic.jpg"},
    "POST /v1/jobs/{job_id}/search": {"photo": "ada.jpg"},
}
