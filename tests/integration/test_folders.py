"""Folders: what requests bring lies where nobody loses sight of it, whatever becomes of them."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from api_kit import Api, accepted, image, key_of, refused
from bucket_kit import EVERYTHING, Refused, in_front_of, unowned
from flask import Flask
from ledger_kit import Kit
from sqlalchemy import func, select, text

from db import uploads
from db.erase import give_up_uploads
from db.errors import ConflictingChangesError, DatabaseUnavailableError
from db.failpoints import Failpoint
from db.models import DoomedObject, Photo, Upload
from db.scopes import Scope
from db.session import Database, transaction
from db.settings import Settings
from db.storage import ObjectStore
from web import accepting, folders
from web.app import create_app
from web.services import EXTENSION
from workers.reconciler import Reconciler


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return ObjectStore.from_settings(settings)


def execute(kit: Kit, statement: str) -> None:
    with transaction(kit.database) as session:
        session.execute(text(statement))


def submit(api: Api, n: int) -> str:
    return accepted(api.submit((f"{n}.jpg", image(20 + n)), kind="detect"))


def given_up(kit: Kit) -> int:
    with transaction(kit.database) as session:
        session.execute(text("SET LOCAL lock_timeout = '50 ms'"))
        return give_up_uploads(session)


def keys(kit: Kit) -> list[str]:
    """Of the photos, the first first."""
    with transaction(kit.database) as session:
        return [key or "" for key in session.scalars(select(Photo.object_key).order_by(Photo.id))]


def folders_of(kit: Kit) -> list[str]:
    with transaction(kit.database) as session:
        return [str(one) for one in session.scalars(select(Upload.id).order_by(Upload.id))]


def doomed(kit: Kit) -> int:
    with transaction(kit.database) as session:
        return session.scalars(select(func.count()).select_from(DoomedObject)).one()


def used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on each request begins another folder."""
    monkeypatch.setattr(folders, "MAX_OBJECTS", -1)


def failing_once_committed(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """From here on requests fail with `error` when their photos have been committed."""

    def fail(point: Failpoint) -> None:
        if point is Failpoint.ACCEPTED:
            raise error

    monkeypatch.setattr(accepting, "reached", fail)


def failing(*_: object) -> None:
    raise DatabaseUnavailableError("the database does not answer")


def swept(kit: Kit, settings: Settings, store: ObjectStore) -> None:
    """All that is left is given up, and swept."""
    reconciler = Reconciler(settings, kit.database, store)
    for table in ("upload", "doomed_object"):
        execute(kit, f"UPDATE {table} SET created_at = created_at - interval '9 h'")
        execute(kit, "UPDATE upload SET expires_at = now() - interval '1 s'")
        reconciler.reconcile()


def test_requests_share_a_folder(api: Api, local: Kit) -> None:
    for n in range(3):
        submit(api, n)
    (folder,) = folders_of(local)
    assert keys(local) == [f"{folder}/{n}" for n in range(3)]


def test_many_at_once_share_no_key(api: Api, local: Kit, settings: Settings) -> None:
    app, together = api.client.application, Barrier(8)

    def send(n: int) -> None:
        together.wait()
        submit(Api(app.test_client()), n)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(8)))
    assert len(set(keys(local))) == 8
    submit(api, 8)
    assert keys(local)[-1].startswith(folders_of(local)[-1])
    assert unowned(local.database, settings) == set()


@pytest.mark.parametrize("limit", ["objects", "age"])
def test_a_folder_is_used_for_a_while_and_then_goes(
    api: Api, local: Kit, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    submit(api, 0)
    first = folders_of(local)
    if limit == "objects":
        monkeypatch.setattr(folders, "MAX_OBJECTS", 0)
    else:
        later = itertools.count(1e9, 1e6)
        monkeypatch.setattr(folders.time, "monotonic", lambda: next(later))
    submit(api, 1)
    second = folders_of(local)
    assert len(second) == 1
    assert second != first
    assert [one.partition("/")[0] for one in keys(local)] == first + second


def test_a_request_has_its_time_though_its_folder_was_begun_before(api: Api, local: Kit) -> None:
    submit(api, 0)
    with transaction(local.database) as session:
        left = session.scalars(select(Upload.expires_at - func.now())).one()
    assert left - folders.FOLDER_AGE > uploads.REQUEST_AGE * 0.9


def test_what_fails_takes_its_own_objects_along_and_no_others(
    api: Api, local: Kit, settings: Settings, store: ObjectStore
) -> None:
    submit(api, 0)
    refused(api.submit(("b.jpg", image(50)), kind="nothing"), 422, "invalid_request")
    submit(api, 1)
    assert (len(folders_of(local)), doomed(local)) == (1, 1)
    Reconciler(settings, local.database, store).reconcile()
    assert list(store.keys(f"{folders_of(local)[0]}/")) == keys(local)


def test_what_is_committed_stays_though_its_request_fails_behind_it(
    api: Api, local: Kit, settings: Settings, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        failing_once_committed(patched, RuntimeError("a mistake"))
        assert api.submit(("a.jpg", image()), kind="detect").status_code == 500
    assert (len(keys(local)), doomed(local)) == (1, 0)
    used_up(monkeypatch)
    submit(api, 1)
    swept(local, settings, store)
    assert [store.get(key) for key in keys(local)] == [image(), image(21)]


def test_where_nobody_knows_what_was_committed_the_sweep_finds_out(
    api: Api, local: Kit, settings: Settings, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        failing_once_committed(patched, DatabaseUnavailableError("the connection broke"))
        answer = api.submit(("a.jpg", image()), kind="detect")
        refused(answer, 503, "database_unavailable")
        (folder,) = folders_of(local)
    # The next object belongs to nobody.
    store.put(f"{folder}/9", [b"x"])
    used_up(monkeypatch)
    submit(api, 1)
    assert folder in folders_of(local)
    assert doomed(local) == 0
    swept(local, settings, store)
    assert list(store.keys(f"{folder}/")) == [f"{folder}/0"] == keys(local)[:1]


@pytest.mark.parametrize("kind", ["no answer to what is doomed", "stopped"])
def test_a_folder_in_which_something_may_be_left_is_swept(
    api: Api, local: Kit, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    submit(api, 0)
    (folder,) = folders_of(local)
    shared = api.client.application.extensions[EXTENSION].folders
    if kind == "stopped":
        with pytest.raises(SystemExit), shared.entered(local.tenant_id):
            raise SystemExit
    else:
        with monkeypatch.context() as patched:
            patched.setattr(accepting, "doom_unused", failing)
            refused(api.submit(("b.jpg", image(50)), kind="nothing"), 422, "invalid_request")
    # Whoever leaves it later without trouble has no say in that.
    submit(api, 1)
    used_up(monkeypatch)
    submit(api, 2)
    assert folder in folders_of(local)


def test_parts_that_the_bucket_does_not_take_back_are_swept(
    settings: Settings, local: Kit, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts_left() -> bool:
        client = store._client
        return "Uploads" in client.list_multipart_uploads(Bucket=settings.s3_bucket, Prefix=folder)

    with in_front_of(settings) as front:
        short = front.settings.model_copy(update={"max_upload_bytes": 6_000_000})
        api = Api(create_app(short).test_client())
        front.refused[EVERYTHING] = Refused(status=500, code="InternalError", method="DELETE")
        answer = api.submit(("a.jpg", bytes(12_000_000)), kind="detect")
        refused(answer, 503, "storage_unavailable")
        (folder,) = folders_of(local)
        used_up(monkeypatch)
        submit(api, 1)
    assert folder in folders_of(local)
    assert parts_left()
    swept(local, settings, store)
    assert not parts_left()


def test_an_archive_that_takes_long_shortens_nobodys_time(api: Api, local: Kit) -> None:
    submit(api, 0)
    with transaction(local.database) as session:
        before = session.scalars(select(Upload.expires_at)).one()
        uploads.prolong_upload(session, session.scalars(select(Upload.id)).one())
        assert session.scalars(select(Upload.expires_at)).one() == before
    execute(local, "UPDATE upload SET expires_at = now() + interval '1 min'")
    with transaction(local.database) as session:
        uploads.prolong_upload(session, session.scalars(select(Upload.id)).one())
        left = session.scalars(select(Upload.expires_at - func.now())).one()
    assert left == uploads.REQUEST_AGE


def test_a_folder_that_was_given_up_takes_nothing_and_another_is_begun(
    api: Api, local: Kit
) -> None:
    submit(api, 0)
    (first,) = folders_of(local)
    execute(local, "UPDATE upload SET expires_at = now() - interval '1 s'")
    assert given_up(local) == 1
    refused(api.submit(("b.jpg", image(50)), kind="detect"), 503, "upload_expired")
    submit(api, 1)
    assert [one.partition("/")[0] for one in keys(local)] == [first, *folders_of(local)]


def test_who_commits_holds_the_folder_and_nobody_else_up(kit: Kit) -> None:
    with transaction(kit.database) as session:
        upload_id = uploads.begin_upload(session, kit.tenant_id)
    execute(kit, "UPDATE upload SET created_at = created_at - interval '9 h'")
    with transaction(kit.database) as one, transaction(kit.database) as other:
        for session in (one, other):
            session.execute(text("SET LOCAL lock_timeout = '2 s'"))
            uploads.hold_folder(session, upload_id)
        with pytest.raises(ConflictingChangesError):
            given_up(kit)
    assert given_up(kit) == 1
    with pytest.raises(uploads.UploadExpiredError), transaction(kit.database) as session:
        uploads.hold_folder(session, upload_id)


def test_tenants_share_no_folder(app: Flask, settings: Settings, database: Database) -> None:
    for tenant in ("acme", "umbrella", "acme"):
        submit(Api(app.test_client(), key_of(settings, tenant, Scope.SUBMIT).text), 0)
    with transaction(database) as session:
        owners = session.execute(select(Upload.tenant_id, func.count()).group_by(Upload.tenant_id))
        assert sorted(count for _, count in owners) == [1, 1]
