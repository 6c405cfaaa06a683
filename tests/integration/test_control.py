"""Control of jobs: pause, resume, cancel, retry, and how far they are."""

import uuid

import pytest
from ledger_kit import Kit, done, failed, indexes_of_items, item, many, photo_of, plans
from sqlalchemy import func, select, text

from db import accept, control, erase_jobs, jobs, ledger, results
from db.errors import JobCancelledError, JobEndedError, JobNotFoundError, JobSealedError
from db.models import Event, Face, Item, Job, Photo, Source
from db.session import transaction
from db.states import ItemState, JobState, SourceKind, SourceState
from db.views import NewItem


def count(kit: Kit, table: type) -> int:
    with transaction(kit.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def pause(kit: Kit, job_id: uuid.UUID) -> None:
    with transaction(kit.database) as session:
        control.pause_job(session, kit.tenant_id, job_id)


def resume(kit: Kit, job_id: uuid.UUID) -> None:
    with transaction(kit.database) as session:
        control.resume_job(session, kit.tenant_id, job_id)


def retry(kit: Kit, job_id: uuid.UUID) -> int:
    with transaction(kit.database) as session:
        return control.retry_job(session, kit.tenant_id, job_id)


def begin_cancel(kit: Kit, job_id: uuid.UUID) -> bool:
    with transaction(kit.database) as session:
        return control.begin_cancel(session, kit.tenant_id, job_id)


def age_samples(kit: Kit, seconds: int) -> None:
    """As if so much time had passed since the job's samples were taken."""
    with transaction(kit.database) as session:
        session.execute(
            text("""
                UPDATE job SET mark_at = mark_at - make_interval(secs => :s),
                               before_at = before_at - make_interval(secs => :s)
            """),
            {"s": seconds},
        )


def test_a_paused_job_begins_nothing_and_ends_what_runs(kit: Kit) -> None:
    job_id = kit.job(item("a"), item("b"), item("c"))
    ids = [one for chunk in kit.dispatch(chunk_items=1) for one in chunk]
    (running,) = kit.claim(ids[:1])
    pause(kit, job_id)
    pause(kit, job_id)
    assert (kit.view(job_id).paused, kit.claim(ids[1:]), kit.dispatch()) == (True, [], [])
    assert kit.record(done(running, photo_of(1))) == {running.item_id}
    resume(kit, job_id)
    assert len(kit.claim_all()) == 2
    assert not kit.view(job_id).paused


def test_a_lease_that_ran_out_is_not_claimed_while_the_job_is_paused(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    (held,) = kit.claim_all(lease_s=-1)
    pause(kit, job_id)
    assert kit.claim([held.item_id]) == []


def test_a_paused_job_that_has_nothing_left_ends(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    (running,) = kit.claim_all()
    pause(kit, job_id)
    kit.record(done(running, photo_of(1)))
    assert (kit.view(job_id).state, kit.view(job_id).paused) == (JobState.SUCCEEDED, False)


def test_a_job_that_has_ended_is_neither_paused_nor_resumed(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    kit.record(done(*kit.claim_all(), photo_of(1)))
    for change in (pause, resume):
        with pytest.raises(JobEndedError):
            change(kit, job_id)


def test_resuming_what_is_not_paused_changes_nothing(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    before = kit.view(job_id)
    resume(kit, job_id)
    assert kit.view(job_id).before_at == before.before_at


def test_cancelling_stops_at_once_and_ends_in_batches(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "BATCH_ITEMS", 10)
    job_id = kit.job(*(item(str(n)) for n in range(35)))
    running = kit.claim(kit.dispatch()[0])
    assert begin_cancel(kit, job_id)
    view = kit.view(job_id)
    assert (view.cancelling, view.finished, view.n_cancelled) == (True, False, len(running))
    assert kit.record(*(done(one, photo_of(1)) for one in running)) == set()
    assert kit.dispatch() == []
    batches, after = 0, 0
    while after is not None:
        with transaction(kit.database) as session:
            after = control.cancel_some(session, job_id, after)
        batches += 1
    view = kit.view(job_id)
    assert batches == 2  # 16 ran, and 19 were queued.
    assert (view.state, view.n_cancelled, view.cancelling) == (JobState.CANCELLED, 35, False)
    assert count(kit, Event) == 1


def test_a_job_that_is_being_cancelled_takes_no_photo_and_cannot_be_paused(kit: Kit) -> None:
    job_id = kit.job(item("a"), seal=False)
    begin_cancel(kit, job_id)
    with pytest.raises(JobSealedError), transaction(kit.database) as session:
        accept.add_items(session, kit.tenant_id, job_id, [item("b")])
    with pytest.raises(JobEndedError):
        pause(kit, job_id)


def test_cancelling_an_open_job_without_photos_ends_it(kit: Kit) -> None:
    job_id = kit.job(seal=False)
    assert begin_cancel(kit, job_id)
    assert kit.view(job_id).state is JobState.CANCELLED
    assert not begin_cancel(kit, job_id)
    assert count(kit, Event) == 1


def test_what_is_queued_cannot_be_claimed_once_the_end_was_asked_for(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    ids = [one for chunk in kit.dispatch() for one in chunk]
    begin_cancel(kit, job_id)
    assert kit.claim(ids) == []


def test_only_failed_photos_are_tried_again(kit: Kit) -> None:
    job_id = kit.job(item("a"), item("b"), item("c"))
    first, second, third = kit.claim_all()
    kit.record(done(first, photo_of(1)), failed(second), failed(third))
    assert (kit.view(job_id).state, kit.view(job_id).round) == (JobState.PARTIALLY_FAILED, 1)
    assert retry(kit, job_id) == 2
    view = kit.view(job_id)
    assert (view.state, view.round, view.finished) == (JobState.RUNNING, 2, False)
    assert (view.n_done, view.n_failed, view.n_queued) == (1, 0, 2)
    again = kit.claim_all()
    assert [(one.item_id, one.attempt) for one in again] == [
        (second.item_id, 1),
        (third.item_id, 1),
    ]
    kit.record(*(done(one, photo_of(2)) for one in again))
    assert (kit.view(job_id).state, kit.view(job_id).n_done) == (JobState.SUCCEEDED, 3)
    with transaction(kit.database) as session:
        assert sorted(session.scalars(select(Event.round))) == [1, 2]


def test_who_held_a_photo_before_it_was_tried_again_records_nothing(kit: Kit) -> None:
    job_id = kit.job(item("a"))
    (stale,) = kit.claim_all(lease_s=-1)
    with transaction(kit.database) as session:
        ledger.requeue_expired(session, max_attempts=3)
    kit.record(failed(*kit.claim_all()))
    retry(kit, job_id)
    assert kit.record(done(stale, photo_of(1))) == set()
    assert kit.view(job_id).n_queued == 1


def test_a_job_under_way_tries_its_failures_again_in_the_same_round(kit: Kit) -> None:
    job_id = kit.job(item("a"), item("b"))
    first, second = kit.claim_all()
    kit.record(failed(first))
    assert retry(kit, job_id) == 1
    kit.record(done(second, photo_of(1)))
    kit.record(done(*kit.claim_all(), photo_of(1)))
    assert (kit.view(job_id).state, kit.view(job_id).round) == (JobState.SUCCEEDED, 1)
    assert count(kit, Event) == 1


def test_what_was_refused_stays_failed(kit: Kit) -> None:
    refused = NewItem(name="x", client_id="x", error_code="empty_file", error_detail="empty")
    job_id = kit.job(refused)
    assert retry(kit, job_id) == 0
    view = kit.view(job_id)
    assert (view.state, view.round, view.finished) == (JobState.FAILED, 1, True)


def test_a_cancelled_job_is_not_tried_again(kit: Kit) -> None:
    job_id = kit.job(item("a"), item("b"))
    first, _ = kit.claim_all()
    kit.record(failed(first))
    with transaction(kit.database) as session:
        control.cancel_job(session, kit.tenant_id, job_id)
    with pytest.raises(JobCancelledError):
        retry(kit, job_id)
    assert kit.view(job_id).n_failed == 1


def test_the_rate_is_that_of_late(kit: Kit) -> None:
    job_id = kit.job(*(item(str(n)) for n in range(4)))
    claims = kit.claim_all()
    assert (kit.view(job_id).rate_per_s, kit.view(job_id).seconds_left) == (None, None)
    kit.record(done(claims[0], photo_of()))
    age_samples(kit, 100)
    assert kit.view(job_id).rate_per_s == pytest.approx(1 / 100, rel=0.1)
    kit.record(done(claims[1], photo_of()))
    age_samples(kit, 20)
    # The first sample is forgotten: one photo since the second.
    kit.record(done(claims[2], photo_of()))
    view = kit.view(job_id)
    assert view.before_ended == 1
    assert view.rate_per_s == pytest.approx(2 / 120, rel=0.1)
    assert view.seconds_left == pytest.approx(60, rel=0.1)


def test_a_pause_does_not_slow_the_rate_down(kit: Kit) -> None:
    job_id = kit.job(item("a"), item("b"), item("c"))
    claims = kit.claim_all()
    kit.record(done(claims[0], photo_of()))
    pause(kit, job_id)
    assert kit.view(job_id).rate_per_s is None
    age_samples(kit, 10000)
    resume(kit, job_id)
    age_samples(kit, 10)
    kit.record(done(claims[1], photo_of()))
    assert kit.view(job_id).rate_per_s == pytest.approx(1 / 10, rel=0.2)


def test_nobody_knows_when_an_open_job_ends(kit: Kit) -> None:
    job_id = kit.job(item("a"), item("b"), seal=False)
    kit.record(done(kit.claim_all()[0], photo_of()))
    age_samples(kit, 10)
    assert kit.view(job_id).rate_per_s
    assert kit.view(job_id).seconds_left is None


def test_reading_a_job_never_goes_through_its_photos(kit: Kit) -> None:
    job_id = kit.job(item("a"), seal=False)
    many(kit, job_id, 20000)
    kit.claim_all()
    for _ in range(6):  # From then on the server may keep a plan for any job.
        kit.view(job_id)
    (plan,) = plans(kit, lambda: kit.view(job_id))
    assert indexes_of_items(plan) == {"ix_item_running"}


def test_a_job_that_is_being_deleted_is_gone_for_its_owner(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erase_jobs, "BATCH_ITEMS", 10)
    other = kit.job(item("shared"))
    job_id = kit.job(item("shared"), *(item(str(n)) for n in range(24)))
    with transaction(kit.database) as session:
        erase_jobs.begin_delete(session, kit.tenant_id, job_id)
    with transaction(kit.database) as session:
        assert erase_jobs.delete_some(session, job_id) == 10
        assert [one.id for one in jobs.list_jobs(session, kit.tenant_id)] == [other]
        for call in (jobs.get_job, jobs.lock_job, control.begin_cancel, erase_jobs.begin_delete):
            with pytest.raises(JobNotFoundError):
                call(session, kit.tenant_id, job_id)
        assert erase_jobs.overdue_jobs(session) == [job_id]
    assert kit.dispatch() == [[1]]
    with transaction(kit.database) as session:
        while erase_jobs.delete_some(session, job_id) is not None:
            pass
    assert (count(kit, Job), count(kit, Item), count(kit, Photo)) == (1, 1, 1)


def test_deleting_takes_the_faces_along_even_of_what_runs(kit: Kit) -> None:
    job_id = kit.job(item("a"), item("b"))
    first, second = kit.claim_all()
    kit.record(done(first, photo_of(1)))
    with transaction(kit.database) as session:
        erase_jobs.begin_delete(session, kit.tenant_id, job_id)
        while erase_jobs.delete_some(session, job_id) is not None:
            pass
    assert kit.record(done(second, photo_of(2))) == set()
    assert [count(kit, table) for table in (Job, Item, Photo, Face)] == [0, 0, 0, 0]


def add_source(kit: Kit, job_id: uuid.UUID, state: SourceState) -> None:
    broken = state is SourceState.FAILED
    with transaction(kit.database) as session:
        session.add(
            Source(
                id=uuid.uuid4(),
                tenant_id=kit.tenant_id,
                job_id=job_id,
                kind=SourceKind.PREFIX,
                state=state,
                error_code="x" if broken else None,
            )
        )
        session.flush()
        still_open = int(state is SourceState.QUEUED)
        session.execute(
            text("UPDATE job SET n_sources_open = n_sources_open + :n, sealed_at = now()"),
            {"n": still_open},
        )


def test_a_job_waits_for_its_sources(kit: Kit) -> None:
    job_id = kit.job(item("a"), seal=False)
    add_source(kit, job_id, SourceState.QUEUED)
    kit.record(done(*kit.claim_all(), photo_of(1)))
    assert kit.view(job_id).state is JobState.RUNNING


def test_a_job_of_which_a_source_failed_has_not_succeeded(kit: Kit) -> None:
    job_id = kit.job(item("a"), seal=False)
    add_source(kit, job_id, SourceState.FAILED)
    kit.record(done(*kit.claim_all(), photo_of(1)))
    assert kit.view(job_id).state is JobState.PARTIALLY_FAILED


def test_cancelling_ends_the_listing_of_sources(kit: Kit) -> None:
    job_id = kit.job(seal=False)
    add_source(kit, job_id, SourceState.QUEUED)
    begin_cancel(kit, job_id)
    assert kit.view(job_id).state is JobState.CANCELLED
    with transaction(kit.database) as session:
        assert session.scalars(select(Source.state)).one() is SourceState.CANCELLED


def test_a_stranger_controls_nothing(kit: Kit, stranger: Kit) -> None:
    job_id = kit.job(item("a"), seal=False)
    for change in (pause, resume, retry, begin_cancel):
        with pytest.raises(JobNotFoundError):
            change(stranger, job_id)
    with transaction(kit.database) as session:
        (row,) = results.job_items(session, kit.tenant_id, job_id)
    assert row.state is ItemState.QUEUED
