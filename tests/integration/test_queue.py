"""The queue carries hints: whatever happens to Redis, every photo is done, and done once."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from api_kit import image
from kombu import Consumer, Message
from ledger_kit import Kit, item
from pydantic import SecretStr
from sqlalchemy import text

from cli.stack.home import Home, open_home
from cli.stack.parts import python
from cli.stack.ports import FreePorts
from cli.stack.stores import running
from cli.stack.valkey import redis_url, valkey
from db.session import transaction
from db.settings import Settings
from db.states import JobState
from db.storage import ObjectStore
from db.views import NewItem
from workers.celery_app import QUEUE, make_celery, send_chunk
from workers.dispatcher import Dispatcher, QueueUnavailableError
from workers.reconciler import Reconciler

PATIENCE_S = 60


@pytest.fixture
def dispatcher(kit: Kit, settings: Settings, queue: redis.Redis) -> Dispatcher:
    return Dispatcher(settings, kit.database, make_celery(settings))


def environ(settings: Settings) -> dict[str, str]:
    """What leads a process to the stores of `settings`."""
    return {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": settings.database or "",
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "S3_ENDPOINT_URL": settings.s3_endpoint_url.get_secret_value(),
        "S3_BUCKET": settings.s3_bucket,
        "AWS_ACCESS_KEY_ID": settings.aws_access_key_id or "",
        "AWS_SECRET_ACCESS_KEY": settings.aws_secret_access_key.get_secret_value(),
        "FACEBATCH_LEASE_S": str(settings.lease_s),
    }


@pytest.fixture
def start_worker(settings: Settings, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Starts a real Celery worker of one process."""
    with contextlib.ExitStack() as stopping:

        def start() -> None:
            log = stopping.enter_context((tmp_path / "worker.log").open("ab"))
            command = python(
                "celery", "--app", "workers.app", "worker", "--concurrency", "1", "-Q", QUEUE,
                "--without-gossip", "--without-mingle", "--without-heartbeat",
            )  # fmt: skip
            process = subprocess.Popen(
                command, env=environ(settings), stdout=log, stderr=log, start_new_session=True
            )
            stopping.callback(process.wait)
            stopping.callback(os.killpg, process.pid, signal.SIGKILL)

        yield start
        sys.stdout.write((tmp_path / "worker.log").read_text())


def photos(store: ObjectStore, count: int) -> Iterator[NewItem]:
    """Photos of nobody, each of its own bytes, in the bucket."""
    for n in range(count):
        one = item(str(n))
        key = one.object_key or ""
        stored = store.put(key, [image(64 + n, 64)])
        yield NewItem(
            name=one.name,
            client_id=one.client_id,
            sha256=stored.sha256,
            size_bytes=stored.size_bytes,
            object_key=key,
        )


def wait_until(true: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def fences(kit: Kit) -> set[int]:
    with transaction(kit.database) as session:
        return set(session.scalars(text("SELECT fence FROM item")))


def undelivered(kit: Kit) -> int:
    with transaction(kit.database) as session:
        query = "SELECT count(*) FROM item WHERE state = 'queued' AND dispatched_at IS NULL"
        return session.execute(text(query)).scalar_one()


def test_a_queue_that_is_emptied_loses_no_photo_and_one_that_stutters_does_none_twice(
    kit: Kit,
    settings: Settings,
    queue: redis.Redis,
    dispatcher: Dispatcher,
    start_worker: Callable[[], None],
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
    ids = kit_ids(kit)
    for _ in range(3):
        send_chunk(make_celery(settings), ids)
    start_worker()
    wait_until(lambda: kit.view(job_id).finished)
    send_chunk(make_celery(settings), ids)
    wait_until(lambda: queue.llen(QUEUE) == 0)

    view = kit.view(job_id)
    assert (view.state, view.n_no_face, view.n_items) == (JobState.SUCCEEDED, 20, 20)
    assert fences(kit) == {1}


def kit_ids(kit: Kit) -> list[int]:
    with transaction(kit.database) as session:
        return list(session.scalars(text("SELECT id FROM item ORDER BY id")))


@pytest.fixture
def own_queue(settings: Settings, tmp_path: Path) -> tuple[Settings, Callable]:
    """Settings that lead to a Valkey of the test's own, and what runs it for a while."""
    home: Home = open_home(tmp_path / "home")
    port = FreePorts().one()
    own = settings.model_copy(update={"redis_url": SecretStr(redis_url(home, port))})
    return own, lambda: running([valkey(home, port)], home)


def test_photos_stay_due_while_the_queue_is_away(
    kit: Kit, own_queue: tuple[Settings, Callable]
) -> None:
    settings, serving = own_queue
    dispatcher = Dispatcher(settings, kit.database, make_celery(settings))
    kit.job(item("a"), item("b"))
    with pytest.raises(QueueUnavailableError):
        dispatcher.send_due()
    assert undelivered(kit) == 2
    with serving():
        assert dispatcher.send_due() > 0
    kit.job(item("c"))
    # Its connection is open, and the server behind it gone.
    with pytest.raises(QueueUnavailableError):
        dispatcher.send_due()
    assert undelivered(kit) == 1
    with serving():
        assert dispatcher.send_due() == 1


def test_photos_stay_due_while_the_queue_takes_nothing(
    kit: Kit, own_queue: tuple[Settings, Callable]
) -> None:
    settings, serving = own_queue
    dispatcher = Dispatcher(settings, kit.database, make_celery(settings))
    with serving():
        client = redis.Redis.from_url(settings.redis_url.get_secret_value())
        client.config_set("maxmemory", 1)
        kit.job(item("a"))
        with pytest.raises(QueueUnavailableError):
            dispatcher.send_due()
        assert undelivered(kit) == 1
        client.config_set("maxmemory", 0)
        assert dispatcher.send_due() == 1


def test_photos_stay_due_while_the_queue_hangs(
    kit: Kit, own_queue: tuple[Settings, Callable]
) -> None:
    settings, serving = own_queue
    dispatcher = Dispatcher(settings, kit.database, make_celery(settings))
    with serving():
        kit.job(item("a"))
        assert dispatcher.send_due() == 1
        client = redis.Redis.from_url(settings.redis_url.get_secret_value())
        server = psutil.Process(client.info("server")["process_id"])
        server.suspend()
        try:
            kit.job(item("b"))
            with pytest.raises(QueueUnavailableError):
                dispatcher.send_due()
            assert undelivered(kit) == 1
        finally:
            server.resume()


def test_a_queue_that_dies_with_messages_on_their_way_is_asked_again(
    own_queue: tuple[Settings, Callable],
) -> None:
    settings, serving = own_queue
    app = make_celery(settings)
    taken: list[Message] = []
    with app.connection_for_read() as connection:
        with serving():
            send_chunk(app, [1])
            consumer = Consumer(
                connection, app.amqp.queues[QUEUE], accept=["json"], on_message=taken.append
            )
            consumer.qos(prefetch_count=1)
            consumer.consume()
            connection.drain_events(timeout=PATIENCE_S)
        (message,) = taken
        # As Celery does when a process takes the message over.
        message.ack_log_error(logging.getLogger("quiet"), connection.connection_errors)
        with serving():
            send_chunk(app, [2])
            with contextlib.suppress(*connection.connection_errors):
                connection.drain_events(timeout=PATIENCE_S)  # It learns that Redis was away.
            if len(taken) == 1:
                connection.drain_events(timeout=PATIENCE_S)
    assert [one.decode()[0] for one in taken] == [[[1]], [[2]]]


def test_a_message_names_ids_and_nothing_else(
    kit: Kit, settings: Settings, queue: redis.Redis, dispatcher: Dispatcher
) -> None:
    kit.job(item("a secret name"))
    dispatcher.send_due()
    (message,) = queue.lrange(QUEUE, 0, -1)
    assert b"secret" not in message
