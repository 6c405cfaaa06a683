"""The ledger: every accepted photo ends once, whoever dies on the way."""

import datetime as dt
import time

import pytest
from ledger_kit import Kit, done, failed, item, photo_of
from sqlalchemy import func, select, text

from db import accept, control, jobs, ledger, results
from db.errors import DuplicateItemError, EmptyJobError, JobNotFoundError, JobSealedError
from db.models import Event, Extraction, Face, Item
from db.session import transaction
from db.states import ItemState, JobState
from db.views import NewItem


def count(kit: Kit, table: type) -> int:
    with transaction(kit.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def expire(kit: Kit) -> None:
    with transaction(kit.database) as session:
        session.execute(
            text("UPDATE item SET lease_until = now() - interval '1 s' WHERE state = 'running'")
        )


def requeue(kit: Kit) -> list[int]:
    with transaction(kit.database) as session:
        return ledger.requeue_expired(session, max_attempts=3)


def test_a_photo_is_dispatched_once(kit: Kit) -> None:
    kit.job(item("a"), item("b"))
    assert [len(chunk) for chunk in kit.dispatch()] == [2]
    assert kit.dispatch() == []


def test_dispatch_keeps_a_bounded_number_in_flight(kit: Kit) -> None:
    kit.job(*(item(str(n)) for n in range(10)))
    first = kit.dispatch(chunk_items=2, in_flight=2)
    assert [len(chunk) for chunk in first] == [2, 2]
    assert kit.dispatch(chunk_items=2, in_flight=2) == []
    for claimed in kit.claim(first[0]):
        kit.record(done(claimed, photo_of()))
    assert [len(chunk) for chunk in kit.dispatch(chunk_items=2, in_flight=2)] == [2]


def test_chunks_never_mix_jobs(kit: Kit) -> None:
    kit.job(item("a"), item("b"))
    kit.job(item("c"))
    assert sorted(len(chunk) for chunk in kit.dispatch()) == [1, 2]


def test_a_second_claim_gets_nothing(kit: Kit) -> None:
    kit.job(item("a"))
    (chunk,) = kit.dispatch()
    assert len(kit.claim(chunk)) == 1
    assert kit.claim(chunk) == []


def test_an_expired_lease_can_be_claimed_with_a_higher_fence(kit: Kit) -> None:
    kit.job(item("a"))
    (first,) = kit.claim_all()
    expire(kit)
    (second,) = kit.claim([first.item_id])
    assert (second.fence, second.attempt) == (first.fence + 1, first.attempt + 1)


def test_only_the_latest_claim_can_record(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    (stale,) = kit.claim_all()
    expire(kit)
    (fresh,) = kit.claim([stale.item_id])
    assert kit.record(failed(stale)) == set()
    assert kit.record(done(fresh, photo_of(1))) == {fresh.item_id}
    assert kit.record(failed(stale)) == set()
    view = kit.view(job_id)
    assert (view.state, view.n_done, view.n_failed) == (JobState.SUCCEEDED, 1, 0)


def test_recording_twice_counts_once(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    (claimed,) = kit.claim_all()
    kit.record(done(claimed, photo_of(1)))
    assert kit.record(done(claimed, photo_of(1))) == set()
    assert kit.view(job_id).n_done == 1
    assert count(kit, Face) == 1


def test_the_same_photo_in_two_jobs_has_one_extraction(kit: Kit) -> None:
    for name in ("a", "b"):
        kit.job(item(name, "the same bytes"))
    first, second = kit.claim_all()
    kit.record(done(first, photo_of(1)))
    kit.record(done(second, photo_of(1)))
    assert (count(kit, Extraction), count(kit, Face)) == (1, 1)


def test_a_later_claim_knows_the_extraction(kit: Kit) -> None:
    kit.job(item("a", "the same bytes"))
    (first,) = kit.claim_all()
    kit.record(done(first, photo_of(1)))
    kit.job(item("b", "the same bytes"))
    (second,) = kit.claim_all()
    assert first.extraction_id is None
    assert second.extraction_id is not None


def test_counters_equal_rows_and_completion_is_written_once(kit: Kit) -> None:
    job_id = kit.job(*(item(str(n)) for n in range(4)))
    claims = kit.claim_all()
    kit.record(done(claims[0], photo_of(1)), failed(claims[1]))
    assert kit.view(job_id).state is JobState.RUNNING
    kit.record(done(claims[2], photo_of()), failed(claims[3]))
    view = kit.view(job_id)
    assert (view.n_items, view.n_done, view.n_failed, view.n_queued) == (4, 2, 2, 0)
    assert view.state is JobState.PARTIALLY_FAILED
    assert count(kit, Event) == 1


def test_a_job_of_failures_fails(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    kit.record(failed(*kit.claim_all()))
    assert kit.view(job_id).state is JobState.FAILED


def test_an_open_job_does_not_end_before_it_is_sealed(kit: Kit) -> None:
    job_id = kit.job(item("a"), seal=False)
    (claimed,) = kit.claim_all()
    kit.record(done(claimed, photo_of()))
    assert kit.view(job_id).state is JobState.RUNNING
    with transaction(kit.database) as session:
        jobs.seal_job(session, kit.tenant_id, job_id)
    assert kit.view(job_id).state is JobState.SUCCEEDED
    assert count(kit, Event) == 1


def test_a_handed_back_item_counts_no_attempt(kit: Kit) -> None:
    kit.job(item("a"))
    (claimed,) = kit.claim_all()
    with transaction(kit.database) as session:
        assert ledger.release(session, [claimed], delay_s=0) == {claimed.item_id}
    (again,) = kit.claim_all()
    assert (again.attempt, again.fence) == (1, 2)


def test_a_hand_back_waits_its_delay(kit: Kit) -> None:
    kit.job(item("a"))
    (claimed,) = kit.claim_all()
    with transaction(kit.database) as session:
        ledger.release(session, [claimed], delay_s=3600)
    assert kit.dispatch() == []


def test_expired_items_are_queued_and_travel_alone(kit: Kit) -> None:
    kit.job(item("a"), item("b"))
    claims = kit.claim_all()
    expire(kit)
    assert sorted(requeue(kit)) == sorted(claimed.item_id for claimed in claims)
    assert [len(chunk) for chunk in kit.dispatch()] == [1, 1]


def test_a_live_lease_is_left_alone(kit: Kit) -> None:
    kit.job(item("a"))
    kit.claim_all()
    assert requeue(kit) == []


def test_extending_keeps_a_lease_alive(kit: Kit) -> None:
    kit.job(item("a"))
    (claimed,) = kit.claim_all()
    expire(kit)
    with transaction(kit.database) as session:
        assert ledger.extend(session, [claimed], lease_s=60) == {claimed.item_id}
    assert requeue(kit) == []


def test_an_item_that_kills_its_workers_is_set_aside(kit: Kit) -> None:
    job_id = kit.job(item("poison"))
    for _ in range(3):
        assert len(kit.claim_all()) == 1
        expire(kit)
        requeue(kit)
    assert kit.claim_all() == []
    with transaction(kit.database) as session:
        assert len(ledger.set_aside(session, max_attempts=3)) == 1
        (row,) = results.job_items(session, kit.tenant_id, job_id)
    assert (row.state, row.error_code) == (ItemState.FAILED, "worker_lost")
    assert row.error_detail == (
        "the photo was given up: its worker was lost 3 times over it; the last time: "
        "no sign of life until its lease ran out"
    )
    assert (kit.view(job_id).state, kit.view(job_id).n_failed) == (JobState.FAILED, 1)


def test_a_message_that_was_lost_is_sent_again(kit: Kit) -> None:
    kit.job(item("a"))
    ((item_id,),) = kit.dispatch()
    with transaction(kit.database) as session:
        assert ledger.resend_stale(session, after_s=3600) == []
        assert ledger.resend_stale(session, after_s=0) == [item_id]
    assert kit.dispatch() == [[item_id]]


def test_cancel_ends_what_is_open_and_keeps_what_is_done(kit: Kit) -> None:
    job_id = kit.job(item("a"), item("b"), item("c"))
    claims = kit.claim_all()
    kit.record(done(claims[0], photo_of(1)))
    with transaction(kit.database) as session:
        assert control.cancel_job(session, kit.tenant_id, job_id)
    with transaction(kit.database) as session:
        assert not control.cancel_job(session, kit.tenant_id, job_id)
    assert kit.record(done(claims[1], photo_of(2))) == set()
    view = kit.view(job_id)
    assert (view.state, view.n_done, view.n_cancelled) == (JobState.CANCELLED, 1, 2)
    assert count(kit, Event) == 1


def test_adding_the_same_photo_twice_adds_it_once(kit: Kit) -> None:
    job_id = kit.job(item("a"), seal=False)
    with transaction(kit.database) as session:
        assert accept.add_items(session, kit.tenant_id, job_id, [item("a"), item("b")]) == 1
    assert kit.view(job_id).n_items == 2


def test_another_photo_under_the_same_id_is_refused(kit: Kit) -> None:
    job_id = kit.job(item("a"), seal=False)
    with pytest.raises(DuplicateItemError), transaction(kit.database) as session:
        accept.add_items(session, kit.tenant_id, job_id, [item("a", "other bytes")])
    assert kit.view(job_id).n_items == 1


def test_a_sealed_job_takes_no_photo(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    with pytest.raises(JobSealedError), transaction(kit.database) as session:
        accept.add_items(session, kit.tenant_id, job_id, [item("b")])


def test_an_empty_job_cannot_be_sealed(kit: Kit) -> None:
    with pytest.raises(EmptyJobError):
        kit.job()


def test_known_photos_are_added_by_hash_alone(kit: Kit) -> None:
    kit.job(item("a"))
    job_id = kit.job(seal=False)
    with transaction(kit.database) as session:
        missing = accept.add_known_items(session, kit.tenant_id, job_id, [item("a"), item("new")])
    assert [one.name for one in missing] == ["new"]
    assert kit.view(job_id).n_items == 1


def test_an_abandoned_open_job_is_cancelled(kit: Kit) -> None:
    job_id = kit.job(item("a"), seal=False)
    with transaction(kit.database) as session:
        assert control.cancel_abandoned(session, dt.timedelta(hours=1)) == []
        session.execute(text("UPDATE job SET changed_at = now() - interval '2 h'"))
        assert control.cancel_abandoned(session, dt.timedelta(hours=1)) == [job_id]
        assert control.cancelling_jobs(session) == [job_id]
        assert control.cancel_some(session, job_id) is None
    assert kit.view(job_id).state is JobState.CANCELLED


def test_a_stranger_sees_nothing(kit: Kit, stranger: Kit) -> None:
    job_id = kit.job(item("a"), seal=False)
    with transaction(kit.database) as session:
        for call in (jobs.get_job, control.cancel_job, jobs.seal_job):
            with pytest.raises(JobNotFoundError):
                call(session, stranger.tenant_id, job_id)
        assert results.job_items(session, stranger.tenant_id, job_id) == []
        assert jobs.list_jobs(session, stranger.tenant_id) == []


def test_a_stranger_with_the_same_bytes_has_a_photo_of_its_own(kit: Kit, stranger: Kit) -> None:
    for one in (kit, stranger):
        one.job(item("a"))
    with transaction(kit.database) as session:
        assert len(set(session.scalars(select(Item.photo_id)))) == 2


def test_a_job_starts_with_its_first_claim(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    assert (kit.view(job_id).state, kit.view(job_id).n_queued) == (JobState.QUEUED, 1)
    kit.claim_all()
    view = kit.view(job_id)
    assert (view.state, view.n_running, view.n_queued) == (JobState.RUNNING, 1, 0)
    assert view.started_at is not None


def test_a_lease_that_ran_out_is_seen_by_the_clock(kit: Kit) -> None:
    kit.job(item("a"))
    (claimed,) = kit.claim_all(lease_s=0.05)
    time.sleep(0.1)
    assert requeue(kit) == [claimed.item_id]


def test_adding_photos_waits_for_no_worker(kit: Kit) -> None:
    # A worker that claims holds items and waits for their job; who adds holds the job.
    job_id = kit.job(item("a"), seal=False)
    with transaction(kit.database) as worker:
        worker.execute(text("UPDATE item SET attempt = attempt + 1"))
        with transaction(kit.database) as session:
            session.execute(text("SET LOCAL lock_timeout = '300ms'"))
            added = accept.add_items(session, kit.tenant_id, job_id, [item("a"), item("b")])
    assert added == 1


def test_a_photo_sent_again_after_it_failed_is_still_the_same_photo(kit: Kit) -> None:
    job_id = kit.job(item("a"), item("b"), seal=False)
    kit.record(*(failed(claimed) for claimed in kit.claim_all()))
    with transaction(kit.database) as session:
        assert accept.add_items(session, kit.tenant_id, job_id, [item("a"), item("b")]) == 0
    with pytest.raises(DuplicateItemError), transaction(kit.database) as session:
        accept.add_items(session, kit.tenant_id, job_id, [item("a", "other bytes")])


def test_a_refused_photo_sent_again_is_still_the_same_photo(kit: Kit) -> None:
    refused = NewItem(name="a", client_id="a", error_code="empty_file", error_detail="empty")
    job_id = kit.job(refused, seal=False)
    with transaction(kit.database) as session:
        assert accept.add_items(session, kit.tenant_id, job_id, [refused]) == 0
    with pytest.raises(DuplicateItemError), transaction(kit.database) as session:
        accept.add_items(session, kit.tenant_id, job_id, [item("a")])
    assert kit.view(job_id).n_failed == 1
