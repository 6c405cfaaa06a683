"""Events are signed as Standard Webhooks has it, and tried again for three days."""

import datetime as dt
import random
import time
import uuid

import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from db.settings import SettingsError, load_settings
from db.states import EventType
from db.webhooks.payload import EventView, body_of
from db.webhooks.schedule import LONGEST_WISH_S, MAX_ATTEMPTS, pause_s
from db.webhooks.secrets import (
    PREFIX,
    Safe,
    new_secret,
    owner_of_callbacks,
    owner_of_endpoint,
    shown,
    signatures,
)

EVENT = uuid.uuid4()
BODY = b'{"type":"job.completed"}'


def headers(*secrets: bytes, at_s: int | None = None) -> dict[str, str]:
    at_s = int(time.time()) if at_s is None else at_s
    return {
        "webhook-id": str(EVENT),
        "webhook-timestamp": str(at_s),
        "webhook-signature": signatures(secrets, EVENT, at_s, BODY),
    }


def test_the_standards_own_package_verifies_a_signature() -> None:
    secret = new_secret()
    assert Webhook(shown(secret)).verify(BODY, headers(secret)) == {"type": "job.completed"}
    with pytest.raises(WebhookVerificationError):
        Webhook(shown(new_secret())).verify(BODY, headers(secret))
    with pytest.raises(WebhookVerificationError):
        Webhook(shown(secret)).verify(BODY + b" ", headers(secret))


def test_while_a_secret_is_rotated_either_one_verifies() -> None:
    old, new = new_secret(), new_secret()
    both = headers(new, old)
    assert len(both["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        Webhook(shown(secret)).verify(BODY, both)


def test_a_secret_has_the_standards_form() -> None:
    secret = new_secret()
    assert shown(secret).startswith(PREFIX)
    assert 24 <= len(secret) <= 64
    assert secret != new_secret()


def test_a_sealed_secret_opens_for_its_owner_and_with_its_key_alone() -> None:
    safe, secret, endpoint_id = Safe(b"k" * 32), new_secret(), uuid.uuid4()
    owner = owner_of_endpoint(endpoint_id)
    sealed = safe.sealed(secret, owner)
    assert secret not in sealed
    assert sealed != safe.sealed(secret, owner)
    assert safe.opened(sealed, owner) == secret
    assert safe.opened(sealed, owner_of_endpoint(uuid.uuid4())) is None
    assert safe.opened(sealed, owner_of_callbacks(1)) is None
    assert Safe(b"j" * 32).opened(sealed, owner) is None
    assert safe.opened(sealed[:-1] + bytes([sealed[-1] ^ 1]), owner) is None


def test_without_a_secret_key_nothing_can_be_sealed() -> None:
    with pytest.raises(SettingsError, match="FACEBATCH_SECRET_KEY"):
        Safe.from_settings(load_settings({}, dotenv=None))


def test_safes_of_one_key_open_each_others_secrets() -> None:
    settings = load_settings({}, dotenv=None).model_copy(update={"secret_key": SecretStr("s" * 32)})
    sealed = Safe.from_settings(settings).sealed(b"x" * 32, b"owner")
    assert Safe.from_settings(settings).opened(sealed, b"owner") == b"x" * 32


def test_ten_attempts_take_about_75_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = [pause_s(attempt) for attempt in range(1, MAX_ATTEMPTS)]
    assert MAX_ATTEMPTS == 10
    assert pause_s(MAX_ATTEMPTS) is None
    assert pauses == sorted(pauses)
    monkeypatch.setattr(random, "uniform", lambda low, high: (low + high) / 2)
    total = sum(pause_s(attempt) or 0 for attempt in range(1, MAX_ATTEMPTS))
    assert 75 <= total / 3600 < 76


def test_a_pause_differs_each_time() -> None:
    assert len({pause_s(5) for _ in range(20)}) > 10


def test_a_receiver_may_ask_for_a_longer_pause_within_a_day() -> None:
    assert pause_s(1, 600) == 600
    assert pause_s(1, 10 * LONGEST_WISH_S) == LONGEST_WISH_S
    usual = pause_s(4, 60)
    assert usual is not None
    assert usual > 3600  # The schedule's own is longer.
    assert pause_s(MAX_ATTEMPTS, 60) is None


def test_a_payload_has_ids_counts_and_links_and_nothing_else() -> None:
    job_id, subject_id = uuid.uuid4(), uuid.uuid4()
    event = EventView(
        id=EVENT,
        type=EventType.MATCH_FOUND,
        sequence=7,
        created_at=dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        job_id=job_id,
        item_id=12,
        subject_id=subject_id,
        data={"gallery": "g", "round": 1},
    )
    assert body_of(event) == body_of(event)
    assert body_of(event).decode() == (
        '{"type":"match.found","timestamp":"2026-01-02T03:04:05Z","sequence":7,"data":'
        f'{{"job":"{job_id}","item":12,"subject":"{subject_id}","gallery":"g","round":1,'
        f'"links":{{"job":"/v1/jobs/{job_id}","results":"/v1/jobs/{job_id}/results?item=12",'
        f'"subject":"/v1/galleries/g/subjects/{subject_id}"}}}}}}'
    )
