"""A chunk is searched in memory, and its photos stay the worker's while that is being filled."""

import threading
import time
import uuid

import pytest
from ledger_kit import Kit, done, item, photo_of
from search_kit import Crowd, Searching, enrol
from sqlalchemy import text

from db import results
from db.session import transaction
from db.settings import Settings
from db.states import JobKind
from db.storage import ObjectStore
from db.views import ItemView
from workers.context import WorkerContext
from workers.stages.chunk import process_chunk

SEEDS = range(6)


@pytest.fixture
def context(kit: Kit, stores: Settings) -> WorkerContext:
    settings = stores.model_copy(update={"lease_s": 1.0})
    context = WorkerContext(
        settings=settings, database=kit.database, store=ObjectStore.from_settings(stores)
    )
    yield context
    context.searcher.close()


def large_gallery(kit: Kit) -> uuid.UUID:
    with transaction(kit.database) as session:
        return enrol(session, kit, "large", Crowd(1).vectors(1000))


def known_photo(kit: Kit) -> None:
    """A photo of several faces that were found before, so that nothing is left but to search."""
    kit.job(item("p"))
    (claimed,) = kit.claim_all()
    kit.record(done(claimed, photo_of(*SEEDS)))


def lease_until(kit: Kit) -> object:
    with transaction(kit.database) as session:
        return session.scalar(text("SELECT max(lease_until) FROM item WHERE state = 'running'"))


def items(kit: Kit, job_id: uuid.UUID) -> list[ItemView]:
    with transaction(kit.database) as session:
        return results.job_items(session, kit.tenant_id, job_id)


def wait_until_somebody_waits(kit: Kit) -> None:
    give_up_at = time.monotonic() + 30
    while True:
        with transaction(kit.database) as session:
            if session.scalar(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")):
                return
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def test_photos_stay_the_workers_while_it_waits_for_a_gallery(
    kit: Kit, context: WorkerContext
) -> None:
    gallery_id = large_gallery(kit)
    known_photo(kit)
    job_id = kit.job(item("again", "p"), kind=JobKind.IDENTIFY, gallery_id=gallery_id, top_k=3)
    (chunk,) = kit.dispatch()
    worker = threading.Thread(target=process_chunk, args=(context, chunk))
    with transaction(kit.database) as session:
        session.execute(text("LOCK TABLE template IN ACCESS EXCLUSIVE MODE"))
        worker.start()
        wait_until_somebody_waits(kit)
        began = lease_until(kit)
        time.sleep(3 * context.settings.lease_s)
        with transaction(kit.database) as other:
            left = "SELECT lease_until > now() FROM item WHERE state = 'running'"
            assert other.scalar(text(left))
        assert lease_until(kit) > began
        assert not context.slot.silent_s
    worker.join()
    (found,) = items(kit, job_id)
    assert found.attempt == 1
    searching = Searching(kit=kit, searcher=context.searcher)
    assert searching.in_memory(gallery_id) == {gallery_id}
    probes = [face.embedding for face in photo_of(*SEEDS).faces]
    assert [
        [(one.subject_id, one.distance) for one in face.candidates] for face in found.faces
    ] == [
        [(one.subject_id, one.distance) for one in near]
        for near in searching.by_database([gallery_id], probes, top_k=3)
    ]
