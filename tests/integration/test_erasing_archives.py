"""What is erased is erased from archives too, and what stays can still be read."""

import uuid

import pytest
from api_kit import image
from ledger_kit import Kit, done, photo_of
from race_kit import Second
from source_kit import Lister, prefix, zipped
from sqlalchemy import func, select, update

from db import erase, sources
from db.models import Archive, ArchiveCopy, DoomedObject, Item, Photo, Upload
from db.record import EnrolFace
from db.session import transaction
from db.settings import Settings
from db.sources import NewArchive, NewSource
from db.states import JobKind, SourceKind, SourceState
from db.storage import ObjectStore
from workers import emptying
from workers.reconciler import Reconciler
from workers.sources import archive
from workers.stages import listing as stage
from workers.stages.chunk import process_chunk
from workers.stages.listing import list_source

RED, GREEN, BLUE = (image(64 + n, 64, "BMP") for n in range(3))
"""Bytes that a zip which stores them shows as they are."""


@pytest.fixture
def lister(kit: Kit, settings: Settings) -> Lister:
    """The owner, with a bucket of the test's own: all that is in it counts."""
    own = settings.model_copy(update={"s3_bucket": f"own-{uuid.uuid4()}"})
    store = ObjectStore.from_settings(own)
    store.ensure_bucket()
    return Lister(kit=kit, settings=own, store=store)


@pytest.fixture
def reconciler(lister: Lister) -> Reconciler:
    return Reconciler(lister.settings, lister.kit.database, lister.store)


def send(lister: Lister, files: dict[str, bytes], **wanted: object) -> uuid.UUID:
    """A job of a zip that was sent to us, listed and not yet worked on."""
    job_id = lister.job(stored(lister, files), **wanted)
    lister.list_all()
    return job_id


def stored(lister: Lister, files: dict[str, bytes]) -> NewSource:
    """A zip that was sent to us."""
    put = lister.store.put(f"{uuid.uuid4()}/0", [zipped(files, method=0)])
    new = NewArchive(object_key=put.key, size_bytes=put.size_bytes, sha256=put.sha256)
    return NewSource(kind=SourceKind.ARCHIVE, archive=new)


def work(lister: Lister) -> None:
    """Does what is due, with a real worker."""
    for chunk in lister.kit.dispatch():
        process_chunk(lister.context, chunk)


def lies_in(lister: Lister, data: bytes) -> list[str]:
    """The keys of all objects in the bucket that hold these bytes."""
    return [key for key in lister.store.keys("") if data in lister.store.get(key)]


def photo_of_name(lister: Lister, job_id: uuid.UUID, name: str) -> uuid.UUID:
    (one,) = [item for item in lister.items(job_id) if item.name == name]
    return one.photo_id


def erase_photo(lister: Lister, photo_id: uuid.UUID) -> None:
    """As when the subject is erased whom the photo shows."""
    with transaction(lister.kit.database) as session:
        parted = update(Item).where(Item.photo_id == photo_id)
        session.execute(parted.values(photo_id=None, extraction_id=None))
        erase.delete_unused_photos(session, lister.kit.tenant_id, [photo_id])


def count(lister: Lister, table: type) -> int:
    with transaction(lister.kit.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def readable(lister: Lister, photo_id: uuid.UUID) -> bytes:
    photo = lister.photos()[photo_id]
    assert photo.archive_id is None
    return lister.store.get(photo.object_key)


def test_a_photo_that_is_erased_is_nowhere_and_its_neighbours_can_be_read(
    lister: Lister, reconciler: Reconciler
) -> None:
    job_id = send(lister, {"red.bmp": RED, "green.bmp": GREEN, "blue.bmp": BLUE})
    work(lister)
    kept = {name: photo_of_name(lister, job_id, name) for name in ("red.bmp", "blue.bmp")}
    assert lies_in(lister, GREEN) != []
    erase_photo(lister, photo_of_name(lister, job_id, "green.bmp"))
    reconciler.reconcile()
    assert lies_in(lister, GREEN) == []
    assert readable(lister, kept["red.bmp"]) == RED
    assert readable(lister, kept["blue.bmp"]) == BLUE
    assert count(lister, Archive) == count(lister, DoomedObject) == count(lister, Upload) == 0


def test_a_subject_that_is_erased_takes_the_photos_in_its_zip_along(
    lister: Lister, reconciler: Reconciler
) -> None:
    kit = lister.kit
    gallery = kit.gallery()
    ada, eve = kit.subject(gallery, "Ada"), kit.subject(gallery, "Eve")
    wanted = {"kind": JobKind.ENROL, "gallery_id": gallery}
    send(lister, {"red.bmp": RED, "green.bmp": GREEN}, subject_id=ada, **wanted)
    claims = kit.claim_all()
    kit.record(*(done(one, photo_of(1), enrol=EnrolFace(ordinal=0)) for one in claims))
    send(lister, {"blue.bmp": BLUE}, subject_id=eve, **wanted)
    with transaction(kit.database) as session:
        erase.delete_subject(session, kit.tenant_id, gallery, ada)
    reconciler.reconcile()
    assert lies_in(lister, RED) == lies_in(lister, GREEN) == []
    assert len(lies_in(lister, BLUE)) == count(lister, Archive) == 1


@pytest.mark.parametrize("pages", [0, 1])
def test_a_subject_that_is_erased_ends_the_listing_of_what_is_to_be_enrolled_for_it(
    lister: Lister, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    kit = lister.kit
    gallery = kit.gallery()
    wanted = {"kind": JobKind.ENROL, "gallery_id": gallery, "subject_id": kit.subject(gallery, "A")}
    zip_job = lister.job(stored(lister, {"red.bmp": RED, "green.bmp": GREEN}), **wanted)
    monkeypatch.setattr(archive, "PAGE_ITEMS", 1)
    monkeypatch.setattr(stage, "TURN_S", 0.0)
    monkeypatch.setattr(stage, "TURN_PREPARATIONS", 0.0)
    for source_id in lister.due() * pages:
        list_source(lister.context, source_id)
    assert len(lister.items(zip_job)) == pages
    with transaction(kit.database) as session:
        erase.delete_subject(session, kit.tenant_id, gallery, wanted["subject_id"])
    lister.list_all()
    work(lister)
    reconciler.reconcile()
    assert len(lister.items(zip_job)) == pages
    assert count(lister, Photo) == count(lister, Archive) == 0
    assert lies_in(lister, RED) == lies_in(lister, GREEN) == []
    (source,) = lister.views(zip_job)
    assert (source.state, source.error_code) == (SourceState.FAILED, "subject_not_found")
    assert kit.view(zip_job).finished_at is not None


def test_a_source_that_is_added_while_its_subject_is_erased_ends_too(
    lister: Lister, second: Second
) -> None:
    kit = lister.kit
    gallery = kit.gallery()
    subject = kit.subject(gallery, "A")
    job_id = kit.job(seal=False, kind=JobKind.ENROL, gallery_id=gallery, subject_id=subject)
    new = stored(lister, {"red.bmp": RED})
    with transaction(kit.database) as session:
        sources.add_source(session, kit.tenant_id, job_id, new)
        erasing = second.begin(
            lambda other: erase.delete_subject(other, kit.tenant_id, gallery, subject)
        )
    erasing.result()
    lister.list_all()
    assert lister.items(job_id) == []
    assert [one.error_code for one in lister.views(job_id)] == ["subject_not_found"]


def test_a_job_that_is_deleted_takes_its_zip_along(lister: Lister, reconciler: Reconciler) -> None:
    job_id = send(lister, {"red.bmp": RED, "green.bmp": GREEN})
    reconciler.reconcile()
    assert count(lister, Archive) == 1
    with transaction(lister.kit.database) as session:
        erase.delete_job(session, lister.kit.tenant_id, job_id)
    reconciler.reconcile()
    assert lies_in(lister, RED) == lies_in(lister, GREEN) == []
    assert count(lister, Archive) == count(lister, DoomedObject) == count(lister, Photo) == 0


def test_templates_keep_their_photos_when_the_job_goes_with_its_zip(
    lister: Lister, reconciler: Reconciler
) -> None:
    kit = lister.kit
    gallery = kit.gallery()
    subject = kit.subject(gallery, "Ada")
    wanted = {"kind": JobKind.ENROL, "gallery_id": gallery, "subject_id": subject}
    job_id = send(lister, {"red.bmp": RED, "green.bmp": GREEN}, **wanted)
    first, _ = kit.claim_all()
    kit.record(done(first, photo_of(1), enrol=EnrolFace(ordinal=0)))
    with transaction(kit.database) as session:
        erase.delete_job(session, kit.tenant_id, job_id)
    for _ in range(2):
        reconciler.reconcile()
    assert readable(lister, first.photo_id) == RED
    assert lies_in(lister, GREEN) == []


def test_a_zip_that_is_refused_goes(lister: Lister, reconciler: Reconciler) -> None:
    send(lister, {"readme.txt": RED})
    assert lies_in(lister, RED) != []
    reconciler.reconcile()
    assert lies_in(lister, RED) == []


def test_bytes_that_a_zip_has_as_well_go_with_the_photo_that_was_there_before(
    lister: Lister, reconciler: Reconciler
) -> None:
    before = send(lister, {"red.bmp": RED})
    work(lister)
    again = send(lister, {"copy.bmp": RED, "blue.bmp": BLUE})
    work(lister)
    red = photo_of_name(lister, before, "red.bmp")
    assert photo_of_name(lister, again, "copy.bmp") == red
    assert count(lister, ArchiveCopy) == 1
    assert len(lies_in(lister, RED)) == 2
    erase_photo(lister, red)
    reconciler.reconcile()
    assert lies_in(lister, RED) == []
    assert readable(lister, photo_of_name(lister, again, "blue.bmp")) == BLUE


def test_a_zip_all_of_whose_photos_are_known_is_not_kept(
    lister: Lister, reconciler: Reconciler
) -> None:
    send(lister, {"red.bmp": RED, "green.bmp": GREEN})
    work(lister)
    send(lister, {"a.bmp": GREEN, "b.bmp": RED})
    assert count(lister, Archive) == 2
    work(lister)
    reconciler.reconcile()
    assert count(lister, Archive) == 1
    assert len(lies_in(lister, RED)) == 1


def test_photos_that_a_worker_is_reading_stay_where_they_are(
    lister: Lister, reconciler: Reconciler
) -> None:
    job_id = send(lister, {"red.bmp": RED, "green.bmp": GREEN})
    lister.kit.claim_all()
    erase_photo(lister, photo_of_name(lister, job_id, "green.bmp"))
    reconciler.reconcile()
    assert lister.photos()[photo_of_name(lister, job_id, "red.bmp")].archive_id is not None
    lister.execute("UPDATE item SET state = 'queued', lease_until = NULL")
    reconciler.reconcile()
    assert readable(lister, photo_of_name(lister, job_id, "red.bmp")) == RED
    assert lies_in(lister, GREEN) == []


def test_a_zip_that_is_still_listed_stays_until_that_is_done(
    lister: Lister, reconciler: Reconciler
) -> None:
    job_id = send(lister, {"red.bmp": RED, "green.bmp": GREEN})
    lister.execute("UPDATE source SET state = 'queued', finished_at = NULL")
    for name in ("red.bmp", "green.bmp"):
        erase_photo(lister, photo_of_name(lister, job_id, name))
    reconciler.reconcile()
    assert count(lister, Archive) == 1
    assert lies_in(lister, RED) != []
    lister.execute("UPDATE source SET state = 'done', finished_at = now()")
    reconciler.reconcile()
    assert lies_in(lister, RED) == []


def test_an_entry_that_cannot_be_read_keeps_nobody_from_going(
    lister: Lister, reconciler: Reconciler
) -> None:
    job_id = send(lister, {"red.bmp": RED, "green.bmp": GREEN})
    red = photo_of_name(lister, job_id, "red.bmp")
    lister.execute("UPDATE photo SET entry_crc32 = 1 WHERE entry_name = 'red.bmp'")
    erase_photo(lister, photo_of_name(lister, job_id, "green.bmp"))
    reconciler.reconcile()
    assert lies_in(lister, GREEN) == lies_in(lister, RED) == []
    assert lister.photos()[red].archive_id is None


def test_a_death_between_a_photos_copy_and_its_row_leaves_nothing_behind(
    lister: Lister, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = send(lister, {"red.bmp": RED, "green.bmp": GREEN})
    erase_photo(lister, photo_of_name(lister, job_id, "green.bmp"))

    class Killed(BaseException):
        pass

    def dying(*_: object) -> bool:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(emptying, "move_out", dying)
        with pytest.raises(Killed):
            reconciler.reconcile()
    assert count(lister, Upload) == 1
    reconciler.reconcile()
    assert readable(lister, photo_of_name(lister, job_id, "red.bmp")) == RED
    lister.execute("UPDATE upload SET created_at = created_at - interval '2 h'")
    reconciler.reconcile()
    lister.execute("UPDATE doomed_object SET created_at = created_at - interval '2 h'")
    reconciler.reconcile()
    assert len(lies_in(lister, RED)) == 1


def test_objects_of_others_are_never_deleted(lister: Lister, reconciler: Reconciler) -> None:
    folder = lister.folder()
    lister.fill(folder, "a.bmp", data=RED)
    zip_key = lister.store.put(f"{folder}photos.zip", [zipped({"b.bmp": GREEN}, method=0)]).key
    bucket = lister.settings.s3_bucket
    in_zip = NewSource(kind=SourceKind.ARCHIVE, bucket=bucket, object_key=zip_key)
    job_id = lister.job(prefix(folder, bucket), in_zip)
    lister.list_all()
    work(lister)
    with transaction(lister.kit.database) as session:
        erase.delete_job(session, lister.kit.tenant_id, job_id)
    for _ in range(2):
        reconciler.reconcile()
    assert sorted(lister.store.keys(folder)) == [f"{folder}a.bmp", f"{folder}photos.zip"]
    assert lister.photos() == {}


def test_photos_that_are_in_a_zip_of_two_jobs_stay_for_the_second(
    lister: Lister, reconciler: Reconciler
) -> None:
    first = send(lister, {"red.bmp": RED})
    photo = lister.photos()[photo_of_name(lister, first, "red.bmp")]
    archive = NewArchive(object_key=photo.object_key, size_bytes=1)
    second = lister.job(NewSource(kind=SourceKind.ARCHIVE, archive=archive))
    lister.list_all()
    with transaction(lister.kit.database) as session:
        erase.delete_job(session, lister.kit.tenant_id, first)
    reconciler.reconcile()
    assert readable(lister, photo_of_name(lister, second, "red.bmp")) == RED
