"""Exports in the bucket survive whoever writes them, and go with what they tell of."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
import redis
from api_kit import Api, refused
from exports_kit import asked_for, claimed, context_of, export
from ledger_kit import Kit
from pydantic import SecretStr
from results_kit import identified
from sqlalchemy import text
from stack_kit import until

from cli.stack.app_parts import settings_environ
from db.errands import dispatch_errands
from db.exports.queue import LostExportError, finish_export, keep_export
from db.session import transaction
from db.settings import Settings
from db.storage import ObjectStore
from db.writing import StoredObject
from workers import reconciler
from workers.board import Board
from workers.celery_app import QUEUE, WRITE_EXPORT, make_celery
from workers.context import WorkerContext
from workers.dispatcher import Dispatcher, QueueUnavailableError
from workers.reconciler import Reconciler
from workers.stages import exporting
from workers.stages.exporting import write_export

WRITE_SLOWLY = """
import sys, time, uuid
from db.exports import pages
from db.session import Role, make_database
from db.settings import load_settings
from db.storage import ObjectStore
from workers.context import WorkerContext
from workers.stages import exporting
pages.PAGE = 100
kept = exporting.keep_export
def slowly(*args, **more):
    kept(*args, **more)
    time.sleep(0.3)
exporting.keep_export = slowly
settings = load_settings()
exporting.write_export(
    WorkerContext(
        settings=settings,
        database=make_database(settings.database, role=Role.SYSTEM),
        store=ObjectStore.from_settings(settings),
    ),
    uuid.UUID(sys.argv[1]),
)
"""


@pytest.fixture
def context(settings: Settings) -> Iterator[WorkerContext]:
    context = context_of(settings)
    yield context
    context.database.dispose()


def reconciled(context: WorkerContext) -> None:
    Reconciler(context.settings, context.database, context.store).reconcile()


def due(context: WorkerContext, *, in_flight: int = 1) -> list[uuid.UUID]:
    with transaction(context.database) as session:
        return [one.id for one in dispatch_errands(session, in_flight=in_flight)]


def lease_ends(context: WorkerContext) -> None:
    with transaction(context.database) as session:
        session.execute(text("UPDATE export SET lease_until = now() - interval '1 s'"))


def left_in_bucket(context: WorkerContext, export_id: uuid.UUID) -> list[str]:
    uploads = context.store._client.list_multipart_uploads(
        Bucket=context.settings.s3_bucket, Prefix=f"{export_id}/"
    )
    return [
        *context.store.keys(f"{export_id}/"),
        *(one["Key"] for one in uploads.get("Uploads", [])),
    ]


def test_an_export_whose_worker_is_killed_is_written_by_the_next(
    api: Api, local: Kit, context: WorkerContext, settings: Settings
) -> None:
    job = identified(local, 700)
    export_id = asked_for(api, job, format="jsonl")
    assert due(context) == [export_id]
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_SLOWLY, str(export_id)], env=settings_environ(settings)
    ) as worker:
        until(lambda: export(api, job, export_id)["written"] > 0)
        os.kill(worker.pid, signal.SIGKILL)
    stopped = export(api, job, export_id)
    assert (stopped["state"], stopped["url"]) == ("running", None)
    write_export(context, export_id)  # A message that comes twice finds it held.
    assert export(api, job, export_id)["state"] == "running"
    lease_ends(context)
    reconciled(context)
    assert export(api, job, export_id)["state"] == "queued"
    assert due(context) == [export_id]
    write_export(context, export_id)
    done = export(api, job, export_id)
    assert (done["state"], done["written"]) == ("done", 701)
    assert (
        context.store.get(left_in_bucket(context, export_id)[0])
        == api.get(f"/v1/jobs/{job}/export?format=jsonl").data
    )


def test_parts_that_a_dead_worker_left_are_aborted(
    api: Api, local: Kit, context: WorkerContext
) -> None:
    job = identified(local, 1)
    export_id = asked_for(api, job, format="csv")
    dead = claimed(context, export_id)
    assert dead is not None
    context.store._client.create_multipart_upload(
        Bucket=context.settings.s3_bucket, Key=dead.object_key
    )
    assert len(left_in_bucket(context, export_id)) == 1
    lease_ends(context)
    write_export(context, export_id)
    assert export(api, job, export_id)["state"] == "done"
    assert len(left_in_bucket(context, export_id)) == 1
    assert left_in_bucket(context, export_id) != [dead.object_key]


def test_a_worker_that_wakes_too_late_leaves_the_others_work_alone(
    api: Api, local: Kit, context: WorkerContext
) -> None:
    job = identified(local, 3)
    export_id = asked_for(api, job, format="csv")
    late = claimed(context, export_id)
    assert late is not None
    lease_ends(context)
    other = claimed(context, export_id)
    assert other is not None
    stored = StoredObject(key=late.object_key, sha256=b"late", size_bytes=4)
    with pytest.raises(LostExportError), transaction(context.database) as session:
        finish_export(session, late, stored, n_written=1)
    with pytest.raises(LostExportError), transaction(context.database) as session:
        keep_export(session, late, lease_s=60.0, n_written=1)
    lease_ends(context)
    write_export(context, export_id)
    with pytest.raises(LostExportError), transaction(context.database) as session:
        finish_export(session, late, stored, n_written=1)
    after = export(api, job, export_id)
    assert (after["state"], after["written"]) == ("done", 4)
    assert after["sha256"] != b"late".hex()


def test_a_worker_that_begins_too_late_deletes_nothing_of_who_was_there_before(
    api: Api, local: Kit, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = identified(local, 1)
    export_id = asked_for(api, job, format="csv")
    late = claimed(context, export_id)
    lease_ends(context)
    write_export(context, export_id)
    written = left_in_bucket(context, export_id)
    monkeypatch.setattr(exporting, "claim_export", lambda *_, **__: late)
    write_export(context, export_id)
    assert left_in_bucket(context, export_id) == written
    assert export(api, job, export_id)["state"] == "done"


def test_an_end_may_be_told_twice(api: Api, local: Kit, context: WorkerContext) -> None:
    export_id = asked_for(api, identified(local, 1), format="csv")
    mine = claimed(context, export_id)
    assert mine is not None
    stored = StoredObject(key=mine.object_key, sha256=b"mine", size_bytes=4)
    for _ in range(2):
        with transaction(context.database) as session:
            finish_export(session, mine, stored, n_written=1)


def test_an_export_that_takes_its_workers_down_is_given_up(
    api: Api, local: Kit, context: WorkerContext
) -> None:
    job = identified(local, 1)
    export_id = asked_for(api, job, format="csv")
    for attempt in (1, 2, 3):
        assert claimed(context, export_id) is not None
        lease_ends(context)
        if attempt == 3:
            assert claimed(context, export_id) is None
        reconciled(context)
    lost = export(api, job, export_id)
    assert (lost["state"], lost["error"]["code"]) == ("failed", "export_lost")
    assert claimed(context, export_id) is None


def test_a_bucket_that_is_away_costs_no_attempt(
    api: Api, local: Kit, context: WorkerContext, settings: Settings
) -> None:
    job = identified(local, 1)
    export_id = asked_for(api, job, format="csv")
    nowhere = settings.model_copy(update={"s3_endpoint_url": SecretStr("http://127.0.0.1:1")})
    away = replace(context, store=ObjectStore.from_settings(nowhere))
    for _ in range(4):
        with transaction(context.database) as session:
            session.execute(text("UPDATE export SET due_at = now()"))
        write_export(away, export_id)
        assert export(api, job, export_id)["state"] == "queued"
    write_export(context, export_id)
    assert export(api, job, export_id)["state"] == "done"


def test_a_worker_that_is_to_stop_hands_its_export_back_at_once(
    api: Api, local: Kit, context: WorkerContext
) -> None:
    job = identified(local, 1)
    export_id = asked_for(api, job, format="csv")
    for _ in range(4):
        stopping = Board(processes=1)
        stopping.stop()
        write_export(replace(context, slot=stopping.slot(0)), export_id)
        assert export(api, job, export_id)["state"] == "queued"
        assert left_in_bucket(context, export_id) == []
    assert due(context) == [export_id]
    write_export(context, export_id)
    assert export(api, job, export_id)["state"] == "done"


def test_a_message_that_was_lost_is_sent_again(
    api: Api, local: Kit, context: WorkerContext
) -> None:
    export_id = asked_for(api, identified(local, 1), format="csv")
    assert due(context) == [export_id]
    assert due(context) == []
    reconciled(context)
    assert due(context) == []
    with transaction(context.database) as session:
        session.execute(text("UPDATE export SET dispatched_at = now() - interval '1 h'"))
    reconciled(context)
    assert due(context) == [export_id]


def test_no_more_are_under_way_than_there_is_room_for(
    api: Api, local: Kit, context: WorkerContext
) -> None:
    job = identified(local, 1)
    asked = [asked_for(api, job, format="csv") for _ in range(4)]
    assert due(context, in_flight=2) == asked[:2]
    assert due(context, in_flight=3) == asked[2:3]
    write_export(context, asked[0])
    assert due(context, in_flight=3) == asked[3:]


def test_an_export_is_sent_as_one_message_and_stays_due_where_that_fails(
    api: Api, local: Kit, context: WorkerContext, settings: Settings, queue: redis.Redis
) -> None:
    export_id = asked_for(api, identified(local, 1), format="csv")
    nowhere = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with pytest.raises(QueueUnavailableError):
        Dispatcher(nowhere, context.database, make_celery(nowhere)).send_due()
    dispatcher = Dispatcher(settings, context.database, make_celery(settings))
    assert (dispatcher.send_due(), dispatcher.send_due()) == (1, 0)
    (message,) = queue.lrange(QUEUE, 0, -1)
    assert json.loads(message)["headers"]["task"] == WRITE_EXPORT
    assert str(export_id) in json.loads(message)["headers"]["argsrepr"]


# ---------------------------------------------------------------- what goes, goes whole


def written(api: Api, context: WorkerContext, job: uuid.UUID) -> uuid.UUID:
    export_id = asked_for(api, job, format="csv")
    write_export(context, export_id)
    assert len(left_in_bucket(context, export_id)) == 1
    return export_id


def swept(context: WorkerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the reconciler does now, and what it does an hour later."""
    reconciled(context)
    monkeypatch.setattr(reconciler, "SETTLED_AGE", timedelta(0))
    reconciled(context)


def test_an_export_goes_with_its_job(api: Api, local: Kit, context: WorkerContext) -> None:
    job = identified(local, 3)
    export_id = written(api, context, job)
    assert api.delete(f"/v1/jobs/{job}").status_code == 204
    reconciled(context)
    assert left_in_bucket(context, export_id) == []


def test_an_export_that_names_a_subject_goes_with_it(
    api: Api, local: Kit, context: WorkerContext
) -> None:
    job = identified(local, 3)
    export_id = written(api, context, job)
    gallery = api.get(f"/v1/jobs/{job}").json["gallery"]
    other = identified(local, 3, gallery="others")
    kept = written(api, context, other)
    subject = api.get(f"/v1/galleries/{gallery}/subjects").json["subjects"][0]["id"]
    assert api.delete(f"/v1/galleries/{gallery}/subjects/{subject}").status_code == 204
    reconciled(context)
    assert left_in_bucket(context, export_id) == []
    refused(api.get(f"/v1/jobs/{job}/exports/{export_id}"), 404, "export_not_found")
    assert export(api, other, kept)["state"] == "done"


def test_an_export_that_is_being_written_goes_too(
    api: Api, local: Kit, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = identified(local, 3)
    export_id = asked_for(api, job, format="csv")
    mine = claimed(context, export_id)
    assert mine is not None
    assert api.delete(f"/v1/jobs/{job}/exports/{export_id}").status_code == 204
    reconciled(context)
    # The worker's last part arrives after that, and the worker with it dies.
    context.store.put(mine.object_key, [b"late"])
    swept(context, monkeypatch)
    assert left_in_bucket(context, export_id) == []


def test_an_export_expires(api: Api, local: Kit, context: WorkerContext) -> None:
    job = identified(local, 3)
    export_id = written(api, context, job)
    reconciled(context)
    assert export(api, job, export_id)["state"] == "done"
    with transaction(context.database) as session:
        days = session.scalars(text("SELECT expires_at - created_at FROM export")).one()
        session.execute(text("UPDATE export SET expires_at = now() - interval '1 s'"))
    assert days == timedelta(days=7)
    refused(api.get(f"/v1/jobs/{job}/exports/{export_id}"), 404, "export_not_found")
    reconciled(context)
    assert left_in_bucket(context, export_id) == []


def test_a_link_is_for_its_object_alone(api: Api, local: Kit, context: WorkerContext) -> None:
    job = identified(local, 1)
    first, second = (written(api, context, job) for _ in range(2))
    url = export(api, job, first)["url"]
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(url.replace(str(first), str(second)))
    assert refusal.value.code == 403
    plain = url.split("?")[0]
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(plain)
