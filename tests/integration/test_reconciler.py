"""The reconciler puts right what died half-way, and does no harm to what lives."""

import datetime as dt
import socket
import threading
import uuid
from collections.abc import Iterator

import boto3
import pytest
import redis
from botocore.config import Config
from ledger_kit import Kit, as_owner, done, item, photo_of
from sqlalchemy import func, select, text, update

from db import erase, results, uploads
from db.models import DoomedObject, Item, Job, Photo, Upload
from db.object_client import ObjectClient
from db.session import transaction
from db.settings import Settings
from db.states import ItemState, JobState
from db.storage import ObjectStore
from db.uploads import UploadExpiredError
from db.views import NewItem
from workers.celery_app import QUEUE
from workers.reconciler import Reconciler


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return ObjectStore.from_settings(settings)


@pytest.fixture
def reconciler(kit: Kit, settings: Settings, store: ObjectStore) -> Reconciler:
    return Reconciler(settings, kit.database, store)


def execute(kit: Kit, statement: str) -> None:
    with transaction(kit.database) as session:
        session.execute(text(statement))


def count(kit: Kit, table: type) -> int:
    with transaction(kit.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def upload(kit: Kit) -> uuid.UUID:
    with transaction(kit.database) as session:
        return uploads.begin_upload(session, kit.tenant_id)


def age(kit: Kit, table: str) -> None:
    execute(kit, f"UPDATE {table} SET created_at = created_at - interval '2 h'")


def stored(kit: Kit, store: ObjectStore, name: str) -> NewItem:
    """A photo in the bucket, ready for a job."""
    one = item(name)
    return NewItem(
        name=name,
        client_id=name,
        sha256=one.sha256,
        size_bytes=1,
        object_key=store.put(one.object_key or "", [b"x"]).key,
    )


def test_an_upload_that_died_is_given_up_and_then_swept(
    kit: Kit, store: ObjectStore, reconciler: Reconciler
) -> None:
    upload_id = upload(kit)
    store.put(f"{upload_id}/0", [b"x"])
    age(kit, "upload")
    reconciler.reconcile()
    assert count(kit, Upload) == 0
    # Its request may still be at it, and finds out when it wants to commit.
    store.put(f"{upload_id}/1", [b"x"])
    with pytest.raises(UploadExpiredError), transaction(kit.database) as session:
        uploads.end_upload(session, upload_id)

    age(kit, "doomed_object")
    reconciler.reconcile()
    assert list(store.keys(f"{upload_id}/")) == []
    assert count(kit, DoomedObject) == 0


def test_a_job_that_was_not_to_be_kept_is_deleted_in_time(
    kit: Kit, store: ObjectStore, reconciler: Reconciler
) -> None:
    minute = dt.timedelta(minutes=1)
    kit.job(stored(kit, store, "kept"))
    kit.job(stored(kit, store, "not yet"), keep_for=minute)
    due = [
        kit.job(stored(kit, store, "due"), keep_for=minute),
        kit.job(stored(kit, store, "due and open"), keep_for=minute, seal=False),
    ]
    with transaction(kit.database) as session:
        session.execute(update(Job).where(Job.id.in_(due)).values(delete_after=func.now()))
    reconciler.reconcile()
    with transaction(kit.database) as session:
        assert sorted(session.scalars(select(Item.name))) == ["kept", "not yet"]
    assert count(kit, Photo) == 2


def test_an_upload_under_way_is_left_alone(
    kit: Kit, store: ObjectStore, reconciler: Reconciler
) -> None:
    upload_id = upload(kit)
    store.put(f"{upload_id}/0", [b"x"])
    reconciler.reconcile()
    assert count(kit, Upload) == 1
    assert list(store.keys(f"{upload_id}/")) == [f"{upload_id}/0"]


def test_a_sweep_aborts_the_parts_of_a_photo_that_never_ended(
    kit: Kit, store: ObjectStore, reconciler: Reconciler, settings: Settings
) -> None:
    upload_id = upload(kit)
    client = client_of(settings)
    client.create_multipart_upload(Bucket=settings.s3_bucket, Key=f"{upload_id}/0")
    age(kit, "upload")
    reconciler.reconcile()
    age(kit, "doomed_object")
    reconciler.reconcile()
    found = client.list_multipart_uploads(Bucket=settings.s3_bucket, Prefix=f"{upload_id}/")
    assert found.get("Uploads", []) == []


def test_a_sweep_never_takes_the_object_of_a_photo(
    kit: Kit, store: ObjectStore, reconciler: Reconciler
) -> None:
    one = stored(kit, store, "a")
    kit.job(one)
    folder = (one.object_key or "").split("/")[0] + "/"
    store.put(f"{folder}1", [b"x"])
    execute(kit, f"INSERT INTO doomed_object VALUES ('{folder}', {kit.tenant_id}, now())")
    age(kit, "doomed_object")
    reconciler.reconcile()
    assert list(store.keys(folder)) == [one.object_key]


def test_the_objects_of_deleted_photos_are_deleted(
    kit: Kit, store: ObjectStore, reconciler: Reconciler
) -> None:
    kept, *doomed = (stored(kit, store, str(n)) for n in range(5))
    kit.job(kept)
    job_id = kit.job(*doomed)
    with transaction(kit.database) as session:
        erase.delete_job(session, kit.tenant_id, job_id)
    assert count(kit, DoomedObject) == 4
    reconciler.reconcile()
    assert count(kit, DoomedObject) == 0
    assert [list(store.keys(one.object_key)) for one in doomed] == [[]] * 4
    assert store.get(kept.object_key) == b"x"


def client_of(settings: Settings, endpoint: str | None = None):
    return boto3.client(
        "s3",
        endpoint_url=endpoint or settings.s3_endpoint_url.get_secret_value(),
        aws_access_key_id=settings.aws_access_key_id,
        aws_secret_access_key=settings.aws_secret_access_key.get_secret_value(),
        region_name=settings.aws_region,
        config=Config(read_timeout=1, retries={"total_max_attempts": 1}, proxies={}),
    )


@pytest.fixture
def hanging(settings: Settings) -> Iterator[tuple[ObjectStore, threading.Event]]:
    """A bucket that takes requests and never answers, and the event that it got one."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def take() -> None:
            connections = []
            while True:
                try:
                    connections.append(listener.accept())
                except OSError:
                    return
                asked.set()

        threading.Thread(target=take, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        objects = ObjectClient.from_settings(settings, direct=True)
        yield ObjectStore(lambda: client_of(settings, url), objects, settings.s3_bucket), asked
        listener.shutdown(socket.SHUT_RDWR)


def test_no_transaction_is_open_while_the_bucket_is_asked(
    kit: Kit, settings: Settings, hanging: tuple[ObjectStore, threading.Event]
) -> None:
    store, asked = hanging
    for key in ("a/0", f"{uuid.uuid4()}/"):
        execute(kit, "DELETE FROM doomed_object")
        execute(kit, f"INSERT INTO doomed_object VALUES ('{key}', {kit.tenant_id}, now())")
        age(kit, "doomed_object")
        asked.clear()
        thread = threading.Thread(target=Reconciler(settings, kit.database, store).reconcile)
        thread.start()
        assert asked.wait(30)
        with transaction(kit.database) as session:
            as_owner(session)
            open_ones = session.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
                )
            )
        thread.join()
        assert open_ones == 0


def test_a_bucket_that_is_away_stops_nothing_else_and_loses_nothing(
    kit: Kit, settings: Settings, hanging: tuple[ObjectStore, threading.Event]
) -> None:
    execute(kit, f"INSERT INTO doomed_object VALUES ('a/0', {kit.tenant_id}, now())")
    upload(kit)
    age(kit, "upload")
    kit.job(item("a"))
    (claimed,) = kit.claim_all()
    expire(kit)
    Reconciler(settings, kit.database, hanging[0]).reconcile()
    assert count(kit, DoomedObject) == 2
    assert kit.dispatch() == [[claimed.item_id]]


def expire(kit: Kit) -> None:
    execute(kit, "UPDATE item SET lease_until = now() - interval '1 s' WHERE state = 'running'")


def test_a_dead_workers_photos_run_again(kit: Kit, reconciler: Reconciler) -> None:
    job_id = kit.job(item("a"), item("b"))
    claims = kit.claim_all()
    kit.record(done(claims[0], photo_of()))
    reconciler.reconcile()
    assert kit.dispatch() == []
    expire(kit)
    reconciler.reconcile()
    (again,) = kit.claim_all()
    assert (again.item_id, again.fence, again.attempt) == (claims[1].item_id, 2, 2)
    kit.record(done(again, photo_of()))
    assert kit.view(job_id).state is JobState.SUCCEEDED


def test_a_photo_that_takes_three_workers_down_is_set_aside(
    kit: Kit, reconciler: Reconciler
) -> None:
    job_id = kit.job(item("poison"), item("good"))
    poison, good = kit.claim_all()
    kit.record(done(good, photo_of()))
    for attempt in (2, 3):
        expire(kit)
        reconciler.reconcile()
        (again,) = kit.claim_all()
        assert again.attempt == attempt
    expire(kit)
    reconciler.reconcile()
    assert kit.claim_all() == []
    with transaction(kit.database) as session:
        row = results.job_items(session, kit.tenant_id, job_id)[0]
    assert (row.id, row.state, row.error_code) == (
        poison.item_id,
        ItemState.FAILED,
        "worker_lost",
    )
    view = kit.view(job_id)
    assert (view.state, view.n_failed, view.n_done) == (JobState.PARTIALLY_FAILED, 1, 1)


def sent_ago(kit: Kit, seconds: float) -> None:
    execute(kit, f"UPDATE item SET dispatched_at = now() - interval '{seconds} s'")


def due(kit: Kit) -> bool:
    with transaction(kit.database) as session:
        return session.scalars(select(Item.dispatched_at)).one() is None


def test_what_was_sent_and_never_claimed_is_sent_again(
    kit: Kit, settings: Settings, reconciler: Reconciler, queue: redis.Redis
) -> None:
    kit.job(item("a"))
    kit.dispatch()
    sent_ago(kit, settings.resend_after_s / 2)
    reconciler.reconcile()
    assert not due(kit)
    sent_ago(kit, settings.resend_after_s + 1)
    reconciler.reconcile()
    assert due(kit)


def test_what_waits_behind_other_messages_is_not_taken_for_lost_so_soon(
    kit: Kit, settings: Settings, reconciler: Reconciler, queue: redis.Redis
) -> None:
    kit.job(item("a"))
    kit.dispatch()
    queue.lpush(QUEUE, "a message")
    sent_ago(kit, settings.resend_after_s + 1)
    reconciler.reconcile()
    assert not due(kit)
    sent_ago(kit, 121)
    reconciler.reconcile()
    assert due(kit)


def test_an_open_job_that_everybody_forgot_is_cancelled(kit: Kit, reconciler: Reconciler) -> None:
    job_id = kit.job(item("a"), seal=False)
    reconciler.reconcile()
    assert kit.view(job_id).state is JobState.QUEUED
    execute(kit, "UPDATE job SET changed_at = now() - interval '25 h'")
    reconciler.reconcile()
    assert kit.view(job_id).state is JobState.CANCELLED


def test_several_reconcilers_at_once_do_each_thing_once(
    kit: Kit, settings: Settings, store: ObjectStore
) -> None:
    job_id = kit.job(*(item(str(n)) for n in range(50)))
    for _ in range(3):
        assert len(kit.claim_all()) == 50
        expire(kit)
        threads = [
            threading.Thread(target=Reconciler(settings, kit.database, store).reconcile)
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    view = kit.view(job_id)
    assert (view.n_failed, view.state) == (50, JobState.FAILED)
