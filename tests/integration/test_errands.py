"""Errands: listings and exports leave workers to photos, and tenants take turns at them."""

import contextlib
import json
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import redis
from ledger_kit import Kit, item
from pydantic import SecretStr
from source_kit import Lister, prefix
from sqlalchemy import text

from db.control import cancel_job
from db.errands import Errand, dispatch_errands
from db.exports.formats import Wanted
from db.exports.queue import create_export
from db.nudge import CROP, DUE, EVENTS, URGENT, Listener, notify, notify_crop
from db.session import transaction
from db.states import ExportFormat, JobPriority
from db.tenants import ensure_tenant
from workers.celery_app import (
    LIST_SOURCE,
    PROCESS_CHUNK,
    QUEUE,
    URGENT_QUEUE,
    WRITE_EXPORT,
    make_celery,
)
from workers.dispatcher import (
    Dispatcher,
    QueueUnavailableError,
    await_nudge,
    send_for_who_waits,
)


def other(lister: Lister, name: str) -> Lister:
    """Another tenant."""
    with transaction(lister.kit.database) as session:
        tenant_id = ensure_tenant(session, name)
    return replace(lister, kit=Kit(database=lister.kit.database, tenant_id=tenant_id))


def to_list(lister: Lister, count: int = 1, **wanted: object) -> uuid.UUID:
    """A job with so many sources that are due."""
    return lister.job(*(prefix(lister.folder()) for _ in range(count)), **wanted)


def to_export(lister: Lister, job_id: uuid.UUID, count: int = 1) -> None:
    wanted = Wanted(tenant_id=lister.kit.tenant_id, job_id=job_id, format=ExportFormat.CSV)
    for _ in range(count):
        with transaction(lister.kit.database) as session:
            create_export(session, wanted, keep_for=timedelta(days=1))


def sent(lister: Lister, *, in_flight: int, after: int = 0) -> list[Errand]:
    with transaction(lister.kit.database) as session:
        return dispatch_errands(session, in_flight=in_flight, after=after)


def tasks(queue: redis.Redis) -> Counter[str]:
    """What was sent to the bulk workers."""
    messages = queue.lrange(QUEUE, 0, -1)
    return Counter(json.loads(one)["headers"]["task"] for one in messages)


@pytest.mark.parametrize(("processes", "allowed"), [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3)])
def test_listings_and_exports_together_leave_half_of_the_workers_to_photos(
    lister: Lister, queue: redis.Redis, processes: int, allowed: int
) -> None:
    to_export(lister, to_list(lister, 4), 4)
    settings = lister.settings.model_copy(update={"worker_processes": processes})
    dispatcher = Dispatcher(settings, lister.kit.database, make_celery(settings))
    assert [dispatcher.send_due() for _ in range(3)] == [allowed, 0, 0]
    counted = tasks(queue)
    assert counted.total() == counted[LIST_SOURCE] + counted[WRITE_EXPORT] == allowed


def test_one_of_either_kind_counts_against_the_other(lister: Lister) -> None:
    job_id = to_list(lister)
    first = sent(lister, in_flight=1)
    to_export(lister, job_id)
    assert (len(first), sent(lister, in_flight=1)) == (1, [])
    lister.execute("UPDATE source SET state = 'running', lease_until = now()")
    assert sent(lister, in_flight=1) == []
    lister.execute("DELETE FROM source")
    (export,) = sent(lister, in_flight=1)
    assert export.kind.value == "export"
    to_list(lister)
    assert sent(lister, in_flight=1) == []


def test_the_tenant_that_has_the_fewest_errands_goes_first(lister: Lister) -> None:
    stranger = other(lister, "stranger")
    to_export(lister, to_list(lister, 6), 2)
    assert len(sent(lister, in_flight=2)) == 2
    to_export(stranger, to_list(stranger), 3)
    more = sent(lister, in_flight=5)
    assert [one.tenant_id for one in more[:2]] == [stranger.kit.tenant_id] * 2
    assert Counter(one.tenant_id for one in more)[stranger.kit.tenant_id] >= 2
    ours = sum(one.tenant_id == lister.kit.tenant_id for one in more) + 2
    assert ours <= 3


def test_tenants_take_turns_where_there_is_room_for_one(lister: Lister, queue: redis.Redis) -> None:
    everybody = [lister, *(other(lister, name) for name in ("anna", "bert"))]
    for one in everybody:
        to_list(one, 8)
    settings = lister.settings.model_copy(update={"worker_processes": 1})
    dispatcher = Dispatcher(settings, lister.kit.database, make_celery(settings))
    served = []
    for _ in range(6):
        assert dispatcher.send_due() == 1
        under_way = "DELETE FROM source WHERE dispatched_at IS NOT NULL RETURNING tenant_id"
        with transaction(lister.kit.database) as session:
            served.append(session.execute(text(under_way)).scalar_one())
    assert Counter(served) == {one.kit.tenant_id: 2 for one in everybody}


def test_a_low_priority_waits_until_nothing_else_is_due(lister: Lister) -> None:
    stranger = other(lister, "stranger")
    to_list(stranger, 1, priority=JobPriority.LOW)
    normal = to_list(lister, 2)
    to_export(lister, normal, 1)
    first = sent(lister, in_flight=3)
    assert {one.tenant_id for one in first} == {lister.kit.tenant_id}
    assert [one.tenant_id for one in sent(lister, in_flight=4)] == [stranger.kit.tenant_id]


def test_who_waits_is_not_kept_by_listings_or_by_photos_that_can_wait(
    lister: Lister, queue: redis.Redis
) -> None:
    to_list(lister, 2)
    kit = lister.kit
    kit.job(item("a"), item("b"))
    kit.job(item("c"), priority=JobPriority.INTERACTIVE)
    dispatcher = Dispatcher(lister.settings, kit.database, make_celery(lister.settings))
    dispatcher.send_urgent({CROP, ""})
    assert (queue.llen(URGENT_QUEUE), tasks(queue)) == (0, {})
    dispatcher.send_urgent({URGENT})
    assert (queue.llen(URGENT_QUEUE), tasks(queue)) == (1, {})
    assert dispatcher.send_due() > 1
    assert set(tasks(queue)) == {LIST_SOURCE, PROCESS_CHUNK}


def test_who_comes_while_others_are_let_come_waits_for_nobody(
    lister: Lister, queue: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit = lister.kit
    dispatcher = Dispatcher(lister.settings, kit.database, make_celery(lister.settings))
    dispatcher.gather_s = 600.0
    kit.job(item("a"), priority=JobPriority.INTERACTIVE)

    def nudges() -> Iterator[str]:
        kit.job(item("b"))
        yield ""
        assert queue.llen(URGENT_QUEUE) == 1
        kit.job(item("c"), priority=JobPriority.INTERACTIVE)
        yield URGENT

    come = nudges()
    listener = Listener("", DUE)
    monkeypatch.setattr(listener, "wait", lambda _s: [next(come)])
    with pytest.raises(StopIteration):
        send_for_who_waits(dispatcher, listener, {URGENT})
    assert (queue.llen(URGENT_QUEUE), tasks(queue)) == (2, {})


def test_a_nudge_says_whether_somebody_waits(kit: Kit) -> None:
    url = kit.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with contextlib.closing(Listener(url, DUE)) as listener:
        assert await_nudge(listener, 0.01, 0.01) == set()
        for nudged, words in (
            (notify, set()),
            (lambda session: notify(session, urgent=True), {URGENT}),
            (notify_crop, {CROP}),
        ):
            with transaction(kit.database) as session:
                nudged(session)
            assert await_nudge(listener, 30, 0.01) == words


@pytest.mark.parametrize("keep_for", [None, timedelta(minutes=5)], ids=["told", "quiet"])
def test_a_job_that_ends_wakes_the_couriers_unless_nobody_is_told(
    kit: Kit, keep_for: timedelta | None
) -> None:
    url = kit.database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with contextlib.closing(Listener(url, EVENTS)) as listener:
        assert listener.wait(0.01) == []
        cancelled = kit.job(item("a"), keep_for=keep_for)
        with transaction(kit.database) as session:
            cancel_job(session, kit.tenant_id, cancelled)
        # All words of a commit are there as soon as it is done.
        assert len(listener.wait(0.5 if keep_for else 30)) == (0 if keep_for else 1)


def test_errands_stay_due_where_the_queue_is_away(lister: Lister, queue: redis.Redis) -> None:
    to_export(lister, to_list(lister), 1)
    settings = lister.settings.model_copy(update={"worker_processes": 4})
    nowhere = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with pytest.raises(QueueUnavailableError):
        Dispatcher(nowhere, lister.kit.database, make_celery(nowhere)).send_due()
    assert Dispatcher(settings, lister.kit.database, make_celery(settings)).send_due() == 2
    assert tasks(queue) == {LIST_SOURCE: 1, WRITE_EXPORT: 1}


def test_what_another_connection_holds_is_passed_over(lister: Lister) -> None:
    job_id = to_list(lister)
    to_export(lister, job_id)
    with transaction(lister.kit.database) as session:
        session.execute(text("SELECT id FROM source FOR UPDATE"))
        assert [one.kind.value for one in sent(lister, in_flight=2)] == ["export"]
    assert [one.kind.value for one in sent(lister, in_flight=2)] == ["source"]
