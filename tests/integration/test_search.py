"""Search in memory gives what the tables hold at that moment, to the last bit."""

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ledger_kit import Kit
from search_kit import DIMENSION, Crowd, Searching, enrol
from sqlalchemy import text

from db.prepare import prepare_database
from db.search import nearest
from db.session import Database, transaction
from db.snapshots import keeper, searching, shelf
from db.snapshots.rows import row_bytes
from db.snapshots.searching import Searcher

ROOMY = 100_000_000
LARGE = 1000


def searcher_of(kit: Kit, *, max_bytes: int = ROOMY) -> Searching:
    return Searching(kit=kit, searcher=Searcher(kit.database, max_bytes=max_bytes))


@pytest.fixture
def memory(kit: Kit) -> Iterator[Searching]:
    made = searcher_of(kit)
    yield made
    made.searcher.close()


def gallery(
    kit: Kit, crowd: Crowd, name: str, *, templates: int = LARGE, each: int = 1
) -> uuid.UUID:
    with transaction(kit.database) as session:
        return enrol(session, kit, name, crowd.vectors(templates), each=each)


@pytest.mark.parametrize("top_k", [1, 5, 100])
@pytest.mark.parametrize("each", [1, 4])
def test_memory_and_tables_agree(kit: Kit, memory: Searching, top_k: int, each: int) -> None:
    crowd = Crowd(top_k + each)
    gallery_id = gallery(kit, crowd, "large", templates=3000, each=each)
    memory.read(gallery_id)
    assert memory.in_memory(gallery_id)
    probes = crowd.vectors(9)
    found = memory.asked([gallery_id], probes, top_k=top_k)
    assert found == memory.by_database([gallery_id], probes, top_k=top_k)
    assert {len(one) for one in found} == {top_k}


def test_the_database_alone_agrees_where_people_have_many_templates(
    kit: Kit, memory: Searching
) -> None:
    crowd = Crowd(1)
    gallery_id = gallery(kit, crowd, "many", templates=2400, each=400)
    probes = crowd.vectors(3)
    for top_k in (1, 2, 6, 20):
        with transaction(kit.database) as session:
            found = nearest(session, kit.tenant_id, [gallery_id], list(probes), top_k=top_k)
        assert found == memory.by_database([gallery_id], probes, top_k=top_k)


def test_of_people_who_are_equally_near_the_same_are_found(kit: Kit, memory: Searching) -> None:
    crowd = Crowd(2)
    twins = np.repeat(crowd.vectors(1), 500, axis=0)
    with transaction(kit.database) as session:
        gallery_id = enrol(session, kit, "twins", np.concatenate([twins, crowd.vectors(500)]))
    memory.read(gallery_id)
    assert memory.in_memory(gallery_id)
    expected = memory.by_database([gallery_id], twins[:1], top_k=7)
    assert memory.asked([gallery_id], twins[:1], top_k=7) == expected
    with transaction(kit.database) as session:
        assert nearest(session, kit.tenant_id, [gallery_id], [twins[0]], top_k=7) == expected


@pytest.mark.parametrize("seed", range(3))
def test_memory_and_tables_agree_whatever_is_enrolled_and_deleted(
    kit: Kit, memory: Searching, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "NEWS", 30)
    monkeypatch.setattr(searching, "NEWS_AGE_S", 0.0)
    draw = np.random.default_rng(seed)
    crowd = Crowd(seed)
    names = ["one", "two", "small"]
    ids = [
        gallery(kit, crowd, name, templates=templates, each=each)
        for name, templates, each in zip(names, (900, 600, 60), (1, 3, 2), strict=True)
    ]
    memory.read(*ids)
    assert memory.in_memory(*ids) == set(ids[:2])
    late = Late(kit)
    for _ in range(25):
        step = draw.integers(6)
        name = names[draw.integers(3)]
        vectors = crowd.vectors(int(draw.integers(1, 25)))
        if step == 0:
            late.begin(name, vectors)
        elif step == 1:
            late.commit_one(int(draw.integers(9)))
        elif step == 2:
            (near,) = memory.asked(ids, crowd.vectors(1), top_k=int(draw.integers(1, 8)))
            for gallery_id in ids:
                memory.delete_some(gallery_id, near)
        elif step == 3:
            memory.searcher.keeper.sweep(older_than_s=float(draw.integers(2)))
        else:
            with transaction(kit.database) as session:
                enrol(session, kit, name, vectors, each=int(draw.integers(1, 4)))
        probes = crowd.vectors(int(draw.integers(1, 7)))
        top_k = int(draw.integers(1, 101))
        some = [ids[n] for n in sorted(draw.permutation(3)[: draw.integers(1, 4)])]
        memory.searcher.prepare(kit.tenant_id, some, probes=len(probes), wait_s=30)
        found = memory.asked(some, probes, top_k=top_k)
        assert found == memory.by_database(some, probes, top_k=top_k)
    late.end()


class Late:
    """Transactions that enrol, and commit in another order than they have begun."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._open = []

    def begin(self, name: str, vectors: np.ndarray) -> None:
        context = transaction(self._kit.database)
        enrol(context.__enter__(), self._kit, name, vectors)
        self._open.append(context)

    def commit_one(self, which: int) -> None:
        if self._open:
            self._open.pop(which % len(self._open)).__exit__(None, None, None)

    def end(self) -> None:
        while self._open:
            self.commit_one(0)


def test_who_was_written_before_the_reading_and_committed_after_it_is_found(
    kit: Kit, memory: Searching
) -> None:
    crowd = Crowd(3)
    gallery_id = gallery(kit, crowd, "people")
    late = Late(kit)
    early, later = crowd.vectors(1), crowd.vectors(1)
    late.begin("people", early)
    with transaction(kit.database) as session:
        enrol(session, kit, "people", later)
    memory.read(gallery_id)
    assert memory.asked([gallery_id], early, top_k=1)[0][0].distance > 0
    late.end()
    assert memory.asked([gallery_id], early, top_k=1)[0][0].distance == 0
    assert memory.asked([gallery_id], later, top_k=1)[0][0].distance == 0


def test_who_was_deleted_is_found_no_more_and_is_wiped_out(kit: Kit, memory: Searching) -> None:
    crowd = Crowd(4)
    vectors = crowd.vectors(LARGE)
    with transaction(kit.database) as session:
        gallery_id = enrol(session, kit, "people", vectors)
    memory.read(gallery_id)
    (near,) = memory.asked([gallery_id], vectors[7:8], top_k=20)
    assert near[0].distance == 0
    assert memory.remembers(gallery_id, vectors[7])
    # So many that those who were nominated beside them do not make up for it.
    memory.delete_some(gallery_id, near[:15])
    found = memory.asked([gallery_id], vectors[7:8], top_k=5)
    assert found == [near[15:20]]
    assert not memory.remembers(gallery_id, vectors[7])


def test_who_was_deleted_and_is_never_near_is_wiped_out_by_the_sweep(
    kit: Kit, memory: Searching
) -> None:
    crowd = Crowd(5)
    vectors = crowd.vectors(LARGE)
    with transaction(kit.database) as session:
        gallery_id = enrol(session, kit, "people", vectors)
    memory.read(gallery_id)
    (near,) = memory.asked([gallery_id], vectors[7:8], top_k=1)
    memory.delete_some(gallery_id, near)
    memory.searcher.keeper.sweep(older_than_s=keeper.SWEEP_S)
    assert memory.remembers(gallery_id, vectors[7])
    memory.searcher.keeper.sweep(older_than_s=0)
    assert not memory.remembers(gallery_id, vectors[7])
    assert memory.in_memory(gallery_id)


def test_the_keeper_sweeps_by_itself(
    kit: Kit, memory: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(keeper, "SWEEP_S", 0.1)
    vectors = Crowd(6).vectors(LARGE)
    with transaction(kit.database) as session:
        gallery_id = enrol(session, kit, "people", vectors)
    memory.read(gallery_id)
    (near,) = memory.asked([gallery_id], vectors[7:8], top_k=1)
    memory.delete_some(gallery_id, near)
    wait_until(lambda: not memory.remembers(gallery_id, vectors[7]))


def test_a_deleted_gallery_does_not_stay_in_memory(kit: Kit, memory: Searching) -> None:
    vectors = Crowd(7).vectors(LARGE)
    with transaction(kit.database) as session:
        gallery_id = enrol(session, kit, "people", vectors)
    memory.read(gallery_id)
    with transaction(kit.database) as session:
        session.execute(text("DELETE FROM gallery WHERE id = :id"), {"id": gallery_id})
    assert memory.asked([gallery_id], vectors[:3], top_k=3) == [[], [], []]
    memory.searcher.keeper.sweep(older_than_s=0)
    assert not memory.in_memory(gallery_id)


def test_a_gallery_that_nobody_searches_is_let_go(
    kit: Kit, memory: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery_id = gallery(kit, Crowd(8), "people")
    memory.read(gallery_id)
    monkeypatch.setattr(shelf, "IDLE_S", 0.0)
    memory.searcher.keeper.sweep(older_than_s=keeper.SWEEP_S)
    assert not memory.in_memory(gallery_id)


def test_of_a_database_that_was_set_back_nothing_is_kept(kit: Kit, memory: Searching) -> None:
    gallery_id = gallery(kit, Crowd(9), "people")
    memory.read(gallery_id)
    key = (kit.tenant_id, gallery_id)
    memory.searcher.shelf._places[key].horizon += 1_000_000
    memory.searcher.keeper.sweep(older_than_s=0)
    assert not memory.in_memory(gallery_id)


def test_what_a_dump_has_brought_is_in_memory_all_the_same(
    kit: Kit, owners: Database, memory: Searching
) -> None:
    crowd = Crowd(20)
    gallery_id = gallery(kit, crowd, "people")
    with transaction(kit.database) as session:
        session.execute(text("UPDATE template SET written_by = written_by + 1000000"))
    prepare_database(owners)
    memory.read(gallery_id)
    (held,) = memory.searcher.shelf.held([(kit.tenant_id, gallery_id)])
    assert not held.known
    probes = crowd.vectors(5)
    found = memory.asked([gallery_id], probes, top_k=5)
    assert found == memory.by_database([gallery_id], probes, top_k=5)


def test_a_gallery_that_finds_no_room_is_searched_all_the_same(kit: Kit) -> None:
    crowd = Crowd(10)
    gallery_id = gallery(kit, crowd, "large", each=2)
    for max_bytes in (0, row_bytes(DIMENSION) * (LARGE - 1)):
        tight = searcher_of(kit, max_bytes=max_bytes)
        tight.read(gallery_id)
        assert not tight.in_memory(gallery_id)
        # And no statement takes so long that the worker could be thought dead.
        many = list(crowd.vectors(2 * searching.PORTION_OF_DATABASE))
        portions = list(tight.searcher.portions(kit.tenant_id, [gallery_id], many))
        assert [len(one) for one in portions] == 2 * [searching.PORTION_OF_DATABASE]
        probes = crowd.vectors(6)
        found = tight.asked([gallery_id], probes, top_k=4)
        assert found == tight.by_database([gallery_id], probes, top_k=4)
        tight.searcher.close()


def test_galleries_take_no_more_memory_than_they_may(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(11)
    first, second = gallery(kit, crowd, "first"), gallery(kit, crowd, "second")
    room = int(1.5 * row_bytes(DIMENSION) * LARGE)
    tight = searcher_of(kit, max_bytes=room)
    tight.read(first, second)
    assert tight.in_memory(first, second) == {first}
    probes = crowd.vectors(6)
    found = tight.asked([first, second], probes, top_k=9)
    assert found == tight.by_database([first, second], probes, top_k=9)
    # Who has not been searched for long enough makes room.
    monkeypatch.setattr(shelf, "KEPT_S", 0.0)
    monkeypatch.setattr(tight.searcher.keeper, "_not_before", {})
    tight.read(second)
    assert tight.in_memory(first, second) == {second}
    assert tight.searcher.shelf.size_bytes <= room
    tight.searcher.close()


def test_a_gallery_that_outgrows_its_room_is_let_go(kit: Kit) -> None:
    crowd = Crowd(12)
    gallery_id = gallery(kit, crowd, "growing")
    tight = searcher_of(kit, max_bytes=row_bytes(DIMENSION) * (LARGE + 100))
    tight.read(gallery_id)
    assert tight.in_memory(gallery_id)
    gallery(kit, crowd, "growing", templates=400)
    tight.searcher.keeper.ask_for_news((kit.tenant_id, gallery_id))
    assert tight.searcher.keeper.settled([(kit.tenant_id, gallery_id)], wait_s=30)
    assert not tight.in_memory(gallery_id)
    tight.searcher.close()


def test_what_is_new_is_read_when_it_is_much(
    kit: Kit, memory: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "NEWS_AGE_S", 0.0)
    crowd = Crowd(13)
    gallery_id = gallery(kit, crowd, "growing")
    memory.read(gallery_id)
    gallery(kit, crowd, "growing", templates=searching.NEWS)
    memory.asked([gallery_id], crowd.vectors(1), top_k=1)
    wait_until(lambda: memory.templates(gallery_id) == LARGE + searching.NEWS)
    gallery(kit, crowd, "growing", templates=searching.NEWS)
    # Who has many to search waits for it.
    while not memory.searcher.prepare(kit.tenant_id, [gallery_id], probes=99, wait_s=30):
        pass
    assert memory.templates(gallery_id) == LARGE + 2 * searching.NEWS


def test_those_who_are_new_are_all_looked_at_however_many_they_are(
    kit: Kit, memory: Searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is read meanwhile.
    monkeypatch.setattr(searching, "NEWS_AGE_S", 1000.0)
    crowd = Crowd(19)
    gallery_id = gallery(kit, crowd, "growing")
    memory.read(gallery_id)
    for _ in range(2):
        gallery(kit, crowd, "growing", templates=searching.MOST_NEWER * 3 // 4)
        probes = crowd.vectors(5)
        found = memory.asked([gallery_id], probes, top_k=60)
        assert found == memory.by_database([gallery_id], probes, top_k=60)
    assert memory.templates(gallery_id) == LARGE


def test_what_an_open_transaction_holds_up_is_read_once(kit: Kit, memory: Searching) -> None:
    crowd = Crowd(14)
    gallery_id = gallery(kit, crowd, "growing")
    late = Late(kit)
    late.begin("growing", crowd.vectors(1))
    gallery(kit, crowd, "growing", templates=50)
    memory.read(gallery_id)
    key = (kit.tenant_id, gallery_id)
    for _ in range(3):
        memory.searcher.keeper.ask_for_news(key)
        assert memory.searcher.keeper.settled([key], wait_s=30)
    assert memory.templates(gallery_id) == LARGE + 50
    late.end()


def test_reading_and_enrolling_at_once_loses_nobody(kit: Kit, memory: Searching) -> None:
    crowd = Crowd(15)
    gallery_id = gallery(kit, crowd, "busy")
    stop = threading.Event()

    def go_on(seed: int) -> None:
        others = Crowd(seed)
        while not stop.is_set():
            with transaction(kit.database) as session:
                enrol(session, kit, "busy", others.vectors(5))
                time.sleep(0.002 * (seed % 3))

    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(go_on, 100 + n) for n in range(3)]
        key = (kit.tenant_id, gallery_id)
        for _ in range(8):
            memory.searcher.keeper.ask_for_news(key)
            assert memory.searcher.keeper.settled([key], wait_s=30)
            memory.asked([gallery_id], crowd.vectors(5), top_k=5)
        stop.set()
        [one.result() for one in futures]
    probes = crowd.vectors(20)
    found = memory.asked([gallery_id], probes, top_k=50)
    assert found == memory.by_database([gallery_id], probes, top_k=50)


def test_tenants_never_mix(kit: Kit, stranger: Kit, memory: Searching) -> None:
    crowd = Crowd(16)
    vectors = crowd.vectors(LARGE)
    with transaction(kit.database) as session:
        own = enrol(session, kit, "people", vectors)
    with transaction(stranger.database) as session:
        foreign = enrol(session, stranger, "people", vectors)
    memory.read(own, foreign)
    assert memory.in_memory(own, foreign) == {own}
    assert memory.asked([foreign], vectors[:2], top_k=3) == [[], []]
    theirs = Searching(kit=stranger, searcher=memory.searcher)
    theirs.read(foreign)
    assert theirs.in_memory(own, foreign) == {foreign}
    assert memory.asked([foreign], vectors[:2], top_k=3) == [[], []]
    found = memory.asked([own, foreign], vectors[:2], top_k=3)
    assert found == memory.by_database([own], vectors[:2], top_k=3)


def test_who_has_few_to_search_does_not_wait_for_the_reading(kit: Kit, memory: Searching) -> None:
    gallery_id = gallery(kit, Crowd(17), "people")
    key = (kit.tenant_id, gallery_id)
    with transaction(kit.database) as session:
        session.execute(text("LOCK TABLE template IN ACCESS EXCLUSIVE MODE"))
        assert memory.searcher.prepare(kit.tenant_id, [gallery_id], probes=1, wait_s=30)
        assert not memory.searcher.keeper.settled([key], wait_s=0)
        assert not memory.searcher.prepare(kit.tenant_id, [gallery_id], probes=99, wait_s=0.1)
    assert memory.searcher.prepare(kit.tenant_id, [gallery_id], probes=99, wait_s=30)
    assert memory.in_memory(gallery_id)


def test_a_reading_that_breaks_leaves_the_gallery_to_the_database(
    kit: Kit, owners: Database, memory: Searching
) -> None:
    crowd = Crowd(18)
    gallery_id = gallery(kit, crowd, "people")
    with transaction(kit.database) as session:
        session.execute(text("LOCK TABLE template IN ACCESS EXCLUSIVE MODE"))
        assert not memory.searcher.prepare(kit.tenant_id, [gallery_id], probes=99, wait_s=0.1)
        wait_until(lambda: kill_who_waits(owners))
    memory.read(gallery_id)
    assert not memory.in_memory(gallery_id)
    probes = crowd.vectors(5)
    found = memory.asked([gallery_id], probes, top_k=5)
    assert found == memory.by_database([gallery_id], probes, top_k=5)


def kill_who_waits(owners: Database) -> bool:
    with transaction(owners) as session:
        query = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"
        return bool(session.execute(text(query)).all())


def wait_until(true) -> None:
    give_up_at = time.monotonic() + 30
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
