"""Events: each is there with what caused it, once, and is given out to those who want it."""

import uuid

import pytest
from hooks_kit import Hooks
from ledger_kit import Kit, done, failed, item, photo_of
from sqlalchemy import text

from db import control, erase, erase_jobs
from db.record import record
from db.session import transaction
from db.states import DisabledReason, EventType, JobKind
from db.webhooks import endpoints
from db.webhooks.endpoints import EndpointChange
from db.webhooks.events import forget_events, give_out

ALL = tuple(one for one in EventType if one is not EventType.ENDPOINT_TEST)
URL = "https://example.com/hook"
ENDS = ("job.completed", "job.failed")


def given_out(hooks: Hooks) -> int:
    with transaction(hooks.kit.database) as session:
        return give_out(session)


def test_a_job_that_ends_says_so_once_with_its_counts(hooks: Hooks) -> None:
    kit = hooks.kit
    job_id = kit.job(item("a"), item("b"))
    first, second = kit.claim_all()
    kit.record(done(first, photo_of(1)))
    assert hooks.events(*ENDS) == []
    kit.record(failed(second))
    (event,) = hooks.events(*ENDS)
    assert (event.type, event.job_id) == ("job.completed", job_id)
    assert event.data == {
        "kind": "detect",
        "state": "partially_failed",
        "round": 1,
        "counts": {"total": 2, "done": 1, "no_face": 0, "failed": 1, "cancelled": 0},
    }


def test_a_job_of_which_nothing_could_be_done_says_that_too(hooks: Hooks) -> None:
    hooks.kit.job(item("a"))
    hooks.kit.record(failed(*hooks.kit.claim_all()))
    assert [one.type for one in hooks.events(*ENDS)] == ["job.completed", "job.failed"]


def test_a_job_that_is_tried_again_says_of_each_round_that_it_ended(hooks: Hooks) -> None:
    kit = hooks.kit
    job_id = kit.job(item("a"), item("b"))
    first, second = kit.claim_all()
    kit.record(done(first, photo_of(1)), failed(second))
    with transaction(kit.database) as session:
        control.retry_job(session, kit.tenant_id, job_id)
    kit.record(done(*kit.claim_all(), photo_of(2)))
    told = [(one.data["state"], one.round) for one in hooks.events(*ENDS)]
    assert told == [("partially_failed", 1), ("succeeded", 2)]


def test_what_is_rolled_back_has_happened_to_nobody(hooks: Hooks) -> None:
    kit = hooks.kit
    kit.job(item("a"))
    (claimed,) = kit.claim_all()

    def broken() -> None:
        with transaction(kit.database) as session:
            record(session, [done(claimed, photo_of(1))])
            assert session.scalars(text("SELECT count(*) FROM event")).one() == 1
            raise RuntimeError("something")

    with pytest.raises(RuntimeError, match="something"):
        broken()
    assert hooks.events(*ENDS) == []


def test_an_event_goes_to_those_who_want_its_type_and_to_no_other_tenant(
    hooks: Hooks, stranger: Kit
) -> None:
    wanting, _ = hooks.endpoint(URL, EventType.JOB_COMPLETED, EventType.JOB_FAILED)
    hooks.endpoint(URL, EventType.JOB_FAILED)
    off, _ = hooks.endpoint(URL, EventType.JOB_COMPLETED)
    with transaction(hooks.kit.database) as session:
        change = EndpointChange(enabled=False)
        endpoints.change_endpoint(session, hooks.kit.tenant_id, off.id, change)
    theirs = Hooks(kit=stranger, settings=hooks.settings)
    theirs.endpoint(URL, *ALL[:3])
    hooks.kit.job(item("a"))
    hooks.kit.record(done(*hooks.kit.claim_all(), photo_of(1)))
    assert given_out(hooks) == 1
    assert given_out(hooks) == 0
    assert [one.endpoint_id for one in hooks.deliveries()] == [wanting.id]


def test_events_are_numbered_for_each_tenant_in_the_order_of_their_commits(
    hooks: Hooks, stranger: Kit
) -> None:
    def ended(kit: Kit) -> uuid.UUID:
        job_id = kit.job(item(uuid.uuid4().hex))
        kit.record(done(*kit.claim_all(), photo_of(1)))
        return job_id

    jobs = [ended(hooks.kit), ended(hooks.kit)]
    ended(stranger)
    given_out(hooks)
    jobs.append(ended(hooks.kit))
    given_out(hooks)
    rows = hooks.execute("SELECT tenant_id, sequence, job_id FROM event ORDER BY number")
    own = [(row.sequence, row.job_id) for row in rows if row.tenant_id == hooks.kit.tenant_id]
    assert own == list(enumerate(jobs, start=1))
    assert [row.sequence for row in rows if row.tenant_id == stranger.tenant_id] == [1]


def test_the_end_of_a_job_that_is_deleted_is_still_told(hooks: Hooks) -> None:
    hooks.endpoint(URL)
    job_id = hooks.kit.job(item("a"))
    hooks.kit.record(done(*hooks.kit.claim_all(), photo_of(1)))
    with transaction(hooks.kit.database) as session:
        erase_jobs.begin_delete(session, hooks.kit.tenant_id, job_id)
        while erase_jobs.delete_some(session, job_id) is not None:
            pass
    given_out(hooks)
    assert [one.state for one in hooks.deliveries()] == ["waiting"]


def test_nothing_stays_of_a_deleted_job_that_nobody_wanted_to_hear_of(hooks: Hooks) -> None:
    job_id = hooks.kit.job(item("a"))
    hooks.kit.record(done(*hooks.kit.claim_all(), photo_of(1)))
    with transaction(hooks.kit.database) as session:
        erase_jobs.begin_delete(session, hooks.kit.tenant_id, job_id)
        while erase_jobs.delete_some(session, job_id) is not None:
            pass
    given_out(hooks)
    assert hooks.events(*ENDS) == []


def identified(hooks: Hooks, gallery_id: uuid.UUID, *seeds: int, name: str = "p") -> uuid.UUID:
    """An identification of a photo that shows these, which has ended."""
    kit = hooks.kit
    job_id = kit.job(item(name), kind=JobKind.IDENTIFY, gallery_id=gallery_id)
    (claimed,) = kit.claim_all()
    kit.record(kit.searched(claimed, photo_of(*seeds)))
    return job_id


def test_a_match_is_told_to_those_who_watch_the_subject(hooks: Hooks) -> None:
    gallery = hooks.kit.gallery()
    ann, bob = (hooks.kit.enrol(gallery, name, n) for n, name in enumerate(("Ann", "Bob")))
    hooks.execute("DELETE FROM event")
    watching, _ = hooks.endpoint(URL, EventType.MATCH_FOUND, subjects=[ann])
    hooks.endpoint(URL, EventType.MATCH_FOUND, subjects=[bob])
    # Ann twice in one photo, and somebody whom nobody knows.
    job_id = identified(hooks, gallery, 0, 0, 77)
    (event,) = hooks.events("match.found")
    assert (event.job_id, event.subject_id) == (job_id, ann)
    assert event.data == {"gallery": str(gallery), "round": 1}
    given_out(hooks)
    assert [one.endpoint_id for one in hooks.deliveries()] == [watching.id]


def test_a_match_of_nobody_who_is_watched_is_no_event(hooks: Hooks) -> None:
    gallery = hooks.kit.gallery()
    ann = hooks.kit.enrol(gallery, "Ann", 0)
    hooks.kit.enrol(gallery, "Bob", 1)
    made, _ = hooks.endpoint(URL, EventType.MATCH_FOUND, subjects=[ann])
    identified(hooks, gallery, 1)
    with transaction(hooks.kit.database) as session:
        change = EndpointChange(enabled=False)
        endpoints.change_endpoint(session, hooks.kit.tenant_id, made.id, change)
    identified(hooks, gallery, 0, name="q")
    assert hooks.events("match.found") == []


def test_a_face_that_is_near_but_not_near_enough_is_no_match(hooks: Hooks) -> None:
    gallery = hooks.kit.gallery()
    ann = hooks.kit.enrol(gallery, "Ann", 0)
    hooks.endpoint(URL, EventType.MATCH_FOUND, subjects=[ann])
    identified(hooks, gallery, 5)
    assert hooks.events("match.found") == []


def test_what_was_told_of_a_subject_goes_with_it_and_with_the_job(hooks: Hooks) -> None:
    kit, gallery = hooks.kit, hooks.kit.gallery()
    ann, bob = (kit.enrol(gallery, name, n) for n, name in enumerate(("Ann", "Bob")))
    hooks.endpoint(URL, EventType.MATCH_FOUND, subjects=[ann, bob])
    job_id = identified(hooks, gallery, 0, 1)
    given_out(hooks)
    assert len(hooks.deliveries()) == 2
    with transaction(kit.database) as session:
        erase.delete_subject(session, kit.tenant_id, gallery, ann)
    assert [one.subject_id for one in hooks.events("match.found")] == [bob]
    with transaction(kit.database) as session:
        erase_jobs.begin_delete(session, kit.tenant_id, job_id)
    assert hooks.events("match.found") == []
    assert hooks.deliveries() == []


def test_progress_is_told_to_those_who_ask_for_it_and_rarely(hooks: Hooks) -> None:
    kit = hooks.kit
    job_id = kit.job(*(item(f"{n}") for n in range(6)))
    claims = kit.claim_all()
    kit.record(done(claims[0], photo_of(0)))
    assert hooks.events("job.progress") == []
    hooks.endpoint(URL, EventType.JOB_PROGRESS)
    kit.record(done(claims[1], photo_of(1)))  # It was counted a moment ago.
    assert hooks.events("job.progress") == []
    for claimed in claims[2:4]:
        hooks.execute("UPDATE job SET mark_at = mark_at - interval '31 s'")
        kit.record(done(claimed, photo_of(claimed.item_id)))
        kit.record()
    told = [(one.data["counts"]["done"], one.data["state"]) for one in hooks.events("job.progress")]
    assert told == [(3, "running"), (4, "running")]
    hooks.execute("UPDATE job SET mark_at = mark_at - interval '31 s'")
    kit.record(*(done(one, photo_of(one.item_id)) for one in claims[4:]))
    assert kit.view(job_id).finished
    assert len(hooks.events("job.progress")) == 2  # Its end is told by another event.


def test_whoever_is_disabled_by_force_is_told_of_to_the_others(hooks: Hooks) -> None:
    gone, _ = hooks.endpoint(URL, EventType.ENDPOINT_DISABLED, EventType.JOB_COMPLETED)
    other, _ = hooks.endpoint(URL, EventType.ENDPOINT_DISABLED)
    with transaction(hooks.kit.database) as session:
        assert endpoints.disable(session, gone.id, DisabledReason.GONE)
        assert not endpoints.disable(session, gone.id, DisabledReason.FAILING)
    given_out(hooks)
    (event,) = hooks.events("endpoint.disabled")
    assert event.data == {"endpoint": str(gone.id), "reason": "gone"}
    assert [one.endpoint_id for one in hooks.deliveries()] == [other.id]


def test_events_are_forgotten_with_their_deliveries_when_they_are_old(hooks: Hooks) -> None:
    hooks.endpoint(URL)
    for name in ("a", "b"):
        hooks.kit.job(item(name))
        hooks.kit.record(done(*hooks.kit.claim_all(), photo_of(1)))
    given_out(hooks)
    hooks.execute("""
        UPDATE event SET created_at = now() - interval '31 days' WHERE sequence = 1
    """)
    with transaction(hooks.kit.database) as session:
        assert forget_events(session, days=30) == 1
    assert [one.sequence for one in hooks.events(*ENDS)] == [2]
    assert len(hooks.deliveries()) == 1
