"""Listing a source: each photo becomes an item once, whatever dies on the way."""

import threading
import uuid
from dataclasses import replace

import pytest
from ledger_kit import MAX_ATTEMPTS, Kit, done, photo_of
from source_kit import Lister, prefix

from db import control, erase
from db.errors import JobSealedError, SubjectRequiredError
from db.listing import add_page, finish_source
from db.models import Item, Source
from db.page import ListedEntry, Page
from db.places import PhotoPlace
from db.session import transaction
from db.states import ItemState, JobKind, JobState, SourceState
from db.storage import ObjectStore
from workers.board import Board
from workers.reconciler import Reconciler
from workers.stages import listing as stage
from workers.stages.listing import list_source


@pytest.fixture
def reconciler(lister: Lister) -> Reconciler:
    return Reconciler(lister.settings, lister.kit.database, lister.store)


def page_of(*names: str, cursor: str | None = None) -> Page:
    """A page of photos that nobody has looked for in a bucket."""
    entries = [
        ListedEntry(
            name=name,
            client_id=name,
            source_key=f"x/{name}",
            photo=PhotoPlace(
                object_key=f"x/{name}", size_bytes=1, bucket="elsewhere", etag="e", entry=None
            ),
        )
        for name in names
    ]
    return Page(entries=entries, cursor=cursor or names[-1])


def add(lister: Lister, claim: object, page: Page) -> bool:
    with transaction(lister.kit.database) as session:
        return add_page(session, claim, page, lease_s=60)


def test_the_photos_below_a_prefix_become_items_as_a_folders_files_would(lister: Lister) -> None:
    folder = lister.folder()
    lister.fill(folder, "a.jpg", "b/c.PNG", "notes.txt", ".hidden.jpg", ".git/d.jpg", "b/")
    lister.fill(folder, "empty.jpg", data=b"")
    lister.fill(folder, "large.jpg", data=b"x" * 11)
    lister = lister.with_settings(max_upload_bytes=10)
    job_id = lister.job(prefix(folder))
    assert lister.kit.view(job_id).n_items == 0
    lister.list_all()
    items = {one.client_id: one for one in lister.items(job_id)}
    assert {name: one.state for name, one in items.items()} == {
        "a.jpg": ItemState.QUEUED,
        "b/c.PNG": ItemState.QUEUED,
        "empty.jpg": ItemState.FAILED,
        "large.jpg": ItemState.FAILED,
    }
    assert [items[one].error_code for one in ("empty.jpg", "large.jpg")] == [
        "empty_file",
        "file_too_large",
    ]
    shown = items["b/c.PNG"]
    assert (shown.name, shown.source_key) == ("b/c.PNG", f"{folder}b/c.PNG")
    photo = lister.photos()[shown.photo_id]
    assert (photo.bucket, photo.object_key, photo.size_bytes) == (
        lister.settings.s3_bucket,
        f"{folder}b/c.PNG",
        1,
    )
    assert photo.sha256 is None
    assert photo.etag == lister.store.head(photo.object_key).etag
    (view,) = lister.views(job_id)
    assert (view.state, view.n_items) == (SourceState.DONE, 4)
    # The rest, as far as the server shows a folder as an object.
    assert view.n_skipped in {3, 4}
    job = lister.kit.view(job_id)
    assert (job.n_items, job.n_failed, job.state) == (4, 2, JobState.QUEUED)


def test_a_prefix_that_ends_within_a_name_leaves_names_whole(lister: Lister) -> None:
    folder = lister.folder()
    lister.fill(folder, "day/IMG_1.jpg", "day/IMG_2.jpg", "day/other.jpg")
    job_id = lister.job(prefix(f"{folder}day/IMG_"))
    lister.list_all()
    assert lister.ids(job_id) == ["IMG_1.jpg", "IMG_2.jpg"]


def test_a_listing_that_is_killed_between_pages_goes_on_behind_the_last(
    lister: Lister, reconciler: Reconciler, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lister.folder()
    # In an order that differs between servers: by bytes, or by folders.
    names = [f"{a}{sep}{b}.jpg" for a in ("a", "b") for sep in ("-", "/", ".") for b in range(3)]
    lister.fill(folder, *names)
    job_id = lister.job(prefix(folder))

    class Killed(BaseException):
        pass

    small = ObjectStore.page

    def two(self: ObjectStore, prefix: str, **more: object) -> object:
        return small(self, prefix, limit=2, **more)

    monkeypatch.setattr(ObjectStore, "page", two)
    pages = 0

    def dying(*args: object, **more: object) -> bool:
        nonlocal pages
        pages += 1
        if pages % 3 == 0:
            raise Killed
        return add_page(*args, **more)

    monkeypatch.setattr(stage, "add_page", dying)
    kills = 0
    while source_ids := lister.due():
        try:
            list_source(lister.context, source_ids[0])
        except Killed:
            kills += 1
            lister.execute("UPDATE source SET lease_until = now() - interval '1 s'")
            reconciler.reconcile()
    assert kills >= 4
    assert sorted(lister.ids(job_id)) == sorted(names)
    assert lister.views(job_id)[0].n_items == lister.kit.view(job_id).n_items == len(names)
    assert lister.views(job_id)[0].state is SourceState.DONE


def test_two_workers_at_one_source_add_each_page_once(lister: Lister) -> None:
    job_id = lister.job(prefix(lister.folder()))
    (source_id,) = lister.due()
    first = lister.claim(source_id)
    assert lister.claim(source_id) is None
    assert add(lister, first, page_of("a.jpg"))
    lister.execute("UPDATE source SET lease_until = now() - interval '1 s'")
    second = lister.claim(source_id)
    assert second.cursor == "a.jpg"
    assert not add(lister, first, page_of("b.jpg"))
    assert add(lister, second, page_of("b.jpg"))
    with transaction(lister.kit.database) as session:
        finish_source(session, first)
    assert lister.views(job_id)[0].state is SourceState.RUNNING
    with transaction(lister.kit.database) as session:
        finish_source(session, second)
        finish_source(session, second)
    assert lister.ids(job_id) == ["a.jpg", "b.jpg"]
    assert lister.views(job_id)[0].state is SourceState.DONE


def test_a_page_whose_commit_nobody_knew_of_is_not_added_again(lister: Lister) -> None:
    job_id = lister.job(prefix(lister.folder()))
    claim = lister.claim(lister.due()[0])
    assert add(lister, claim, page_of("a.jpg"))
    assert add(lister, claim, page_of("a.jpg"))
    assert lister.views(job_id)[0].n_items == len(lister.ids(job_id)) == 1


def test_many_workers_at_many_sources_list_each_photo_once(lister: Lister) -> None:
    folders = [lister.folder() for _ in range(3)]
    for folder in folders:
        lister.fill(folder, *(f"{n}.jpg" for n in range(5)))
    job_ids = [lister.job(prefix(folder)) for folder in folders]
    due = lister.due() * 3
    threads = [
        threading.Thread(target=list_source, args=(lister.context, source_id)) for source_id in due
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for job_id in job_ids:
        assert sorted(lister.ids(job_id)) == [f"{n}.jpg" for n in range(5)]


@pytest.fixture
def _pages_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = ObjectStore.page
    monkeypatch.setattr(
        ObjectStore,
        "page",
        lambda self, prefix, **more: usual(self, prefix, limit=1, **more),
    )


@pytest.mark.usefixtures("_pages_of_one")
def test_a_long_source_is_listed_in_turns(lister: Lister, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "TURN_S", 0)
    monkeypatch.setattr(stage, "TURN_PREPARATIONS", 0)
    folder = lister.folder()
    lister.fill(folder, "a.jpg", "b.jpg")
    job_id = lister.job(prefix(folder))
    (source_id,) = lister.due()
    list_source(lister.context, source_id)
    assert lister.ids(job_id) == ["a.jpg"]
    assert lister.due() == [source_id]
    list_source(lister.context, source_id)
    list_source(lister.context, lister.due()[0])
    assert lister.ids(job_id) == ["a.jpg", "b.jpg"]
    assert lister.views(job_id)[0].state is SourceState.DONE


@pytest.mark.usefixtures("_pages_of_one")
def test_a_worker_that_is_to_stop_hands_a_source_back_between_two_pages(lister: Lister) -> None:
    folder = lister.folder()
    lister.fill(folder, "a.jpg", "b.jpg")
    job_id = lister.job(prefix(folder))
    (source_id,) = lister.due()
    board = Board(processes=1)
    board.stop()
    list_source(replace(lister.context, slot=board.slot(0)), source_id)
    assert lister.ids(job_id) == ["a.jpg"]
    assert lister.due() == [source_id]
    list_source(lister.context, source_id)
    assert lister.ids(job_id) == ["a.jpg", "b.jpg"]


def test_a_job_ends_only_when_its_sources_are_listed(lister: Lister) -> None:
    job_id = lister.job(prefix(lister.folder()))
    claim = lister.claim(lister.due()[0])
    add(lister, claim, page_of("a.jpg"))
    (item,) = lister.kit.claim_all()
    lister.kit.record(done(item, photo_of()))
    assert lister.kit.view(job_id).state is JobState.RUNNING
    with transaction(lister.kit.database) as session:
        finish_source(session, claim)
    assert lister.kit.view(job_id).state is JobState.SUCCEEDED


def test_a_source_without_photos_fails_with_its_job(lister: Lister) -> None:
    folder = lister.folder()
    lister.fill(folder, "notes.txt")
    job_id = lister.job(prefix(folder))
    lister.list_all()
    (view,) = lister.views(job_id)
    assert (view.state, view.error_code, view.n_skipped) == (SourceState.FAILED, "source_empty", 1)
    assert lister.kit.view(job_id).state is JobState.FAILED


def test_a_source_that_takes_three_workers_down_is_set_aside(
    lister: Lister, reconciler: Reconciler
) -> None:
    job_id = lister.job(prefix(lister.folder()))
    for _ in range(MAX_ATTEMPTS):
        (source_id,) = lister.due()
        assert lister.claim(source_id)
        reconciler.reconcile()
        assert lister.due() == []
        lister.execute("UPDATE source SET lease_until = now() - interval '1 s'")
        reconciler.reconcile()
    assert lister.due() == []
    (view,) = lister.views(job_id)
    assert (view.state, view.error_code) == (SourceState.FAILED, "source_lost")
    assert lister.kit.view(job_id).state is JobState.FAILED


def test_a_page_that_is_listed_lets_the_attempts_begin_anew(
    lister: Lister, reconciler: Reconciler
) -> None:
    job_id = lister.job(prefix(lister.folder()))
    for n in range(2 * MAX_ATTEMPTS):
        (source_id,) = lister.due()
        assert add(lister, lister.claim(source_id), page_of(f"{n}.jpg"))
        lister.execute("UPDATE source SET lease_until = now() - interval '1 s'")
        reconciler.reconcile()
    assert lister.views(job_id)[0].state is SourceState.QUEUED


def test_a_source_that_was_sent_and_never_claimed_is_sent_again(
    lister: Lister, reconciler: Reconciler
) -> None:
    lister.job(prefix(lister.folder()))
    (source_id,) = lister.due()
    assert lister.due() == []
    lister.execute("UPDATE source SET dispatched_at = now() - interval '1 h'")
    reconciler.reconcile()
    assert lister.due() == [source_id]


def test_a_bucket_that_is_away_counts_no_attempt(lister: Lister) -> None:
    settings = lister.settings.model_copy(update={"s3_bucket": "not-there-yet", "lease_s": 1.0})
    store = ObjectStore.from_settings(settings)
    lister = Lister(kit=lister.kit, settings=settings, store=store)
    job_id = lister.job(prefix(lister.folder(), bucket="not-there-yet"))
    for _ in range(2 * MAX_ATTEMPTS):
        (source_id,) = lister.due()
        list_source(lister.context, source_id)
        assert lister.due() == []  # The store is given a moment.
        lister.execute("UPDATE source SET due_at = now()")
    assert lister.views(job_id)[0].state is SourceState.QUEUED


def test_a_bucket_that_does_not_exist_fails_the_source(lister: Lister) -> None:
    lister = lister.with_settings(sources="*=s3://no-such-bucket-here")
    job_id = lister.job(prefix("a/", bucket="no-such-bucket-here"))
    lister.list_all()
    assert lister.views(job_id)[0].error_code == "source_missing"


def test_a_place_that_is_not_allowed_any_more_fails_the_source(lister: Lister) -> None:
    for place in ("sources/stranger/", "sources/", f"{uuid.uuid4()}/", ""):
        job_id = lister.job(prefix(place))
        lister.list_all()
        assert lister.views(job_id)[0].error_code == "source_not_allowed"


def test_objects_that_were_listed_before_are_linked_and_changed_ones_are_new(
    lister: Lister,
) -> None:
    folder = lister.folder()
    lister.fill(folder, "a.jpg", "b.jpg")
    first = lister.job(prefix(folder))
    lister.list_all()
    lister.fill(folder, "b.jpg", data=b"changed")
    second = lister.job(prefix(folder))
    lister.list_all()
    before, after = ([one.photo_id for one in lister.items(job)] for job in (first, second))
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_a_stranger_has_photos_of_its_own(lister: Lister, stranger: Kit) -> None:
    settings = lister.settings.model_copy(update={"sources": "*=s3://facebatch/shared/"})
    folder = f"shared/{uuid.uuid4().hex}/"
    lister.fill(folder, "a.jpg")
    ids = set()
    for kit in (lister.kit, stranger):
        one = Lister(kit=kit, settings=settings, store=lister.store)
        job_id = one.job(prefix(folder))
        one.list_all()
        ids.add(one.items(job_id)[0].photo_id)
    assert len(ids) == 2


def test_an_id_that_the_job_has_costs_one_item_and_the_same_object_none(lister: Lister) -> None:
    one, other = lister.folder(), lister.folder()
    lister.fill(one, "a.jpg", "b.jpg")
    lister.fill(other, "a.jpg", "c.jpg", data=b"other")
    job_id = lister.job(seal=False)
    for folder in (one, other, one):
        source_id = lister.add(job_id, prefix(folder))
        # What is still to be listed is not listed a second time.
        assert lister.add(job_id, prefix(folder)) == source_id
        lister.list_all()
    items = lister.items(job_id)
    assert [(item.client_id, item.error_code) for item in items] == [
        ("a.jpg", None),
        ("b.jpg", None),
        (None, "duplicate_item"),
        ("c.jpg", None),
    ]
    assert [view.n_items for view in lister.views(job_id)] == [2, 2, 2]
    assert {view.state for view in lister.views(job_id)} == {SourceState.DONE}


def test_a_name_that_cannot_be_kept_costs_one_item(lister: Lister) -> None:
    folder = lister.folder()
    lister.fill(folder, "good.jpg", "turned\u202egpj.jpg")
    job_id = lister.job(prefix(folder))
    lister.list_all()
    items = {one.client_id: one for one in lister.items(job_id)}
    assert items["good.jpg"].state is ItemState.QUEUED
    assert (items[None].error_code, items[None].name) == ("key_unusable", "turned\\u202egpj.jpg")


def test_a_paused_job_is_not_listed_and_goes_on_where_it_stood(lister: Lister) -> None:
    job_id = lister.job(prefix(lister.folder()))
    claim = lister.claim(lister.due()[0])
    lister.execute("UPDATE job SET paused_at = now()")
    assert not add(lister, claim, page_of("a.jpg"))
    assert lister.due() == []
    assert lister.ids(job_id) == ["a.jpg"]
    lister.execute("UPDATE job SET paused_at = NULL")
    again = lister.claim(lister.due()[0])
    assert again.cursor == "a.jpg"


def test_a_source_that_was_sent_before_its_job_paused_is_sent_when_it_goes_on(
    lister: Lister,
) -> None:
    lister.job(prefix(lister.folder()))
    (source_id,) = lister.due()
    lister.execute("UPDATE job SET paused_at = now()")
    assert lister.claim(source_id) is None
    lister.execute("UPDATE job SET paused_at = NULL")
    assert lister.due() == [source_id]


def test_cancelling_a_job_ends_its_sources(lister: Lister) -> None:
    job_id = lister.job(prefix(lister.folder()), prefix(lister.folder()))
    claim = lister.claim(lister.due()[0])
    with transaction(lister.kit.database) as session:
        control.cancel_job(session, lister.kit.tenant_id, job_id)
    assert not add(lister, claim, page_of("a.jpg"))
    assert {view.state for view in lister.views(job_id)} == {SourceState.CANCELLED}
    assert lister.ids(job_id) == []
    assert lister.kit.view(job_id).state is JobState.CANCELLED


def test_a_job_that_is_being_cancelled_is_not_listed_further(lister: Lister) -> None:
    job_id = lister.job(prefix(lister.folder()))
    (source_id,) = lister.due()
    claim = lister.claim(source_id)
    lister.execute("UPDATE job SET cancel_requested_at = now()")
    assert not add(lister, claim, page_of("a.jpg"))
    assert lister.views(job_id)[0].state is SourceState.CANCELLED


def test_deleting_a_job_ends_its_listing(lister: Lister) -> None:
    job_id = lister.job(prefix(lister.folder()))
    claim = lister.claim(lister.due()[0])
    add(lister, claim, page_of("a.jpg"))
    with transaction(lister.kit.database) as session:
        erase.delete_job(session, lister.kit.tenant_id, job_id)
    assert not add(lister, claim, page_of("b.jpg"))
    with transaction(lister.kit.database) as session:
        assert session.query(Source).count() == session.query(Item).count() == 0
    assert lister.photos() == {}


def test_deleting_a_job_deletes_no_object_of_others(lister: Lister, reconciler: Reconciler) -> None:
    folder = lister.folder()
    lister.fill(folder, "a.jpg")
    job_id = lister.job(prefix(folder))
    lister.list_all()
    with transaction(lister.kit.database) as session:
        erase.delete_job(session, lister.kit.tenant_id, job_id)
    reconciler.reconcile()
    assert list(lister.store.keys(folder)) == [f"{folder}a.jpg"]


def test_a_job_takes_no_source_that_it_cannot_have(lister: Lister) -> None:
    sealed = lister.job(prefix(lister.folder()))
    with pytest.raises(JobSealedError):
        lister.add(sealed, prefix(lister.folder()))
    gallery = lister.kit.gallery()
    enrol = lister.kit.job(seal=False, kind=JobKind.ENROL, gallery_id=gallery)
    with pytest.raises(SubjectRequiredError):
        lister.add(enrol, prefix(lister.folder()))


def test_photos_of_a_source_are_enrolled_for_the_jobs_subject(lister: Lister) -> None:
    gallery = lister.kit.gallery()
    subject = lister.kit.subject(gallery, "Ada")
    folder = lister.folder()
    lister.fill(folder, "a.jpg")
    job_id = lister.job(prefix(folder), kind=JobKind.ENROL, gallery_id=gallery, subject_id=subject)
    lister.list_all()
    assert lister.items(job_id)[0].subject_id == subject
