"""The queue carries hints: whatever happens to Redis, every photo is done, and done once."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import redis
from celery import Celery
from kombu import Consumer
from ledger_kit import Kit, item
from sqlalchemy import text
from worker_kit import PATIENCE_S, OwnQueue, StartWorker, photos, rows, wait_until

from db.dispatch import Chunk, Lane
from db.session import transaction
from db.settings import Settings
from db.states import JobState
from db.storage import ObjectStore
from workers.celery_app import QUEUE, make_celery, send_chunk
from workers.dispatcher import Dispatcher, QueueUnavailableError
from workers.reconciler import Reconciler


@pytest.fixture
def dispatcher(kit: Kit, settings: Settings, queue: redis.Redis) -> Dispatcher:
    return Dispatcher(settings, kit.database, make_celery(settings))


def send(app: Celery, ids: Sequence[int]) -> None:
    send_chunk(app, Chunk(item_ids=tuple(ids), lane=Lane.BULK))


def undelivered(kit: Kit) -> int:
    with transaction(kit.database) as session:
        query = "SELECT count(*) FROM item WHERE state = 'queued' AND dispatched_at IS NULL"
        return session.execute(text(query)).scalar_one()


def test_a_queue_that_is_emptied_loses_no_photo_and_one_that_stutters_does_none_twice(
    kit: Kit,
    settings: Settings,
    queue: redis.Redis,
    dispatcher: Dispatcher,
    start_worker: StartWorker,
) -> None:
    store = ObjectStore.from_settings(settings)
    reconciler = Reconciler(settings, kit.database, store)
    job_id = kit.job(*photos(store, 20))
    assert dispatcher.send_due() > 0
    assert queue.llen(QUEUE) > 0
    queue.flushall()
    assert dispatcher.send_due() == 0

    with transaction(kit.database) as session:
        session.execute(text("UPDATE item SET dispatched_at = now() - interval '1 h'"))
    reconciler.reconcile()
    assert undelivered(kit) == 20
    assert dispatcher.send_due() > 0
    ids = rows(kit, "id")
    for _ in range(3):
        send(make_celery(settings), ids)
    start_worker(settings)
    wait_until(lambda: kit.view(job_id).finished)
    send(make_celery(settings), ids)
    wait_until(lambda: queue.llen(QUEUE) == 0)

    view = kit.view(job_id)
    assert (view.state, view.n_no_face, view.n_items) == (JobState.SUCCEEDED, 20, 20)
    assert set(rows(kit, "fence")) == {1}


def test_photos_stay_due_while_the_queue_is_away(kit: Kit, own_queue: OwnQueue) -> None:
    settings = own_queue.settings
    dispatcher = Dispatcher(settings, kit.database, make_celery(settings))
    kit.job(item("a"), item("b"))
    with pytest.raises(QueueUnavailableError):
        dispatcher.send_due()
    assert undelivered(kit) == 2
    with own_queue.serving():
        assert dispatcher.send_due() > 0
    kit.job(item("c"))
    # Its connection is open, and the server behind it gone.
    with pytest.raises(QueueUnavailableError):
        dispatcher.send_due()
    assert undelivered(kit) == 1
    with own_queue.serving():
        assert dispatcher.send_due() == 1


def test_photos_stay_due_while_the_queue_takes_nothing(kit: Kit, own_queue: OwnQueue) -> None:
    settings = own_queue.settings
    dispatcher = Dispatcher(settings, kit.database, make_celery(settings))
    with own_queue.serving() as client:
        client.config_set("maxmemory", 1)
        kit.job(item("a"))
        with pytest.raises(QueueUnavailableError):
            dispatcher.send_due()
        assert undelivered(kit) == 1
        client.config_set("maxmemory", 0)
        assert dispatcher.send_due() == 1


def test_photos_stay_due_while_the_queue_hangs(kit: Kit, own_queue: OwnQueue) -> None:
    settings = own_queue.settings
    dispatcher = Dispatcher(settings, kit.database, make_celery(settings))
    with own_queue.serving() as client:
        kit.job(item("a"))
        assert dispatcher.send_due() == 1
        server = psutil.Process(client.info("server")["process_id"])
        server.suspend()
        try:
            kit.job(item("b"))
            with pytest.raises(QueueUnavailableError):
                dispatcher.send_due()
            assert undelivered(kit) == 1
        finally:
            server.resume()


def ended(kit: Kit, ids: Sequence[int]) -> int:
    query = text("SELECT count(*) FROM item WHERE id = ANY(:ids) AND state = 'no_face'")
    with transaction(kit.database) as session:
        return int(session.execute(query, {"ids": list(ids)}).scalar_one())


@contextlib.contextmanager
def no_claims(kit: Kit) -> Iterator[None]:
    """While it lasts, a worker waits at the claim of the chunk that it has begun."""
    with transaction(kit.database) as session:
        session.execute(text("LOCK TABLE item IN ACCESS EXCLUSIVE MODE"))
        yield


def test_a_worker_with_its_hands_full_outlives_one_queue_after_another(
    kit: Kit, own_queue: OwnQueue, start_worker: StartWorker
) -> None:
    kit.job(*photos(ObjectStore.from_settings(own_queue.settings), 6))
    ids = rows(kit, "id")
    start_worker(own_queue.settings)

    def kill_while_busy_with(first: int, second: int, *, emptied: bool) -> None:
        with no_claims(kit), own_queue.serving() as queue:
            for item_id in (first, second):
                send(make_celery(own_queue.settings), [item_id])
            wait_until(lambda: queue.llen(QUEUE) == 1)
        # It ends what it has begun, and there is no queue to ask for more.
        wait_until(lambda: ended(kit, [first]) == 1)
        if emptied:
            shutil.rmtree(own_queue.home.valkey)
        with own_queue.serving():
            if emptied:
                send(make_celery(own_queue.settings), [second])
            wait_until(lambda: ended(kit, [second]) == 1)

    kill_while_busy_with(*ids[:2], emptied=False)
    kill_while_busy_with(*ids[2:4], emptied=True)
    kill_while_busy_with(*ids[4:], emptied=True)


def test_no_chunk_waits_behind_one_that_runs(
    kit: Kit, settings: Settings, queue: redis.Redis, start_worker: StartWorker
) -> None:
    kit.job(*photos(ObjectStore.from_settings(settings), 2))
    first, second = rows(kit, "id")
    start_worker(settings)
    with no_claims(kit):
        for item_id in (first, second):
            send(make_celery(settings), [item_id])
        wait_until(lambda: queue.llen(QUEUE) <= 1)
        time.sleep(2)  # Longer than a worker waits for one message.
        assert queue.llen(QUEUE) == 1
    wait_until(lambda: ended(kit, [first, second]) == 2)


def test_what_is_urgent_overtakes_what_waits(
    kit: Kit, settings: Settings, queue: redis.Redis, start_worker: StartWorker
) -> None:
    kit.job(*photos(ObjectStore.from_settings(settings), 4))
    *early, urgent = rows(kit, "id")
    app = make_celery(settings)
    for item_id in early:
        send(app, [item_id])
    send_chunk(app, Chunk(item_ids=(urgent,), lane=Lane.URGENT))
    start_worker(settings)
    wait_until(lambda: ended(kit, [*early, urgent]) == 4)
    with transaction(kit.database) as session:
        query = text("SELECT id FROM item ORDER BY finished_at LIMIT 1")
        assert session.execute(query).scalar_one() == urgent


@contextlib.contextmanager
def taken(settings: Settings, count: int) -> Iterator[None]:
    """A worker's connection, closed at the end with so many chunks taken and none begun."""
    app = make_celery(settings)
    with app.connection_for_read() as connection:
        consumer = Consumer(connection, app.amqp.queues[QUEUE], on_message=lambda _message: None)
        consumer.qos(prefetch_count=count)
        consumer.consume()
        for _ in range(count):
            connection.drain_events(timeout=PATIENCE_S)
        yield


def test_chunks_that_were_taken_and_not_begun_go_back_to_the_queue(
    settings: Settings, queue: redis.Redis
) -> None:
    for item_id in range(3):
        send(make_celery(settings), [item_id])
    with taken(settings, 2):
        assert queue.llen(QUEUE) == 1
    assert queue.llen(QUEUE) == 3


def test_chunks_that_a_queue_is_not_there_to_take_back_are_written_nowhere(
    own_queue: OwnQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with contextlib.ExitStack() as connection, own_queue.serving():
        for item_id in range(2):
            send(make_celery(own_queue.settings), [item_id])
        connection.enter_context(taken(own_queue.settings, 2))
    assert list(scratch.iterdir()) == []


def test_a_message_names_ids_and_nothing_else(
    kit: Kit, settings: Settings, queue: redis.Redis, dispatcher: Dispatcher
) -> None:
    kit.job(item("a secret name"))
    dispatcher.send_due()
    (message,) = queue.lrange(QUEUE, 0, -1)
    assert b"secret" not in message
