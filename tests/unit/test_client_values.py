"""What the client makes of answers and of events that come to a webhook."""

import base64
import datetime as dt
import json
from typing import Any

import pytest
from http_kit import SOME_ID, SOME_TIME, job_told
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook

from facebatch.client import (
    JobEvent,
    MatchEvent,
    Photo,
    UnknownEvent,
    WebhookEvent,
    verify_webhook,
)
from facebatch.client.models.files import Upload
from facebatch.client.models.jobs import Job
from facebatch.client.models.keys import NewKey
from facebatch.errors import WebhookError

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
OTHER = "whsec_" + base64.b64encode(b"another-secret-another-secret-xx").decode()
JOB_DATA = {
    "job": SOME_ID,
    "kind": "identify",
    "state": "succeeded",
    "round": 1,
    "counts": {"total": 2, "done": 1, "no_face": 1, "failed": 0, "cancelled": 0},
    "links": {"job": "/v1/jobs/x", "results": "/v1/jobs/x/results"},
}
MATCH_DATA = {
    "job": SOME_ID,
    "round": 1,
    "item": 7,
    "subject": SOME_ID,
    "gallery": SOME_ID,
    "links": {"results": "/v1/jobs/x/results?item=7"},
}


def body_of(event_type: str, data: object) -> bytes:
    return json.dumps(
        {"type": event_type, "timestamp": SOME_TIME, "sequence": 3, "data": data}
    ).encode()


def headers_of(body: bytes, secret: str = SECRET, *, ago_s: int = 0) -> dict[str, str]:
    at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago_s)
    return {
        "Webhook-Id": SOME_ID,
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": Webhook(secret).sign(SOME_ID, at, body.decode()),
    }


@pytest.mark.parametrize(
    ("event_type", "data", "kind"),
    [
        ("job.completed", JOB_DATA, JobEvent),
        ("job.progress", JOB_DATA, JobEvent),
        ("match.found", MATCH_DATA, MatchEvent),
        ("endpoint.disabled", {"endpoint": SOME_ID, "reason": "gone", "links": {}}, WebhookEvent),
        ("endpoint.test", {"endpoint": SOME_ID, "links": {}}, WebhookEvent),
        ("job.archived", {"what": "ever"}, UnknownEvent),
        # A newer server's, of a type that had another form.
        ("match.found", {"face": 7}, UnknownEvent),
    ],
)
def test_an_event_is_of_its_kind(event_type: str, data: Any, kind: type) -> None:
    body = body_of(event_type, data)
    event = verify_webhook(body, headers_of(body), SecretStr(SECRET))
    assert type(event) is kind
    assert (event.type, str(event.id), event.sequence) == (event_type, SOME_ID, 3)
    if isinstance(event, MatchEvent):
        assert (event.data.item, str(event.data.subject)) == (7, SOME_ID)


def test_while_a_secret_is_rotated_either_will_do() -> None:
    body = body_of("job.completed", JOB_DATA)
    headers = headers_of(body)
    headers["Webhook-Signature"] += " " + headers_of(body, OTHER)["Webhook-Signature"]
    for secret in (SECRET, OTHER):
        assert verify_webhook(body, headers, secret).sequence == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"Webhook-Signature": ""},
        {"Webhook-Signature": "v1"},
        {"Webhook-Signature": "v1,not base64!"},
        {"Webhook-Signature": "v1,ü"},
        {"Webhook-Signature": "v1a,AAAA"},
        {"Webhook-Id": "another"},
        {"Webhook-Timestamp": "NaN"},
        {"Webhook-Timestamp": "0"},
    ],
)
def test_what_is_not_signed_is_refused_however_it_is_made(changed: dict[str, str]) -> None:
    body = body_of("job.completed", JOB_DATA)
    with pytest.raises(WebhookError):
        verify_webhook(body, headers_of(body) | changed, SECRET)


def test_another_secret_another_body_and_another_time_are_refused() -> None:
    body = body_of("job.completed", JOB_DATA)
    for headers in (headers_of(body, OTHER), headers_of(body + b" "), headers_of(body, ago_s=400)):
        with pytest.raises(WebhookError):
            verify_webhook(body, headers, SECRET)
    with pytest.raises(WebhookError):
        verify_webhook(b"\xff", headers_of(body), SECRET)


@pytest.mark.parametrize("body", [b"no json", b"[]", b"7", b'{"type": "job.completed"}'])
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookError, match="no event"):
        verify_webhook(body, headers_of(body), SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!", "whsec_ümlaut"])
def test_a_secret_that_is_none_is_the_callers_fault_and_not_told(secret: str) -> None:
    with pytest.raises(ValueError, match="the secret is none") as caught:
        verify_webhook(b"{}", {}, secret)
    assert "mlaut" not in str(caught.value)


def test_what_a_newer_server_adds_is_kept_and_breaks_nothing() -> None:
    told = job_told(ended="archived", shelf="B 12")
    job = Job.model_validate(told)
    assert (job.state, job.ended) == ("archived", True)
    assert job.as_json() == told


def test_what_is_secret_is_not_shown() -> None:
    times = {"created_at": SOME_TIME, "forms_expire_at": SOME_TIME, "expires_at": SOME_TIME}
    nothing = dict.fromkeys(("last_used_at", "revoked_at", "replaced_by"))
    what = {"name": "n", "prefix": "fb_live_a", "scopes": ["read"], "state": "active"}
    key = NewKey.model_validate(
        {"id": SOME_ID, "key": "fb_live_abcdef", **what, **times, **nothing}
    )
    form = {"part": 0, "url": "http://b/?signed", "fields": {"policy": "signed"}}
    upload = Upload.model_validate({"id": SOME_ID, "files": [form], **times})
    shown = f"{key!r} {key} {key.as_json()} {upload!r} {Photo(name='p', source=b'bytes')!r}"
    assert not any(secret in shown for secret in ("fb_live_abcdef", "signed", "bytes"))
    assert key.key.get_secret_value() == "fb_live_abcdef"
