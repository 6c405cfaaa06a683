"""A tenant has no more than it may, to the last byte and job; one without quotas waits for none."""

import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from api_kit import Api, accepted, api_of, image, made, refused
from bucket_kit import unowned
from ledger_kit import Kit, asked_of, failed, item
from source_kit import Lister, at_key, prefix
from sqlalchemy import text
from test_api_uploads import begin, name, send

from db import erase
from db.archives import drop_empty_archives
from db.errors import QuotaExceededError
from db.models import Archive
from db.prepare import migrate
from db.quotas import NO_DEFAULTS, quotas_of, set_quotas, usage_of, used_by, within_quotas
from db.session import Database, transaction
from db.settings import Settings
from db.sources import NewArchive, NewSource, add_source
from db.states import OPEN_SOURCE_STATES, QuotaKind, SourceKind
from db.tallies import fold_tallies
from db.uploads import begin_upload
from web.app import create_app
from web.services import EXTENSION
from workers.stages.listing import list_source

BYTES, PHOTOS, JOBS = QuotaKind.BYTES, QuotaKind.OPEN_PHOTOS, QuotaKind.OPEN_JOBS
MIGRATIONS = Path(__file__).resolve().parents[2] / "db" / "migrations"
TRUTH = text("""
    SELECT (SELECT coalesce(sum(size_bytes), 0) FROM photo
            WHERE tenant_id = :t AND bucket IS NULL AND archive_id IS NULL)
         + (SELECT coalesce(sum(size_bytes), 0) FROM archive WHERE tenant_id = :t)
         + (SELECT coalesce(sum(expected_bytes), 0) FROM upload WHERE tenant_id = :t) AS bytes,
           (SELECT count(*) FROM item WHERE tenant_id = :t AND state IN ('queued', 'running'))
           AS photos
""")


def allow(kit: Kit, **wanted: int | None) -> None:
    with transaction(kit.database) as session:
        set_quotas(session, kit.tenant_id, {QuotaKind(one): n for one, n in wanted.items()})


def used(kit: Kit) -> dict[QuotaKind, int]:
    """What the tenant has, which is what is there."""
    with transaction(kit.database) as session:
        told = used_by(session, kit.tenant_id)
        truth = session.execute(TRUTH, {"t": kit.tenant_id}).one()
    assert (told[BYTES], told[PHOTOS]) == (truth.bytes, truth.photos)
    return told


def execute(kit: Kit, statement: str, **values: object) -> None:
    with transaction(kit.database) as session:
        session.execute(text(statement), values)


def pictures(count: int) -> list[tuple[str, bytes]]:
    """Photos of as many bytes, and no two of the same."""
    return [(f"{n}.jpg", image() + b"%06d" % n) for n in range(count)]


SIZE = len(pictures(1)[0][1])


def test_bytes_are_counted_once_whichever_way_they_come_and_go(kit: Kit, stranger: Kit) -> None:
    whole = kit.job(item("a"), item("b"), item("b2", "b"))
    assert used(kit) == {BYTES: 2, PHOTOS: 3, JOBS: 1}
    # In a bucket of its owner's, then sent to us; and the other way round for good measure.
    for bucket, expected in (("theirs", 0), (None, 2)):
        execute(kit, "UPDATE photo SET bucket = :bucket", bucket=bucket)
        assert used(kit)[BYTES] == expected
    execute(kit, "UPDATE photo SET size_bytes = 5, sha256 = sha256")
    assert used(kit)[BYTES] == 10
    opened = kit.job(seal=False)
    with transaction(kit.database) as session:
        archive = NewArchive(object_key=f"{uuid.uuid4()}/0", size_bytes=1000)
        new = NewSource(kind=SourceKind.ARCHIVE, archive=archive)
        add_source(session, kit.tenant_id, opened, new)
        begin_upload(session, kit.tenant_id)
        begin_upload(session, kit.tenant_id, expected_bytes=300)
    assert used(kit) == {BYTES: 1310, PHOTOS: 3, JOBS: 2}
    # In an archive a photo has no bytes but the archive's.
    execute(
        kit,
        "UPDATE photo SET archive_id = archive.id, entry_offset = 0, entry_packed_bytes = 1, "
        "entry_method = 0, entry_crc32 = 0, entry_name = 'a' FROM archive",
    )
    assert used(kit)[BYTES] == 1300
    with transaction(kit.database) as session:
        fold_tallies(session)
        fold_tallies(session)
        rows = session.execute(text("SELECT tenant_id, change FROM storage_tally")).all()
        assert rows == [(kit.tenant_id, 1300)]
        erase.delete_job(session, kit.tenant_id, whole)
        erase.delete_job(session, kit.tenant_id, opened)
        drop_empty_archives(session)
    assert used(kit) == {BYTES: 300, PHOTOS: 0, JOBS: 0}
    execute(kit, "UPDATE upload SET expires_at = now() - interval '1 s'")
    with transaction(kit.database) as session:
        erase.give_up_uploads(session)
    assert used(kit) == {BYTES: 0, PHOTOS: 0, JOBS: 0}
    assert used(stranger) == {BYTES: 0, PHOTOS: 0, JOBS: 0}


@pytest.mark.parametrize(
    ("kind", "allowed", "status"), [(JOBS, 7, 429), (PHOTOS, 7, 429), (BYTES, 7 * SIZE, 403)]
)
def test_submissions_at_the_same_moment_are_together_within_the_quota(
    kind: QuotaKind, allowed: int, status: int, settings: Settings, local: Kit
) -> None:
    allow(local, **{kind: allowed})
    apps = [create_app(settings) for _ in range(2)]

    def submit(n: int) -> int:
        api = Api(apps[n % 2].test_client())
        return api.submit(pictures(20)[n], kind="detect").status_code

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(submit, range(20)))
    assert sorted(statuses) == [202] * 7 + [status] * 13
    assert used(local) == {BYTES: 7 * SIZE, PHOTOS: 7, JOBS: 7}


def test_a_refusal_says_what_is_used_and_allowed_and_leaves_nothing(
    api: Api, local: Kit, settings: Settings
) -> None:
    first, second = pictures(2)
    allow(local, bytes=2 * SIZE - 1)
    accepted(api.submit(first, kind="detect"))
    for _ in range(2):  # Once it is found out that there are quotas, and once that is known.
        answer = api.submit(second, kind="detect")
        refused(answer, 403, "quota_exceeded")
        told = {one: answer.json[one] for one in ("quota", "used", "allowed")}
        assert told == {"quota": "bytes", "used": SIZE, "allowed": 2 * SIZE - 1}
        assert "Retry-After" not in answer.headers
    with transaction(local.database) as session:
        assert session.scalar(text("SELECT count(*) FROM doomed_object")) == 2
    assert unowned(local.database, settings) == set()
    # What is there already takes no more room, and who deletes has room again.
    again = accepted(api.submit(first, kind="detect"))
    allow(local, open_jobs=2)
    answer = api.submit(first, kind="detect")
    refused(answer, 429, "quota_exceeded")
    assert (answer.json["quota"], answer.headers["Retry-After"]) == ("open_jobs", "2")
    accepted(api_of(settings, "other").submit(second, kind="detect"))
    for job in (again, api.get("/v1/jobs").json["jobs"][-1]["id"]):
        assert api.delete(f"/v1/jobs/{job}").status_code == 204
    accepted(api.submit(second, kind="detect"))


def test_every_way_to_add_something_is_within_the_quotas(
    api: Api, local: Kit, settings: Settings
) -> None:
    photos = pictures(3)
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    path = f"/v1/jobs/{job}/photos"
    upload = begin(api, [data for _, data in photos])
    assert send(upload["files"][1], photos[1][1]) == 204
    assert api.send(path, photos[:1]).status_code == 200
    hashes = [{"client_id": "again", "sha256": hashlib.sha256(photos[0][1]).hexdigest()}]
    allow(local, open_photos=1, open_jobs=1, bytes=0)
    for status, quota, answer in (
        (429, "open_photos", api.send(path, photos[2:])),
        (429, "open_photos", api.post(path, json={"photos": hashes})),
        (429, "open_photos", name(api, job, upload, 1)),
        (429, "open_jobs", api.post("/v1/jobs", json={"kind": "detect"})),
        (429, "open_jobs", api.post("/v1/jobs", json=sourced(settings))),
        (403, "bytes", api.post("/v1/uploads", json={"files": [{"size_bytes": 1}]})),
    ):
        refused(answer, status, "quota_exceeded")
        assert answer.json["quota"] == quota
    (claimed,) = local.claim_all()
    local.record(failed(claimed))
    allow(local, open_photos=0)
    refused(api.post(f"/v1/jobs/{job}/retry"), 429, "quota_exceeded")
    assert api.counts(job)["failed"] == 1


def sourced(settings: Settings) -> dict[str, object]:
    where = {"kind": "prefix", "prefix": f"sources/local/{uuid.uuid4()}/"}
    return {"kind": "detect", "sources": [where]}


def test_files_that_are_sent_past_us_count_from_their_forms_on_and_once(
    api: Api, local: Kit
) -> None:
    photos = [data for _, data in pictures(2)]
    allow(local, bytes=2 * SIZE)
    upload = begin(api, photos)
    assert used(local)[BYTES] == 2 * SIZE
    refused(api.post("/v1/uploads", json={"files": [{"size_bytes": 1}]}), 403, "quota_exceeded")
    assert send(upload["files"][0], photos[0]) == 204
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    for _ in range(2):
        assert name(api, job, upload, 0).json == {"accepted": 1, "missing": []}
        assert used(local)[BYTES] == 2 * SIZE
    # What is not sent counts no longer than its upload is kept.
    execute(local, "UPDATE upload SET expires_at = now() - interval '1 s'")
    with transaction(local.database) as session:
        erase.give_up_uploads(session)
    assert used(local)[BYTES] == SIZE


def test_a_source_waits_while_there_are_too_many_photos_under_way(lister: Lister, kit: Kit) -> None:
    folder = lister.folder()
    lister.fill(folder, "a.jpg", "b.jpg", "c.jpg")
    kit.job(item("first"))
    allow(kit, open_photos=1, bytes=1)
    job_id = lister.job(prefix(folder))
    unread = lister.job(at_key(SourceKind.ARCHIVE, f"{folder}missing.zip"))
    lister.list_all()
    for one in (job_id, unread):  # Nobody looks for it in the bucket either.
        (source,) = lister.views(one)
        assert source.state in OPEN_SOURCE_STATES
        assert lister.ids(one) == []
    assert lister.due() == []
    execute(kit, "UPDATE source SET due_at = now()")
    (claimed,) = kit.claim_all()
    kit.record(failed(claimed))
    lister.list_all()
    assert len(lister.ids(job_id)) == 3
    # They are their owner's bytes, not ours.
    assert used(kit)[BYTES] == 1
    assert used(kit)[PHOTOS] == 3


def test_pages_that_are_ready_at_the_same_moment_pass_the_quota_by_one_at_the_most(
    lister: Lister, kit: Kit
) -> None:
    allow(kit, open_photos=2)
    folders = [lister.folder() for _ in range(4)]
    for folder in folders:
        lister.fill(folder, "a.jpg", "b.jpg", "c.jpg")
    jobs = [lister.job(prefix(folder)) for folder in folders]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: list_source(lister.context, one), lister.due()))
    assert sorted(len(lister.ids(job)) for job in jobs) == [0, 0, 0, 3]


def test_a_tenant_without_quotas_waits_for_nobody_and_asks_nothing_more(
    api: Api, local: Kit
) -> None:
    database = api.client.application.extensions[EXTENSION].database
    first, second, third = pictures(3)
    accepted(api.submit(first, kind="detect"))
    asked = [sql for sql, _ in asked_of(database, lambda: api.submit(second, kind="detect"))]
    assert [sql[:27] for sql in asked if "facebatch_whole_job" in sql] == [
        "EXECUTE facebatch_whole_job"
    ]
    assert [sql for sql in asked if "FROM quota" in sql or "advisory" in sql] == []
    allow(local, open_jobs=100)
    accepted(api.submit(third, kind="detect"))
    asked = [sql for sql, _ in asked_of(database, lambda: api.submit(first, kind="detect"))]
    assert [sql for sql in asked if "advisory" in sql]


def test_who_has_quotas_waits_for_its_own_alone(kit: Kit, stranger: Kit) -> None:
    for one in (kit, stranger):
        allow(one, open_jobs=1)
    with (
        transaction(kit.database) as session,
        within_quotas(session, kit.tenant_id, NO_DEFAULTS),
        transaction(kit.database) as other,
    ):
        other.execute(text("SET LOCAL lock_timeout = '100ms'"))
        with within_quotas(other, stranger.tenant_id, NO_DEFAULTS) as limited:
            assert limited


def test_what_there_is_above_a_quota_stays_and_more_is_refused(kit: Kit) -> None:
    kit.job(item("a"), item("b"))
    allow(kit, open_photos=0, open_jobs=0, bytes=0)
    with transaction(kit.database) as session, within_quotas(session, kit.tenant_id, NO_DEFAULTS):
        session.execute(text("UPDATE photo SET size_bytes = 0 WHERE sha256 < '\\x80'"))
    with pytest.raises(QuotaExceededError):
        add_one(kit, NO_DEFAULTS)
    assert used(kit)[PHOTOS] == 2


def add_one(kit: Kit, defaults: object) -> None:
    with transaction(kit.database) as session, within_quotas(session, kit.tenant_id, defaults):
        archive = Archive(
            id=uuid.uuid4(), tenant_id=kit.tenant_id, object_key=str(uuid.uuid4()), size_bytes=1
        )
        session.add(archive)


def test_a_tenant_s_own_quotas_go_before_those_of_the_settings(kit: Kit) -> None:
    defaults = {BYTES: 1}
    add_one(kit, defaults)
    with pytest.raises(QuotaExceededError) as caught:
        add_one(kit, defaults)
    assert (caught.value.used, caught.value.allowed) == (1, 1)
    allow(kit, bytes=2)
    add_one(kit, defaults)
    with pytest.raises(QuotaExceededError):
        add_one(kit, defaults)
    allow(kit, bytes=None)
    add_one(kit, defaults)
    with transaction(kit.database) as session:
        assert quotas_of(session, kit.tenant_id, {PHOTOS: 5}) == {PHOTOS: 5}
        assert [(one.used, one.allowed) for one in usage_of(session, kit.tenant_id, {})] == [
            (3, None), (0, None), (0, None)
        ]  # fmt: skip


def test_usage_tells_what_there_is_and_may_be(settings: Settings, local: Kit) -> None:
    api = Api(create_app(settings.model_copy(update={"quota_open_jobs": 5})).test_client())
    allow(local, bytes=10_000)
    accepted(api.submit(*pictures(2), kind="detect"))
    assert api.get("/v1/usage").json == {
        "bytes": {"used": 2 * SIZE, "allowed": 10_000},
        "open_photos": {"used": 2, "allowed": None},
        "open_jobs": {"used": 1, "allowed": 5},
    }
    assert api_of(settings, "other").get("/v1/usage").json["bytes"]["used"] == 0


def test_the_migration_counts_what_is_there(kit: Kit, owners: Database) -> None:
    kit.job(item("a"), item("b"))
    add_one(kit, {})
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with owners.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0017")
        command.downgrade(config, "-1")
    migrate(owners)
    assert used(kit) == {BYTES: 3, PHOTOS: 2, JOBS: 1}
