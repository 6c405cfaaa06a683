"""What counts as an attempt, and that no photo pays for what another did to its worker."""

from collections.abc import Sequence

from ledger_kit import Kit, done, item, photo_of
from sqlalchemy import text
from worker_kit import rows

from db import ledger
from db.faults import lose, outlived
from db.ledger import Claim
from db.session import transaction
from db.states import JobState

MAX_ATTEMPTS = 3


def die(kit: Kit, claims: Sequence[Claim], fault: str = "killed by signal 9") -> None:
    """Their worker dies; the process that takes its place puts it right."""
    with transaction(kit.database) as session:
        lose(session, claims, fault=fault)
        ledger.set_aside(session, max_attempts=MAX_ATTEMPTS)
        ledger.requeue_expired(session, max_attempts=MAX_ATTEMPTS)


def expire(kit: Kit) -> None:
    with transaction(kit.database) as session:
        session.execute(
            text("UPDATE item SET lease_until = now() - interval '1 s' WHERE state = 'running'")
        )
        ledger.requeue_expired(session, max_attempts=MAX_ATTEMPTS)


def test_an_innocent_pays_for_its_neighbours_once_however_many_messages_name_them_together(
    kit: Kit,
) -> None:
    job_id = kit.job(item("innocent"), item("culprit"), item("another"))
    together = [item_id for chunk in kit.dispatch() for item_id in chunk]
    claims = kit.claim(together)
    assert len(claims) == 3
    die(kit, claims)
    # Messages of the first time come late, again and again: their photos must not meet again.
    for _ in range(3):
        assert kit.claim(together) == []
    innocent, *culprits = kit.claim_all()
    assert [one.attempt for one in (innocent, *culprits)] == [2, 2, 2]
    kit.record(done(innocent, photo_of()))
    die(kit, culprits)
    die(kit, kit.claim_all())
    assert kit.view(job_id).state is JobState.PARTIALLY_FAILED
    assert rows(kit, "state, attempt") == [("done", 2), ("failed", 3), ("failed", 3)]


def test_what_died_runs_again_at_once_and_remembers_of_what(kit: Kit) -> None:
    kit.job(item("a"))
    die(kit, kit.claim_all(), "killed by signal 11 (SIGSEGV)")
    assert rows(kit, "state, attempt, last_fault") == [
        ("queued", 1, "killed by signal 11 (SIGSEGV)")
    ]
    (again,) = kit.claim_all()
    # It is told of the last time alone: by who has heard of it, or by its silence.
    expire(kit)
    assert rows(kit, "last_fault") == ["no sign of life until its lease ran out"]
    assert again.attempt == 2


def test_who_lost_its_claims_before_it_died_takes_nothing_from_who_has_them_now(kit: Kit) -> None:
    kit.job(item("a"))
    lost = kit.claim_all()
    expire(kit)
    (now,) = kit.claim_all()
    die(kit, lost)
    assert rows(kit, "state, fence, attempt") == [("running", now.fence, 2)]


def test_a_claim_that_was_lost_to_another_while_its_worker_lived_is_not_counted(kit: Kit) -> None:
    kit.job(item("waiting"), item("taken"), item("done"), item("mine"))
    claims = kit.claim_all()
    with transaction(kit.database) as session:
        session.execute(text("UPDATE item SET lease_until = now() WHERE name <> 'mine'"))
    with transaction(kit.database) as session:
        ledger.requeue_expired(session, max_attempts=MAX_ATTEMPTS)
    kit.claim([claims[1].item_id])
    (ended,) = kit.claim([claims[2].item_id])
    kit.record(done(ended, photo_of()))
    with transaction(kit.database) as session:
        assert outlived(session, claims[:3]) == {claims[0].item_id, claims[1].item_id}
    assert rows(kit, "name, attempt") == [("waiting", 0), ("taken", 1), ("done", 2), ("mine", 1)]
