"""Deliveries: signed, tried again, given up, replayed; and nobody waits for anybody else."""

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hooks_kit import Hooks
from ledger_kit import Kit, as_owner, done, item, photo_of
from receiver_kit import OK, Receiver, receiving
from sqlalchemy import text
from standardwebhooks.webhooks import WebhookVerificationError

from db import erase_jobs
from db.session import transaction
from db.states import EventType
from db.webhooks import endpoints, log
from db.webhooks.deliveries import _DUE, Room, claim_deliveries
from db.webhooks.endpoints import EndpointChange
from db.webhooks.events import give_out
from db.webhooks.secrets import shown

FAILS = (500, {}, b"sorry")


def ended(hooks: Hooks, **wanted: object) -> uuid.UUID:
    """A job that has ended."""
    job_id = hooks.kit.job(item(uuid.uuid4().hex), **wanted)
    hooks.kit.record(done(*hooks.kit.claim_all(), photo_of(1)))
    return job_id


def tried(hooks: Hooks, times: int) -> None:
    """All that is due is sent, and again as soon as its pause is over, so many times in all."""
    for _ in range(times):
        hooks.due_now()
        hooks.send()


def callback_secret(hooks: Hooks) -> str:
    with transaction(hooks.kit.database) as session:
        _, secret = endpoints.rotate_callback_secret(
            session, hooks.kit.tenant_id, hooks.safe, overlap=dt.timedelta(0)
        )
    return shown(secret)


def test_an_event_arrives_and_verifies(hooks: Hooks) -> None:
    with receiving() as receiver:
        _, secret = hooks.endpoint(receiver.url)
        job_id = ended(hooks)
        hooks.send()
    (call,) = receiver.calls
    event = call.verify(secret)
    assert event == call.event
    assert (event["type"], event["sequence"]) == ("job.completed", 1)
    assert event["data"]["job"] == str(job_id)
    assert event["data"]["counts"]["done"] == 1
    (delivery,) = hooks.deliveries()
    assert (delivery.state, delivery.attempt) == ("delivered", 1)
    (attempt,) = hooks.attempts()
    assert (attempt.status, attempt.error_code, attempt.answer) == (200, None, "thanks")


def test_a_callback_of_one_job_is_signed_with_the_callbacks_secret(hooks: Hooks) -> None:
    secret = callback_secret(hooks)
    with receiving() as receiver:
        job_id = ended(hooks, callback_url=receiver.url)
        ended(hooks)
        hooks.send()
    (call,) = receiver.calls
    assert call.verify(secret)["data"]["job"] == str(job_id)


def test_the_same_event_goes_out_under_the_same_id_until_it_arrives(hooks: Hooks) -> None:
    with receiving(FAILS, FAILS, OK) as receiver:
        _, secret = hooks.endpoint(receiver.url)
        ended(hooks)
        tried(hooks, 4)
    assert len(receiver.calls) == 3
    assert len({(call.event_id, call.body) for call in receiver.calls}) == 1
    assert all(call.verify(secret) for call in receiver.calls)
    assert [one.status for one in hooks.attempts()] == [500, 500, 200]
    assert hooks.attempts()[0].answer == "sorry"


def test_a_pause_is_as_long_as_the_schedule_says(hooks: Hooks) -> None:
    with receiving(FAILS) as receiver:
        hooks.endpoint(receiver.url)
        ended(hooks)
        seen = []
        for _ in range(9):
            hooks.due_now()
            hooks.send()
            (row,) = hooks.execute(
                "SELECT state, extract(epoch FROM due_at - now()) AS s FROM webhook_delivery"
            )
            assert row.state == "waiting"
            seen.append(float(row.s))
        hooks.due_now()
        hooks.send()
        assert len(receiver.calls) == 10
        tried(hooks, 1)
    assert len(receiver.calls) == 10
    assert [one.state for one in hooks.deliveries()] == ["failed"]
    hours = (5 / 3600, 5 / 60, 0.5, 2, 5, 10, 14, 20, 24)
    for pause_s, wanted in zip(seen, hours, strict=True):
        assert wanted * 0.8 - 0.01 < pause_s / 3600 <= wanted * 1.1


@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_for_time_gets_it(hooks: Hooks, status: int) -> None:
    with receiving((status, {"Retry-After": "7200"}, b"")) as receiver:
        hooks.endpoint(receiver.url)
        ended(hooks)
        hooks.send()
    (row,) = hooks.execute("SELECT extract(epoch FROM due_at - now()) AS s FROM webhook_delivery")
    assert 7100 < row.s <= 7200


def test_a_receiver_may_name_a_moment_and_not_one_that_is_too_far(hooks: Hooks) -> None:
    with receiving((503, {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}, b"")) as receiver:
        hooks.endpoint(receiver.url)
        ended(hooks)
        hooks.send()
    (row,) = hooks.execute("SELECT extract(epoch FROM due_at - now()) AS s FROM webhook_delivery")
    assert 23 * 3600 < row.s <= 24 * 3600


def test_a_receiver_that_is_gone_is_disabled_at_once_and_the_others_are_told(
    hooks: Hooks,
) -> None:
    with receiving((410, {}, b"")) as gone, receiving() as other:
        endpoint, _ = hooks.endpoint(gone.url)
        hooks.endpoint(other.url, EventType.ENDPOINT_DISABLED)
        ended(hooks)
        hooks.send()
        hooks.send()
        ended(hooks)
        hooks.send()
    assert len(gone.calls) == 1
    view = hooks.view(endpoint.id)
    assert (view.is_enabled, view.disabled_reason) == (False, "gone")
    assert [call.event["data"] for call in other.calls] == [
        {
            "endpoint": str(endpoint.id),
            "reason": "gone",
            "links": {"webhook": f"/v1/webhooks/{endpoint.id}"},
        }
    ]


def aged(hooks: Hooks, *, failing: str, last: str) -> None:
    """As if failures had begun and last happened so long ago."""
    hooks.execute(f"""
        UPDATE webhook_endpoint SET failing_since = now() - interval '{failing}',
                                    last_failed_at = now() - interval '{last}'
    """)


def test_whoever_fails_for_five_days_is_disabled_and_gives_up_what_waits(hooks: Hooks) -> None:
    with receiving(FAILS) as receiver:
        endpoint, _ = hooks.endpoint(receiver.url)
        ended(hooks)
        hooks.send()
        assert hooks.view(endpoint.id).failing_since is not None
        aged(hooks, failing="4 days 23 hours", last="20 hours")
        tried(hooks, 1)
        assert hooks.view(endpoint.id).is_enabled
        ended(hooks)
        aged(hooks, failing="5 days 1 minute", last="20 hours")
        tried(hooks, 1)
    view = hooks.view(endpoint.id)
    assert (view.is_enabled, view.disabled_reason) == (False, "failing")
    assert {one.state for one in hooks.deliveries()} == {"failed"}
    assert len(hooks.events("endpoint.disabled")) == 1


def test_one_success_between_begins_the_five_days_anew(hooks: Hooks) -> None:
    with receiving(FAILS, OK, FAILS) as receiver:
        endpoint, _ = hooks.endpoint(receiver.url)
        ended(hooks)
        hooks.send()
        aged(hooks, failing="4 days", last="1 hour")
        tried(hooks, 1)
        assert hooks.view(endpoint.id).failing_since is None
        ended(hooks)
        hooks.send()
    assert hooks.view(endpoint.id).is_enabled


def test_a_failure_long_after_the_last_is_the_first_of_new_ones(hooks: Hooks) -> None:
    with receiving(FAILS) as receiver:
        endpoint, _ = hooks.endpoint(receiver.url)
        ended(hooks)
        hooks.send()
        aged(hooks, failing="20 days", last="17 days")  # Nothing happened in between.
        tried(hooks, 1)
    assert hooks.view(endpoint.id).is_enabled


def rotated(hooks: Hooks, endpoint_id: uuid.UUID, *, overlap_s: int) -> str:
    with transaction(hooks.kit.database) as session:
        _, secret = endpoints.rotate_secret(
            session,
            hooks.kit.tenant_id,
            endpoint_id,
            hooks.safe,
            overlap=dt.timedelta(seconds=overlap_s),
        )
    return shown(secret)


def test_a_secret_that_is_rotated_between_two_attempts_signs_the_second_too(
    hooks: Hooks,
) -> None:
    with receiving(FAILS, OK) as receiver:
        endpoint, old = hooks.endpoint(receiver.url)
        ended(hooks)
        hooks.send()
        new = rotated(hooks, endpoint.id, overlap_s=3600)
        tried(hooks, 1)
    first, second = receiver.calls
    first.verify(old)
    with pytest.raises(WebhookVerificationError):
        first.verify(new)
    assert len(second.headers["webhook-signature"].split(" ")) == 2
    second.verify(old)
    second.verify(new)
    assert first.event_id == second.event_id


def test_when_the_overlap_is_over_the_old_secret_signs_nothing_more(hooks: Hooks) -> None:
    with receiving() as receiver:
        endpoint, old = hooks.endpoint(receiver.url)
        new = rotated(hooks, endpoint.id, overlap_s=3600)
        hooks.execute("UPDATE webhook_endpoint SET previous_until = now() - interval '1 s'")
        ended(hooks)
        hooks.send()
    receiver.calls[0].verify(new)
    with pytest.raises(WebhookVerificationError):
        receiver.calls[0].verify(old)
    assert hooks.view(endpoint.id).previous_until is None


def test_an_endpoint_that_hangs_holds_nobody_else_up(hooks: Hooks) -> None:
    with receiving(held=True) as slow, receiving() as quick:
        hooks.endpoint(slow.url)
        hooks.endpoint(quick.url)
        for _ in range(30):
            ended(hooks)
        with hooks.courier() as courier:
            courier.send_until(lambda: len(quick.calls) == 30)
            held_up = len(slow.calls)
            slow.gate.set()
            courier.send_until(lambda: len(slow.calls) == 30)
    assert 0 < held_up <= 8  # At a time, to one endpoint.


def test_an_endpoint_that_fails_is_asked_one_at_a_time(hooks: Hooks) -> None:
    with receiving(FAILS) as receiver:
        hooks.endpoint(receiver.url)
        ended(hooks)
        hooks.send()
        for _ in range(5):
            ended(hooks)
        hooks.send()
    assert len(receiver.calls) == 2


def test_callbacks_to_one_host_share_its_limit(hooks: Hooks) -> None:
    callback_secret(hooks)
    with receiving(held=True) as slow, receiving() as quick:
        for n in range(12):
            url = f"{slow.url}/{n}"
            ended(hooks, callback_url=url.replace("http:", "HTTP:") if n % 2 else url)
        ended(hooks, callback_url=quick.url)
        with hooks.courier() as courier:
            courier.send_until(lambda: quick.calls)
            assert len(slow.calls) <= 8
            slow.gate.set()
            courier.send_until(lambda: len(slow.calls) == 12)


def test_no_tenant_has_all_of_the_room(hooks: Hooks, stranger: Kit) -> None:
    theirs = Hooks(kit=stranger, settings=hooks.settings)
    for one in (hooks, theirs):
        for _ in range(3):
            one.endpoint("http://127.0.0.1:9/")
        for _ in range(4):
            ended(one)
    room = Room(free=20, lane=3, tenant=5)
    with transaction(hooks.kit.database) as session:
        give_out(session)
        first = claim_deliveries(session, room, lease_s=60)
        assert claim_deliveries(session, room, lease_s=60) == []
    assert Counter(one.tenant_id for one in first) == {
        hooks.kit.tenant_id: 5,
        stranger.tenant_id: 5,
    }
    assert max(Counter(one.endpoint_id for one in first).values()) <= 3


def test_a_long_line_before_one_endpoint_is_not_read(hooks: Hooks) -> None:
    hooks.endpoint("http://127.0.0.1:9/")
    ended(hooks)
    with transaction(hooks.kit.database) as session:
        give_out(session)
        session.execute(
            text("""
                INSERT INTO event (id, tenant_id, type, sequence)
                SELECT gen_random_uuid(), tenant_id, 'endpoint.disabled', n
                FROM event, generate_series(2, 20000) AS n
            """)
        )
        session.execute(
            text("""
                INSERT INTO webhook_delivery (id, tenant_id, event_id, endpoint_id, lane, state)
                SELECT gen_random_uuid(), event.tenant_id, event.id, e.id, e.id::text, 'waiting'
                FROM event, webhook_endpoint AS e WHERE sequence > 1
            """)
        )
        as_owner(session)
        session.execute(text("ANALYZE webhook_delivery"))
    room = {"free": 10, "lane": 2, "tenant": 10}
    with transaction(hooks.kit.database) as session:
        plan = session.scalars(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {_DUE}"), room).one()
    assert max(rows_of(plan[0]["Plan"])) <= 10


def rows_of(plan: dict[str, Any]) -> Iterator[int]:
    """How many rows each step of a plan has handed on."""
    yield plan["Actual Rows"] * plan["Actual Loops"]
    for below in plan.get("Plans", []):
        yield from rows_of(below)


def test_two_couriers_send_nothing_twice(hooks: Hooks) -> None:
    with receiving() as receiver:
        hooks.endpoint(receiver.url)
        for _ in range(20):
            ended(hooks)
        with hooks.courier() as first, hooks.courier() as second:
            for _ in range(4):
                first.send_all()
                second.send_all()
    assert len(receiver.calls) == len({call.event_id for call in receiver.calls}) == 20


def replayed(hooks: Hooks, delivery_id: uuid.UUID) -> None:
    with transaction(hooks.kit.database) as session:
        log.replay(session, hooks.kit.tenant_id, delivery_id)


def test_a_delivery_is_replayed_under_its_own_id(hooks: Hooks) -> None:
    with receiving() as receiver:
        hooks.endpoint(receiver.url)
        ended(hooks)
        hooks.send()
        replayed(hooks, hooks.deliveries()[0].id)
        hooks.send()
    first, second = receiver.calls
    assert (first.event_id, first.body) == (second.event_id, second.body)
    assert len(hooks.attempts()) == 2


def test_all_since_a_moment_is_replayed_with_what_came_while_it_was_off(hooks: Hooks) -> None:
    tenant = hooks.kit.tenant_id

    def switched(*, on: bool) -> None:
        with transaction(hooks.kit.database) as session:
            endpoints.change_endpoint(session, tenant, endpoint.id, EndpointChange(enabled=on))

    def since(at: dt.datetime, *, delivered_too: bool) -> int:
        with transaction(hooks.kit.database) as session:
            return log.replay_since(session, tenant, endpoint.id, at, delivered_too=delivered_too)

    with receiving() as receiver:
        endpoint, _ = hooks.endpoint(receiver.url)
        jobs = [ended(hooks)]
        hooks.send()
        switched(on=False)
        jobs.append(ended(hooks))
        hooks.send()
        switched(on=True)
        (first, second) = hooks.events("job.completed")
        assert len(receiver.calls) == 1
        assert since(second.created_at + dt.timedelta(days=1), delivered_too=True) == 0
        assert since(first.created_at, delivered_too=False) == 1
        hooks.send()
        assert [one.event["data"]["job"] for one in receiver.calls] == [str(one) for one in jobs]
        assert since(first.created_at, delivered_too=True) == 2
        hooks.send()
        assert since(first.created_at, delivered_too=False) == 0
    assert len(receiver.calls) == 4


def test_a_test_goes_to_its_endpoint_alone_whatever_that_wants(hooks: Hooks) -> None:
    with receiving() as asked, receiving() as other:
        endpoint, secret = hooks.endpoint(asked.url)
        hooks.endpoint(other.url)
        with transaction(hooks.kit.database) as session:
            event_id = endpoints.test_endpoint(session, hooks.kit.tenant_id, endpoint.id)
        hooks.send()
    (call,) = asked.calls
    assert call.event_id == str(event_id)
    assert call.verify(secret)["type"] == "endpoint.test"
    assert other.calls == []


def while_sending(hooks: Hooks, receiver: Receiver, change: str) -> None:
    """Makes a change in the database between an event's arrival and the receiver's answer."""
    with hooks.courier() as courier:
        courier.send_until(lambda: receiver.calls)
        hooks.execute(change)
        receiver.gate.set()
        courier.send_all()


def test_an_endpoint_that_is_deleted_while_something_is_sent_to_it_is_gone(hooks: Hooks) -> None:
    with receiving(held=True) as receiver:
        hooks.endpoint(receiver.url)
        ended(hooks)
        while_sending(hooks, receiver, "DELETE FROM webhook_endpoint")
    assert hooks.deliveries() == hooks.attempts() == []


def test_an_endpoint_that_is_disabled_while_something_is_sent_gets_nothing_more(
    hooks: Hooks,
) -> None:
    with receiving(FAILS, held=True) as receiver:
        hooks.endpoint(receiver.url)
        ended(hooks)
        off = "UPDATE webhook_endpoint SET is_enabled = false, disabled_reason = 'owner'"
        while_sending(hooks, receiver, off)
        tried(hooks, 2)
    assert len(receiver.calls) == 1
    assert [one.state for one in hooks.deliveries()] == ["failed"]


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM webhook_endpoint",
        "UPDATE webhook_endpoint SET is_enabled = false, disabled_reason = 'owner'",
    ],
)
def test_an_endpoint_that_goes_while_events_are_given_out_gets_none(
    hooks: Hooks, change: str
) -> None:
    hooks.endpoint("http://127.0.0.1:9/")
    ended(hooks)

    def giving() -> int:
        with transaction(hooks.kit.database) as session:
            return give_out(session)

    with ThreadPoolExecutor(1) as pool:
        with transaction(hooks.kit.database) as session:
            session.execute(text(change))
            given = pool.submit(giving)
            with pytest.raises(TimeoutError):
                given.result(timeout=0.5)
        assert given.result() == 1
    assert hooks.deliveries() == []


def test_a_job_that_is_deleted_while_its_end_is_told_changes_nothing(hooks: Hooks) -> None:
    with receiving(held=True) as receiver:
        hooks.endpoint(receiver.url)
        job_id = ended(hooks)
        with hooks.courier() as courier:
            courier.send_until(lambda: receiver.calls)
            with transaction(hooks.kit.database) as session:
                erase_jobs.begin_delete(session, hooks.kit.tenant_id, job_id)
                while erase_jobs.delete_some(session, job_id) is not None:
                    pass
            receiver.gate.set()
            courier.send_all()
    assert [one.state for one in hooks.deliveries()] == ["delivered"]


def test_a_courier_that_stops_hands_back_what_it_has_not_finished(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.courier.STOP_S", 0.1)
    with receiving(held=True) as receiver:
        hooks.endpoint(receiver.url)
        ended(hooks)
        with hooks.courier() as courier:
            courier.send_until(lambda: receiver.calls)
        (delivery,) = hooks.deliveries()
        assert (delivery.state, delivery.attempt) == ("waiting", 0)


def test_what_a_lost_courier_was_sending_is_sent_again_and_counts(hooks: Hooks) -> None:
    with receiving() as receiver:
        hooks.endpoint(receiver.url)
        ended(hooks)
        hooks.send()
        hooks.execute("""
            UPDATE webhook_delivery SET state = 'sending', lease_until = now() - interval '1 s'
        """)
        hooks.send()
        assert [one.attempt for one in hooks.deliveries()] == [2]
        hooks.execute("""
            UPDATE webhook_delivery
            SET state = 'sending', lease_until = now() - interval '1 s', attempt = 10
        """)
        hooks.send()
    assert len(receiver.calls) == 2
    (delivery,) = hooks.deliveries()
    assert (delivery.state, delivery.error_code) == ("failed", "courier_lost")


def test_whoever_has_lost_a_delivery_records_nothing_of_it(hooks: Hooks) -> None:
    with receiving(held=True) as receiver:
        hooks.endpoint(receiver.url)
        ended(hooks)
        while_sending(hooks, receiver, "UPDATE webhook_delivery SET fence = fence + 1")
    assert hooks.attempts() == []
    assert [one.state for one in hooks.deliveries()] == ["sending"]


def test_a_secret_of_another_key_is_told_and_nothing_is_sent_unsigned(hooks: Hooks) -> None:
    with receiving() as receiver:
        hooks.endpoint(receiver.url)
        hooks.execute("UPDATE webhook_endpoint SET secret = decode(repeat('00', 60), 'hex')")
        ended(hooks)
        hooks.send()
    assert receiver.calls == []
    assert [one.error_code for one in hooks.attempts()] == ["secret_unreadable"]
