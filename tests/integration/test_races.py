"""Two who want the same rows at the same moment: whoever comes second sees what the first did."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from ledger_kit import Kit, done, item, photo_of
from race_kit import Second
from source_kit import Lister, prefix
from sqlalchemy import func, select, text

from db import accept, control, erase, jobs, ledger
from db.errors import JobSealedError
from db.hashes import ReadPhoto
from db.ledger import Claim
from db.models import (
    Candidate,
    DoomedObject,
    Event,
    Face,
    Gallery,
    Item,
    Job,
    Photo,
    Subject,
    Template,
)
from db.page import ListedEntry, Page, insert_page
from db.places import PhotoPlace
from db.record import EnrolFace, Outcome, record
from db.session import transaction
from db.states import ItemState, JobKind
from db.views import NewItem, NewJob


def count(kit: Kit, table: type) -> int:
    with transaction(kit.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def test_a_photo_added_while_its_job_is_cancelled_is_cancelled_too(
    kit: Kit, second: Second
) -> None:
    job_id = kit.job(item("a"), seal=False)
    with transaction(kit.database) as session:
        accept.add_items(session, kit.tenant_id, job_id, [item("b")])
        cancelling = second.begin(lambda other: control.cancel_job(other, kit.tenant_id, job_id))
    assert cancelling.result() is True
    view = kit.view(job_id)
    assert (view.n_items, view.n_cancelled, view.n_queued) == (2, 2, 0)
    assert count(kit, Event) == 1


def test_a_photo_comes_too_late_for_a_job_that_is_being_cancelled(kit: Kit, second: Second) -> None:
    job_id = kit.job(item("a"), seal=False)
    with transaction(kit.database) as session:
        control.cancel_job(session, kit.tenant_id, job_id)
        adding = second.begin(
            lambda other: accept.add_items(other, kit.tenant_id, job_id, [item("b")])
        )
    with pytest.raises(JobSealedError):
        adding.result()
    assert kit.view(job_id).n_items == 1


def test_the_last_photo_and_the_seal_end_a_job_once(kit: Kit, second: Second) -> None:
    job_id = kit.job(item("a"), seal=False)
    (claimed,) = kit.claim_all()
    with transaction(kit.database) as session:
        jobs.seal_job(session, kit.tenant_id, job_id)
        recording = second.begin(lambda _other: kit.record(done(claimed, photo_of(1))))
    recording.result()
    assert kit.view(job_id).finished
    assert count(kit, Event) == 1


def test_two_who_record_the_halves_of_a_job_end_it_once(kit: Kit) -> None:
    job_id = kit.job(*(item(str(n)) for n in range(40)))
    claims = kit.claim_all()
    barrier = threading.Barrier(8)

    def work(part: int) -> None:
        barrier.wait()
        for claimed in claims[part::8]:
            kit.record(done(claimed, photo_of(claimed.item_id)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    view = kit.view(job_id)
    assert (view.n_done, view.n_items, view.finished) == (40, 40, True)
    assert count(kit, Event) == 1


def test_many_claims_of_the_same_items_share_them(kit: Kit) -> None:
    kit.job(*(item(str(n)) for n in range(40)))
    ids = [item_id for chunk in kit.dispatch() for item_id in chunk]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: kit.claim(ids), range(8)))
    assert sorted(one.item_id for claims in taken for one in claims) == sorted(ids)


def test_a_photo_enrolled_while_its_subject_is_deleted_is_deleted_too(
    kit: Kit, second: Second
) -> None:
    gallery_id = kit.gallery()
    subject_id = kit.enrol(gallery_id, "anna", seed=1)
    with transaction(kit.database) as session:
        new = NewJob(kind=JobKind.ENROL, gallery_id=gallery_id)
        job_id = jobs.create_job(session, kit.tenant_id, new)
        accept.add_items(session, kit.tenant_id, job_id, [item("late", subject_id=subject_id)])
        jobs.seal_job(session, kit.tenant_id, job_id)
        deleting = second.begin(
            lambda other: erase.delete_subject(other, kit.tenant_id, gallery_id, subject_id)
        )
    deleting.result()
    assert [count(kit, table) for table in (Subject, Template, Photo, Face)] == [0, 0, 0, 0]
    view = kit.view(job_id)
    assert (view.n_cancelled, view.finished) == (1, True)


def test_a_job_made_while_its_gallery_is_deleted_leaves_no_photo(kit: Kit, second: Second) -> None:
    gallery_id = kit.gallery()
    with transaction(kit.database) as session:
        job_id = jobs.create_job(
            session, kit.tenant_id, NewJob(kind=JobKind.IDENTIFY, gallery_id=gallery_id)
        )
        accept.add_items(session, kit.tenant_id, job_id, [item("late")])
        deleting = second.begin(
            lambda other: erase.delete_gallery(other, kit.tenant_id, gallery_id)
        )
    deleting.result()
    assert [count(kit, table) for table in (Gallery, Job, Item, Photo)] == [0, 0, 0, 0]


def test_jobs_that_are_deleted_meanwhile_do_not_keep_their_gallery(
    kit: Kit, second: Second
) -> None:
    gallery_id = kit.gallery()
    job_ids = [
        kit.job(item(name), kind=JobKind.IDENTIFY, gallery_id=gallery_id) for name in ("a", "b")
    ]
    with transaction(kit.database) as session:
        # Both at once: the other waits at one of them, and then finds the next one gone.
        for job_id in job_ids:
            erase.delete_job(session, kit.tenant_id, job_id)
        deleting = second.begin(
            lambda other: erase.delete_gallery(other, kit.tenant_id, gallery_id)
        )
    deleting.result()
    assert [count(kit, table) for table in (Gallery, Job, Item, Photo)] == [0, 0, 0, 0]


def test_a_gallery_takes_along_what_a_deleted_job_had_enrolled(kit: Kit) -> None:
    gallery_id = kit.gallery()
    kit.enrol(gallery_id, "anna", seed=1)
    with transaction(kit.database) as session:
        (job_id,) = session.scalars(select(Job.id))
        erase.delete_job(session, kit.tenant_id, job_id)
    with transaction(kit.database) as session:
        erase.delete_gallery(session, kit.tenant_id, gallery_id)
    assert [count(kit, table) for table in (Template, Photo, Face)] == [0, 0, 0]


def test_a_worker_that_records_while_a_subject_is_deleted_leaves_it_out(
    kit: Kit, second: Second
) -> None:
    gallery_id = kit.gallery()
    subject_id = kit.enrol(gallery_id, "anna", seed=1)
    job_id = kit.job(item("p"), kind=JobKind.IDENTIFY, gallery_id=gallery_id)
    (claimed,) = kit.claim_all()
    outcome = kit.searched(claimed, photo_of(1, shift=0.1))
    with transaction(kit.database) as session:
        erase.delete_subject(session, kit.tenant_id, gallery_id, subject_id)
        recording = second.begin(lambda _other: kit.record(outcome))
    assert recording.result() == {claimed.item_id}
    assert kit.view(job_id).n_done == 1
    assert (count(kit, Candidate), count(kit, Face)) == (0, 1)


def test_deleting_and_recording_the_same_photo_do_not_wait_in_a_ring(
    kit: Kit, second: Second
) -> None:
    # The photo that enrolled her is searched too: its recorder holds the photo, then the subject.
    gallery_id = kit.gallery()
    subject_id = kit.enrol(gallery_id, "anna", seed=1)
    kit.job(item("same", "anna-1"), kind=JobKind.IDENTIFY, gallery_id=gallery_id)
    (claimed,) = kit.claim_all()
    with transaction(kit.database) as session:
        photo = select(Photo.id).where(Photo.id == claimed.photo_id)
        session.execute(photo.with_for_update(read=True, key_share=True))
        deleting = second.begin(
            lambda other: erase.delete_subject(other, kit.tenant_id, gallery_id, subject_id)
        )
        subject = select(Subject.id).where(Subject.id == subject_id)
        session.execute(text("SET LOCAL lock_timeout = '3s'"))
        session.execute(subject.with_for_update(read=True, key_share=True))
    deleting.result()
    assert count(kit, Subject) == 0


def test_adding_known_photos_and_deleting_their_job_do_not_wait_in_a_ring(
    kit: Kit, second: Second
) -> None:
    kit.job(item("a"))
    job_id = kit.job(item("b"), seal=False)
    with transaction(kit.database) as session:
        # As `delete_job` does: the job, then the photos.
        session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
        adding = second.begin(
            lambda other: accept.add_known_items(other, kit.tenant_id, job_id, [item("a")])
        )
        session.execute(text("SET LOCAL lock_timeout = '3s'"))
        session.execute(select(Photo.id).with_for_update())
    assert adding.result() == []


def test_submitting_known_bytes_and_deleting_their_gallery_do_not_wait_in_a_ring(
    kit: Kit, second: Second
) -> None:
    gallery_id = kit.gallery()
    kit.enrol(gallery_id, "anna", seed=1)
    with transaction(kit.database) as session:
        # As a submission does: the photos, then the gallery.
        accept.hold_known_photos(session, kit.tenant_id, [item("anna-1")])
        deleting = second.begin(
            lambda other: erase.delete_gallery(other, kit.tenant_id, gallery_id)
        )
        session.execute(text("SET LOCAL lock_timeout = '3s'"))
        session.execute(select(Gallery.id).with_for_update(read=True, key_share=True))
    deleting.result()
    assert [count(kit, table) for table in (Gallery, Job, Photo)] == [0, 0, 0]


def test_photos_that_the_tenant_has_are_held_by_their_hash(kit: Kit, stranger: Kit) -> None:
    kit.job(item("a"))
    stranger.job(item("b"))
    refused = NewItem(name="c", error_code="empty_file", error_detail="x")
    with transaction(kit.database) as session:
        held = accept.hold_known_photos(session, kit.tenant_id, [item("a"), item("b"), refused])
        assert held == {item("a").sha256}


def test_an_item_that_a_lower_limit_of_attempts_strands_is_set_aside(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    (claimed,) = kit.claim_all()
    with transaction(kit.database) as session:
        session.execute(text("UPDATE item SET lease_until = now() - interval '1 s'"))
        assert ledger.requeue_expired(session, max_attempts=3) == [claimed.item_id]
    kit.dispatch()
    with transaction(kit.database) as session:
        assert ledger.set_aside(session, max_attempts=1) == [claimed.item_id]
    with transaction(kit.database) as session:
        row = session.scalars(select(Item)).one()
        assert row.state is ItemState.FAILED
        assert row.error_detail == (
            "the photo was given up: its worker was lost once over it; the last time: "
            "no sign of life until its lease ran out"
        )
    assert kit.view(job_id).finished


def test_enrolling_one_photo_for_two_at_once_makes_two_templates(kit: Kit) -> None:
    gallery_id = kit.gallery()
    for name in ("anna", "ben"):
        kit.job(
            item(name, "the same bytes", subject_id=kit.subject(gallery_id, name)),
            kind=JobKind.ENROL,
            gallery_id=gallery_id,
        )
    claims = kit.claim_all()
    with ThreadPoolExecutor(2) as pool:
        list(
            pool.map(
                lambda one: kit.record(done(one, photo_of(1), enrol=EnrolFace(ordinal=0))), claims
            )
        )
    assert (count(kit, Template), count(kit, Face)) == (2, 1)


def test_a_photo_that_turns_out_known_while_another_job_lists_it_stays_that_jobs(
    lister: Lister, second: Second
) -> None:
    kit, folder = lister.kit, lister.folder()
    lister.fill(folder, "p.jpg")
    kit.job(item("q"))
    lister.job(prefix(folder))
    lister.list_all()
    (claimed,) = [one for one in kit.claim_all() if one.sha256 is None]
    other_id = kit.job(seal=False)
    with transaction(kit.database) as session:
        other = accept.lock_open_job(session, kit.tenant_id, other_id)
        entry = ListedEntry(name="p.jpg", client_id="p.jpg", photo_id=claimed.photo_id)
        insert_page(session, other, Page(entries=[entry], cursor=""))
        recording = second.begin(lambda _: kit.record(read_as(claimed, "q")))
    assert recording.result() == {claimed.item_id}
    (listed,) = lister.items(other_id)
    assert listed.photo_id == claimed.photo_id


def read_by_its_owner(lister: Lister, content: str) -> None:
    """Photos of these bytes were listed in the owner's bucket, and searched for faces."""
    folder = lister.folder()
    lister.fill(folder, "p.jpg", data=content.encode())
    lister.job(prefix(folder))
    lister.list_all()
    (claimed,) = lister.kit.claim_all()
    lister.kit.record(read_as(claimed, content))


def read_as(claimed: Claim, content: str) -> Outcome:
    read = ReadPhoto(sha256=hashlib.sha256(content.encode()).digest(), size_bytes=1)
    return done(claimed, photo_of(1), read=read)


def own_and_doomed(lister: Lister) -> tuple[list[str], list[str]]:
    """The keys of photos that lie with us, and those of objects that go."""
    with transaction(lister.kit.database) as session:
        doomed = list(session.scalars(select(DoomedObject.object_key)))
    return [one.object_key for one in lister.photos().values() if one.bucket is None], doomed


def test_two_who_send_the_bytes_of_an_owners_object_at_once_leave_one_of_their_own(
    lister: Lister, second: Second
) -> None:
    kit = lister.kit
    read_by_its_owner(lister, "p")
    first, other = item("a", "p"), item("b", "p")
    job_id, other_id = kit.job(seal=False), kit.job(seal=False)
    with transaction(kit.database) as session:
        accept.add_items(session, kit.tenant_id, job_id, [first])
        adding = second.begin(lambda them: accept.add_items(them, kit.tenant_id, other_id, [other]))
    assert adding.result() == 1
    assert own_and_doomed(lister) == ([first.object_key], [other.object_key])


def test_two_workers_who_read_what_an_owners_object_holds_leave_one_object_of_ours(
    lister: Lister, second: Second
) -> None:
    kit = lister.kit
    read_by_its_owner(lister, "p")
    with transaction(kit.database) as session:
        job = accept.lock_open_job(session, kit.tenant_id, kit.job(seal=False))
        entries = [
            ListedEntry(
                name=key,
                client_id=key,
                photo=PhotoPlace(
                    bucket=None, object_key=key, etag="sent", size_bytes=1, entry=None
                ),
            )
            for key in ("u/0", "u/1")
        ]
        insert_page(session, job, Page(entries=entries, cursor=""))
    mine, theirs = kit.claim_all()
    with transaction(kit.database) as session:
        record(session, [read_as(mine, "p")])
        recording = second.begin(lambda them: record(them, [read_as(theirs, "p")]))
    assert recording.result() == {theirs.item_id}
    assert own_and_doomed(lister) == (["u/0"], ["u/1"])
    (photo,) = lister.photos().values()
    assert (photo.bucket, photo.etag) == (None, "sent")
