"""Webhooks over HTTP: made, changed, rotated, looked at and replayed, by their owner alone."""

import json
import re
import uuid

import pytest
from api_kit import NOWHERE, Api, BackgroundWorker, image, made, refused
from hooks_kit import Hooks
from ledger_kit import Kit
from pydantic import SecretStr
from receiver_kit import receiving

from db.settings import Settings
from web.app import create_app

URL = "https://example.com/hook"
WEBHOOK = {"url": URL, "events": ["job.completed"]}


@pytest.fixture
def hooks(local: Kit, settings: Settings) -> Hooks:
    """The tenant for whom the API works; its webhooks may go to loopback."""
    return Hooks(
        kit=local, settings=settings.model_copy(update={"webhook_networks": "127.0.0.0/8"})
    )


@pytest.fixture
def api(hooks: Hooks) -> Api:
    return Api(create_app(hooks.settings).test_client())


@pytest.fixture
def theirs(hooks: Hooks, stranger: Kit) -> str:
    """A webhook of another tenant."""
    endpoint, _ = Hooks(kit=stranger, settings=hooks.settings).endpoint(URL)
    return str(endpoint.id)


def test_a_webhook_shows_its_secret_once(api: Api) -> None:
    answer = api.post("/v1/webhooks", json=WEBHOOK)
    webhook = answer.json
    made(answer)
    assert answer.headers["Location"] == f"/v1/webhooks/{webhook['id']}"
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", webhook["secret"])
    read = api.get(answer.headers["Location"])
    assert read.json == {name: webhook[name] for name in webhook if name != "secret"}
    listed = api.get("/v1/webhooks").json
    assert listed == {"webhooks": [read.json], "next_cursor": None}
    assert (read.json["url"], read.json["events"], read.json["enabled"]) == (
        URL,
        ["job.completed"],
        True,
    )


def test_no_secret_lies_in_the_database_as_it_is(api: Api, hooks: Hooks) -> None:
    webhook = api.post("/v1/webhooks", json=WEBHOOK).json
    (row,) = hooks.execute("SELECT webhook_endpoint::text AS whole FROM webhook_endpoint")
    assert webhook["secret"].removeprefix("whsec_") not in row.whole


@pytest.mark.parametrize(
    "url",
    [
        *("http://10.0.0.1/", "http://169.254.169.254/", "http://[::1]/", "http://2130706433/"),
        *("ftp://example.com/", "http://user@example.com/", "http://example.com:25/", "nonsense"),
    ],
)
def test_a_url_inside_is_refused_wherever_it_is_given(api: Api, url: str) -> None:
    refused(api.post("/v1/webhooks", json=WEBHOOK | {"url": url}), 422, "url_not_allowed")
    path = f"/v1/webhooks/{made(api.post('/v1/webhooks', json=WEBHOOK))}"
    refused(api.patch(path, json={"url": url}), 422, "url_not_allowed")
    job = {"kind": "detect", "callback_url": url}
    refused(api.post("/v1/jobs", json=job), 422, "url_not_allowed")
    refused(api.submit(("a.jpg", image()), **job), 422, "url_not_allowed")


@pytest.mark.parametrize(
    "change",
    [
        *({"events": []}, {"events": ["job.started"]}, {"events": ["endpoint.test"]}),
        *({"events": ["match.found"]}, {"subjects": [NOWHERE]}, {"url": ""}, {"url": 7}),
        *({"secret": "whsec_abc"}, {"enabled": "yes"}, {"url": "http://" + "a" * 2000}),
    ],
)
def test_a_webhook_of_another_form_is_refused(api: Api, change: dict) -> None:
    refused(api.post("/v1/webhooks", json=WEBHOOK | change), 422, "invalid_request")


def test_a_subject_to_watch_has_to_be_there(api: Api) -> None:
    watching = {"url": URL, "events": ["match.found"], "subjects": [NOWHERE]}
    refused(api.post("/v1/webhooks", json=watching), 404, "subject_not_found")
    subject = api.subject(api.gallery(), "Ann")
    path = f"/v1/webhooks/{made(api.post('/v1/webhooks', json=watching | {'subjects': [subject]}))}"
    assert api.get(path).json["subjects"] == [subject]
    refused(api.patch(path, json={"subjects": [NOWHERE]}), 404, "subject_not_found")
    assert api.get(path).json["subjects"] == [subject]


def test_a_webhook_is_changed_where_it_is_named_and_stays_as_it_is_else(api: Api) -> None:
    path = f"/v1/webhooks/{made(api.post('/v1/webhooks', json=WEBHOOK))}"
    before = api.get(path).json
    other = "https://example.org/other"
    assert api.patch(path, json={"url": other}).json["events"] == ["job.completed"]
    events = ["job.failed", "endpoint.disabled"]
    assert api.patch(path, json={"events": events}).json["url"] == other
    off = api.patch(path, json={"enabled": False}).json
    assert (off["enabled"], off["disabled_reason"]) == (False, "owner")
    refused(api.post(f"{path}/test"), 409, "webhook_disabled")
    refused(
        api.post(f"{path}/replay", json={"since": "2026-01-01T00:00:00Z"}), 409, "webhook_disabled"
    )
    on = api.patch(path, json={"enabled": True}).json
    assert (on["enabled"], on["disabled_reason"], on["disabled_at"]) == (True, None, None)
    assert (on["url"], on["events"], on["created_at"]) == (other, events, before["created_at"])
    refused(api.patch(path, json={}), 422, "invalid_request")


def test_there_is_room_for_so_many_webhooks(api: Api) -> None:
    for _ in range(50):
        made(api.post("/v1/webhooks", json=WEBHOOK))
    refused(api.post("/v1/webhooks", json=WEBHOOK), 409, "too_many_webhooks")
    first = api.get("/v1/webhooks", query_string={"limit": 30}).json
    rest = api.get("/v1/webhooks", query_string={"limit": 30, "cursor": first["next_cursor"]}).json
    ids = [one["id"] for one in first["webhooks"] + rest["webhooks"]]
    assert (len(ids), ids, rest["next_cursor"]) == (50, sorted(set(ids)), None)


def test_a_secret_is_rotated_and_says_how_long_the_old_one_holds(api: Api) -> None:
    webhook = api.post("/v1/webhooks", json=WEBHOOK).json
    path = f"/v1/webhooks/{webhook['id']}"
    rotated = api.post(f"{path}/rotate", json={"overlap_s": 3600}).json
    assert rotated["secret"] != webhook["secret"]
    assert api.get(path).json["previous_secret_until"] == rotated["previous_secret_until"]
    at_once = api.post(f"{path}/rotate", json={"overlap_s": 0}).json
    assert at_once["previous_secret_until"] is None


def test_a_deleted_webhook_is_gone(api: Api) -> None:
    path = f"/v1/webhooks/{made(api.post('/v1/webhooks', json=WEBHOOK))}"
    assert api.delete(path).status_code == 204
    refused(api.get(path), 404, "webhook_not_found")
    refused(api.delete(path), 404, "webhook_not_found")


def test_a_strangers_webhook_is_none(api: Api, theirs: str, hooks: Hooks) -> None:
    path = f"/v1/webhooks/{theirs}"
    for answer in (
        api.get(path),
        api.patch(path, json={"enabled": False}),
        api.post(f"{path}/rotate", json={}),
        api.post(f"{path}/test"),
        api.post(f"{path}/replay", json={"since": "2026-01-01T00:00:00Z"}),
        api.delete(path),
    ):
        refused(answer, 404, "webhook_not_found")
    assert api.get("/v1/webhooks").json["webhooks"] == []
    assert api.get("/v1/deliveries", query_string={"webhook": theirs}).json["deliveries"] == []
    assert len(hooks.execute("SELECT FROM webhook_endpoint WHERE is_enabled")) == 1


def test_a_strangers_delivery_is_none(api: Api, theirs: str, hooks: Hooks) -> None:
    hooks.execute(
        """
        INSERT INTO event (id, tenant_id, type, sequence)
        SELECT gen_random_uuid(), tenant_id, 'job.completed', 1 FROM webhook_endpoint
        WHERE id = :id
        """,
        id=theirs,
    )
    hooks.execute("""
        INSERT INTO webhook_delivery (id, tenant_id, event_id, endpoint_id, lane, state)
        SELECT gen_random_uuid(), event.tenant_id, event.id, webhook_endpoint.id, 'x', 'failed'
        FROM event, webhook_endpoint
    """)
    (delivery,) = hooks.deliveries()
    path = f"/v1/deliveries/{delivery.id}"
    for answer in (api.get(path), api.post(f"{path}/replay")):
        refused(answer, 404, "delivery_not_found")
    assert api.get("/v1/deliveries").json["deliveries"] == []
    assert [one.state for one in hooks.deliveries()] == ["failed"]


def test_a_callback_needs_a_secret_first(api: Api) -> None:
    job = {"kind": "detect", "callback_url": URL}
    refused(api.get("/v1/callback-secret"), 404, "callback_secret_missing")
    refused(api.post("/v1/jobs", json=job), 404, "callback_secret_missing")
    secret = api.post("/v1/callback-secret", json={}).json
    assert secret["secret"].startswith("whsec_")
    assert "secret" not in api.get("/v1/callback-secret").json
    read = api.get(f"/v1/jobs/{made(api.post('/v1/jobs', json=job))}").json
    assert read["callback_url"] == URL
    again = api.post("/v1/callback-secret", json={"overlap_s": 60}).json
    assert again["secret"] != secret["secret"]
    assert again["previous_secret_until"] is not None


def test_a_job_that_is_submitted_calls_back_and_the_log_tells_of_it(
    api: Api, worker: BackgroundWorker, hooks: Hooks
) -> None:
    secret = api.post("/v1/callback-secret", json={}).json["secret"]
    with receiving((200, {}, b"t\x00hanks" + b"!" * 2000)) as receiver:
        webhook = made(api.post("/v1/webhooks", json=WEBHOOK | {"url": receiver.url}))
        answer = api.submit(
            ("a.jpg", image()), wait=60, kind="detect", callback_url=receiver.url + "?me"
        )
        job = answer.json["job"]["id"]
        hooks.send()
    back = next(call for call in receiver.calls if call.path.endswith("?me"))
    event = back.verify(secret)
    assert event["data"]["links"] == {
        "job": f"/v1/jobs/{job}",
        "results": f"/v1/jobs/{job}/results",
    }
    assert api.get(event["data"]["links"]["results"]).json["job"]["id"] == job
    found = api.get("/v1/deliveries", query_string={"job": job}).json["deliveries"]
    assert {one["webhook"] for one in found} == {None, webhook}
    assert {one["event"] for one in found} == {back.event_id}
    of_webhook = api.get(
        "/v1/deliveries", query_string={"webhook": webhook, "state": "delivered"}
    ).json["deliveries"]
    assert of_webhook == [one for one in found if one["webhook"]]
    (attempt,) = of_webhook[0]["attempts"]
    assert (attempt["attempt"], attempt["status"], attempt["error"]) == (1, 200, None)
    assert attempt["answer"] == ("t\ufffdhanks" + "!" * 2000)[:1000]
    assert attempt["latency_ms"] >= 0
    assert api.get(f"/v1/deliveries/{found[0]['id']}").json == found[0]


def test_a_classic_request_tells_nobody_anything(
    api: Api, worker: BackgroundWorker, hooks: Hooks
) -> None:
    made(api.post("/v1/webhooks", json=WEBHOOK))
    for path, more in (("/recognize", {}), ("/register", {"name": "Ann"})):
        refused(api.send(path, [("a.jpg", image())], field="image", **more), 422, "no_face")
    assert hooks.events("job.completed") == []


def test_deliveries_come_in_pages_the_latest_first(
    api: Api, worker: BackgroundWorker, hooks: Hooks
) -> None:
    with receiving() as receiver:
        webhook = made(api.post("/v1/webhooks", json=WEBHOOK | {"url": receiver.url}))
        events = [api.post(f"/v1/webhooks/{webhook}/test").json["event"] for _ in range(3)]
        hooks.send()
    page = api.get("/v1/deliveries", query_string={"limit": 2}).json
    rest = api.get("/v1/deliveries", query_string={"limit": 2, "cursor": page["next_cursor"]}).json
    shown = page["deliveries"] + rest["deliveries"]
    assert {one["event"] for one in shown} == set(events)
    assert [one["id"] for one in shown] == sorted((one["id"] for one in shown), reverse=True)
    assert rest["next_cursor"] is None
    refused(api.get("/v1/deliveries", query_string={"cursor": "x"}), 400, "cursor_invalid")
    one = api.get("/v1/deliveries", query_string={"event": events[1]}).json["deliveries"]
    assert [found["event"] for found in one] == [events[1]]


def test_a_delivery_is_replayed_unless_it_is_being_sent(api: Api, hooks: Hooks) -> None:
    with receiving() as receiver:
        webhook = made(api.post("/v1/webhooks", json=WEBHOOK | {"url": receiver.url}))
        assert api.post(f"/v1/webhooks/{webhook}/test").status_code == 202
        hooks.send()
        (delivery,) = api.get("/v1/deliveries").json["deliveries"]
        path = f"/v1/deliveries/{delivery['id']}/replay"
        again = api.post(path)
        assert (again.status_code, again.json["state"]) == (202, "waiting")
        assert again.json["next_attempt_at"] is not None
        hooks.send()
        assert len(receiver.calls) == 2
        hooks.execute("UPDATE webhook_delivery SET state = 'sending', lease_until = now()")
        refused(api.post(path), 409, "delivery_under_way")
    api.patch(f"/v1/webhooks/{webhook}", json={"enabled": False})
    refused(api.post(path), 409, "webhook_disabled")
    refused(api.post(f"/v1/deliveries/{NOWHERE}/replay"), 404, "delivery_not_found")


def test_all_since_a_moment_is_replayed(api: Api, worker: BackgroundWorker, hooks: Hooks) -> None:
    accepted_job = api.submit(("a.jpg", image()), wait=60, kind="detect").json["job"]["id"]
    hooks.send()  # Before anybody wanted it.
    with receiving() as receiver:
        path = (
            f"/v1/webhooks/{made(api.post('/v1/webhooks', json=WEBHOOK | {'url': receiver.url}))}"
        )
        refused(api.post(f"{path}/replay", json={"since": "yesterday"}), 422, "invalid_request")
        refused(
            api.post(f"{path}/replay", json={"since": "2026-01-01T00:00:00"}),
            422,
            "invalid_request",
        )
        answer = api.post(f"{path}/replay", json={"since": "2026-01-01T00:00:00Z"})
        assert (answer.status_code, answer.json) == (202, {"deliveries": 1})
        hooks.send()
    assert [call.event["data"]["job"] for call in receiver.calls] == [accepted_job]


@pytest.mark.parametrize(
    "since",
    ["0026-06-06T22:18:56.3+22:55", "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"],
)
def test_a_moment_of_any_zone_and_year_is_one(api: Api, since: str) -> None:
    path = f"/v1/webhooks/{made(api.post('/v1/webhooks', json=WEBHOOK))}"
    answer = api.post(f"{path}/replay", json={"since": since})
    assert (answer.status_code, answer.json) == (202, {"deliveries": 0})


def test_a_match_leads_to_its_photo(api: Api, hooks: Hooks) -> None:
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    api.send(f"/v1/jobs/{job}/photos", [("a.jpg", image()), ("b.jpg", image(32))])
    (_, second) = hooks.execute("SELECT id FROM item ORDER BY id")
    found = api.get(f"/v1/jobs/{job}/results", query_string={"item": second.id}).json
    assert [one["name"] for one in found["results"]] == ["b.jpg"]
    assert found["next_cursor"] is None
    other = made(api.post("/v1/jobs", json={"kind": "detect"}))
    elsewhere = api.get(f"/v1/jobs/{other}/results", query_string={"item": second.id})
    assert elsewhere.json["results"] == []


def test_nobody_reads_a_secret_or_a_url_in_the_log(
    hooks: Hooks, capfd: pytest.CaptureFixture[str]
) -> None:
    api = Api(create_app(hooks.settings).test_client())
    with receiving() as receiver:
        url = receiver.url + "?token=hidden"
        secret = api.post("/v1/webhooks", json=WEBHOOK | {"url": url}).json
        api.post(f"/v1/webhooks/{secret['id']}/test")
        hooks.send()
        assert len(receiver.calls) == 1
    said = "".join(capfd.readouterr())
    assert "event_sent" in said
    assert secret["secret"] not in said
    assert "hidden" not in said


def test_without_a_secret_key_no_webhook_can_be_made(hooks: Hooks) -> None:
    bare = hooks.settings.model_copy(update={"secret_key": None})
    api = Api(create_app(bare).test_client())
    refused(api.post("/v1/webhooks", json=WEBHOOK), 500, "settings_invalid")
    other = hooks.settings.model_copy(update={"secret_key": SecretStr(uuid.uuid4().hex)})
    assert json.loads(Api(create_app(other).test_client()).get("/v1/webhooks").text)
