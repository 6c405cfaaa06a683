"""Dispatch: tenants take turns, small answers go first, and nobody waits for a job's last chunk."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest
from ledger_kit import Kit, done, indexes_of_items, item, many, photo_of, plans
from sqlalchemy import text

from db import control, jobs, ledger
from db.dispatch import MAX_INTERACTIVE_ITEMS, Dispatched, Lane, Room, dispatch
from db.ids import new_id
from db.session import transaction
from db.states import JobPriority
from db.tenants import ensure_tenant

ROOM = Room(items=16, chunk_items=4, workers=1)


def fill(kit: Kit, count: int, **wanted: object) -> list[int]:
    """A job of so many photos; their ids."""
    name = str(new_id())
    job_id = kit.job(*(item(f"{name}-{n}") for n in range(count)), **wanted)
    with transaction(kit.database) as session:
        query = text("SELECT id FROM item WHERE job_id = :job_id ORDER BY id")
        return list(session.scalars(query, {"job_id": job_id}))


def tenant(kit: Kit, name: str) -> Kit:
    with transaction(kit.database) as session:
        return Kit(database=kit.database, tenant_id=ensure_tenant(session, name))


def ids(found: Dispatched, lane: Lane = Lane.BULK) -> list[tuple[int, ...]]:
    return [chunk.item_ids for chunk in found.chunks if chunk.lane is lane]


def end(kit: Kit, item_ids: Sequence[int]) -> None:
    kit.record(*(done(one, photo_of()) for one in kit.claim(item_ids)))


def shares(kit: Kit, found: Dispatched) -> Counter[int]:
    """Items that were sent, by tenant."""
    sent = [item_id for chunk in found.chunks for item_id in chunk.item_ids]
    with transaction(kit.database) as session:
        query = text("SELECT tenant_id FROM item WHERE id = ANY(:ids)")
        return Counter(session.scalars(query, {"ids": sent}))


def test_tenants_share_the_room_whoever_came_first(kit: Kit, stranger: Kit) -> None:
    fill(kit, 40)
    fill(stranger, 40)
    found = kit.dispatched(ROOM)
    assert shares(kit, found) == {kit.tenant_id: 8, stranger.tenant_id: 8}


def test_what_a_tenant_has_in_flight_counts_against_it(kit: Kit, stranger: Kit) -> None:
    fill(kit, 40)
    kit.dispatched(ROOM)
    fill(stranger, 40)
    wider = Room(items=32, chunk_items=4, workers=1)
    assert shares(kit, kit.dispatched(wider)) == {stranger.tenant_id: 16}


def test_a_tenant_with_little_to_do_leaves_the_rest_to_the_others(kit: Kit, stranger: Kit) -> None:
    fill(kit, 40)
    fill(stranger, 2)
    found = kit.dispatched(ROOM)
    assert shares(kit, found) == {kit.tenant_id: 12, stranger.tenant_id: 2}


def test_more_tenants_than_there_is_room_for_take_turns(kit: Kit) -> None:
    everybody = [tenant(kit, str(n)) for n in range(7)]
    for one in everybody:
        fill(one, 4)
    turns: dict[Lane, int] = {}
    served: list[set[int]] = []
    for _ in range(4):
        with transaction(kit.database) as session:
            room = Room(items=8, chunk_items=4, workers=1)
            found = dispatch(session, dict.fromkeys(Lane, room), turns)
        served.append(set(shares(kit, found)))
        for one in found.chunks:
            end(kit, one.item_ids)
            # Whoever was served wants more at once.
        for tenant_id in served[-1]:
            fill(Kit(database=kit.database, tenant_id=tenant_id), 4)
    assert set.union(*served) == {one.tenant_id for one in everybody}


def test_a_lower_priority_waits_until_nothing_else_is_due(kit: Kit) -> None:
    low = fill(kit, 8, priority=JobPriority.LOW)
    normal = fill(kit, 12)
    sent = [one for chunk in ids(kit.dispatched(ROOM)) for one in chunk]
    assert sorted(sent) == sorted(normal + low[:4])


def test_what_somebody_waits_for_has_a_room_of_its_own(kit: Kit) -> None:
    fill(kit, 40)
    assert len(kit.dispatched(ROOM).chunks) == 4
    urgent = fill(kit, 1, priority=JobPriority.INTERACTIVE)
    found = kit.dispatched(ROOM)
    assert (ids(found, Lane.URGENT), ids(found)) == ([tuple(urgent)], [])


def test_a_large_job_is_not_urgent_whatever_it_says(kit: Kit) -> None:
    fill(kit, MAX_INTERACTIVE_ITEMS + 1, priority=JobPriority.INTERACTIVE)
    found = kit.dispatched(ROOM)
    assert len(ids(found)) == 4
    assert ids(found, Lane.URGENT) == []


def test_a_chunk_holds_neighbours(kit: Kit) -> None:
    mine = fill(kit, 20)
    chunks = ids(kit.dispatched(Room(items=20, chunk_items=8, workers=1)))
    assert [one for chunk in chunks for one in chunk] == mine[:16]
    assert all(list(chunk) == list(range(chunk[0], chunk[-1] + 1)) for chunk in chunks)


def test_the_last_chunks_of_a_job_are_small(kit: Kit) -> None:
    fill(kit, 64)
    chunks = ids(kit.dispatched(Room(items=64, chunk_items=16, workers=2)))
    sizes = [len(chunk) for chunk in chunks]
    assert sum(sizes) == 64
    assert sizes == sorted(sizes, reverse=True)
    assert (sizes[0], sizes[-1]) == (16, 1)


def test_an_open_job_shares_what_it_has_among_all_workers(kit: Kit) -> None:
    fill(kit, 6, seal=False)
    assert [len(one) for one in ids(kit.dispatched(Room(items=16, chunk_items=4, workers=2)))] == [
        3,
        3,
    ]


def test_photos_that_come_while_all_workers_are_busy_make_whole_chunks(kit: Kit) -> None:
    room = Room(items=64, chunk_items=4, workers=2)
    fill(kit, 4, seal=False)
    assert not kit.dispatched(room).busy
    fill(kit, 4, seal=False)
    assert kit.dispatched(room).busy
    fill(kit, 6, seal=False)
    assert [len(one) for one in ids(kit.dispatched(room))] == [4, 2]


def test_full_chunks_stay_full_while_the_room_frees_bit_by_bit(kit: Kit) -> None:
    fill(kit, 200)
    first, *_ = ids(kit.dispatched(ROOM))
    end(kit, first[:3])
    assert kit.dispatched(ROOM).chunks == ()
    end(kit, first[3:])
    assert [len(one) for one in ids(kit.dispatched(ROOM))] == [4]


@pytest.mark.parametrize("change", ["paused_at", "cancel_requested_at"])
def test_nothing_is_sent_of_a_job_that_is_held(kit: Kit, change: str) -> None:
    fill(kit, 2)
    with transaction(kit.database) as session:
        session.execute(text(f"UPDATE job SET {change} = now()"))
    assert kit.dispatched(ROOM).chunks == ()


def test_many_dispatchers_keep_to_one_room_and_send_nothing_twice(kit: Kit) -> None:
    fill(kit, 200)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: kit.dispatched(ROOM), range(6)))
    sent = [item_id for one in found for chunk in one.chunks for item_id in chunk.item_ids]
    assert len(sent) == len(set(sent)) == ROOM.items


def test_it_says_when_there_is_no_room_for_more(kit: Kit) -> None:
    fill(kit, 10)
    assert not kit.dispatched(ROOM).more
    fill(kit, 40)
    assert kit.dispatched(Room(items=32, chunk_items=4, workers=1)).more


def test_an_item_that_ran_before_goes_alone(kit: Kit) -> None:
    fill(kit, 3)
    (one, *_) = [item_id for chunk in kit.dispatch() for item_id in chunk]
    kit.claim([one], lease_s=-1)
    with transaction(kit.database) as session:
        ledger.requeue_expired(session, max_attempts=3)
        ledger.resend_stale(session, after_s=0)
    assert (one,) in ids(kit.dispatched(ROOM))


def test_what_a_lost_worker_held_goes_before_the_rest_of_its_archive(kit: Kit) -> None:
    first, *_ = fill(kit, 100)
    (chunk,) = ids(kit.dispatched(Room(items=4, chunk_items=4, workers=1)))
    assert chunk[0] == first
    kit.claim(chunk, lease_s=-1)
    with transaction(kit.database) as session:
        assert ledger.requeue_expired(session, max_attempts=3) == list(chunk)
    assert ids(kit.dispatched(ROOM))[: len(chunk)] == [(item_id,) for item_id in chunk]


def test_a_dispatcher_that_stands_still_does_not_hold_up_the_others(kit: Kit) -> None:
    fill(kit, 2)
    with transaction(kit.database) as session:
        dispatch(session, dict.fromkeys(Lane, ROOM), {})
        row = session.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
        assert row == "5s"
        session.rollback()
    assert len(kit.dispatched(ROOM).chunks) == 1


def test_no_look_goes_through_all_that_wait(kit: Kit) -> None:
    job_id = kit.job(item("first"), seal=False)
    many(kit, job_id, 20000)
    plan = "\n".join(plans(kit, lambda: kit.dispatched(ROOM)))
    by = {"ix_item_due", "ix_item_sent", "ix_item_running"}
    # The primary key is for the rows that were taken.
    assert by <= indexes_of_items(plan) <= {*by, "pk_item"}


def test_a_paused_job_gives_back_what_was_sent(kit: Kit) -> None:
    fill(kit, 5)
    other = fill(kit, 40)
    first = kit.dispatched(ROOM)
    claimed = kit.claim(ids(first)[0])
    with transaction(kit.database) as session:
        control.pause_job(session, kit.tenant_id, claimed[0].job_id)
    later = [
        chunk for chunk in ids(first) if set(chunk) & set(range(claimed[-1].item_id + 1, other[0]))
    ]
    assert [kit.claim(chunk) for chunk in later] == [[] for _ in later]
    sent = [one for chunk in ids(kit.dispatched(ROOM)) for one in chunk]
    assert set(sent) <= set(other)
    with transaction(kit.database) as session:
        control.resume_job(session, kit.tenant_id, claimed[0].job_id)
        assert not jobs.get_job(session, kit.tenant_id, claimed[0].job_id).paused
