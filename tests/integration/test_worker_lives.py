"""Workers stop soon and leave nothing behind, end where they hang, and say what they died of."""

import time
from collections.abc import Callable

import psutil
import pytest
import redis
from ledger_kit import Kit
from worker_kit import HOSTILE, SLOW_S, OwnQueue, StartWorker, photos, rows, wait_until

from db.settings import Settings
from db.states import JobState
from db.storage import ObjectStore
from workers.celery_app import make_celery
from workers.dispatcher import Dispatcher
from workers.reconciler import Reconciler


@pytest.fixture
def patient(settings: Settings) -> Settings:
    """Settings under which nobody hears of a dead worker by its lease while a test lasts."""
    return settings.model_copy(update={"lease_s": 600.0})


@pytest.fixture
def dispatcher(kit: Kit, settings: Settings, queue: redis.Redis) -> Dispatcher:
    return Dispatcher(settings, kit.database, make_celery(settings))


@pytest.fixture
def store(settings: Settings) -> ObjectStore:
    return ObjectStore.from_settings(settings)


def ended(kit: Kit) -> int:
    return len(rows(kit, "id", "state NOT IN ('queued', 'running')"))


def run_until(dispatcher: Dispatcher, done: Callable[[], object]) -> None:
    """Dispatches whatever is due, until `done`."""

    def look() -> object:
        dispatcher.send_due()
        return done()

    wait_until(look)


def test_a_worker_that_is_told_to_stop_records_what_is_done_and_hands_back_the_rest(
    kit: Kit,
    patient: Settings,
    store: ObjectStore,
    dispatcher: Dispatcher,
    start_worker: StartWorker,
) -> None:
    # So many that the first chunk is a whole one, for however many processes.
    job_id = kit.job(*photos(store, 5 * patient.chunk_items, "!slow"))
    worker = start_worker(patient, app=HOSTILE)
    dispatcher.send_due()
    wait_until(lambda: len(rows(kit, "id", "state = 'running'")) == patient.chunk_items)
    time.sleep(4 * SLOW_S)
    assert worker.stopped_in_s() < 10
    assert worker.process.returncode == 0
    assert "worker_did_not_stop" not in worker.said
    assert 0 < ended(kit) < patient.chunk_items
    open_ones = rows(
        kit, "state, attempt, lease_until IS NULL, due_at <= now()", "state <> 'no_face'"
    )
    assert set(open_ones) == {("queued", 0, True, True)}
    # Nobody waits for a lease, nor for a message to be missed.
    start_worker(patient)
    run_until(dispatcher, lambda: kit.view(job_id).finished)
    assert kit.view(job_id).state is JobState.SUCCEEDED


def test_a_photo_that_takes_too_long_for_a_stop_goes_back_uncounted(
    kit: Kit,
    patient: Settings,
    store: ObjectStore,
    dispatcher: Dispatcher,
    start_worker: StartWorker,
) -> None:
    kit.job(*photos(store, 1, "!stuck"))
    worker = start_worker(patient, app=HOSTILE)
    dispatcher.send_due()
    wait_until(lambda: rows(kit, "id", "state = 'running'"))
    assert worker.stopped_in_s() < 10
    assert rows(kit, "state, attempt, due_at <= now()") == [("queued", 0, True)]


GIVEN_UP = "the photo was given up: its worker was lost {} times over it; the last time: {}"


def test_photos_that_crash_their_worker_are_set_aside_with_the_cause_and_harm_no_other(
    kit: Kit,
    patient: Settings,
    store: ObjectStore,
    dispatcher: Dispatcher,
    start_worker: StartWorker,
) -> None:
    faults = {
        "!segfault": "killed by signal 11 (SIGSEGV)",
        "!abort": "killed by signal 6 (SIGABRT)",
        "!killed": "killed by signal 9 (out of memory?)",
    }
    culprits = [one for order in faults for one in photos(store, 1, order)]
    job_id = kit.job(*photos(store, 8), *culprits)
    start_worker(patient, app=HOSTILE)
    run_until(dispatcher, lambda: kit.view(job_id).finished)
    found = rows(kit, "state, attempt, error_code, error_detail")
    assert found[8:] == [
        ("failed", 3, "worker_lost", GIVEN_UP.format(3, fault)) for fault in faults.values()
    ]
    assert {state for state, *_ in found[:8]} == {"no_face"}
    assert max(attempt for _, attempt, *_ in found[:8]) <= 2


def test_a_worker_without_progress_is_ended_and_says_where_it_was(
    kit: Kit,
    settings: Settings,
    store: ObjectStore,
    dispatcher: Dispatcher,
    start_worker: StartWorker,
) -> None:
    hasty = settings.model_copy(update={"lease_s": 2.0, "max_attempts": 2})
    # One has Python's lock in its hand, the other is not even able to end.
    culprits = [*photos(store, 1, "!stuck"), *photos(store, 1, "!stopped")]
    job_id = kit.job(*photos(store, 2), *culprits)
    worker = start_worker(hasty, app=HOSTILE)
    run_until(dispatcher, lambda: kit.view(job_id).finished)
    found = rows(kit, "state, error_detail")
    assert found[2:] == [("failed", GIVEN_UP.format(2, "no progress for 2 s"))] * 2
    assert {state for state, _ in found[:2]} == {"no_face"}
    assert "hostile_app.py" in worker.said


def test_a_worker_that_was_halted_as_a_whole_goes_on_and_its_photos_are_not_counted_twice(
    kit: Kit,
    settings: Settings,
    store: ObjectStore,
    dispatcher: Dispatcher,
    start_worker: StartWorker,
) -> None:
    hasty = settings.model_copy(update={"lease_s": 2.0})
    reconciler = Reconciler(hasty, kit.database, store)
    job_id = kit.job(*photos(store, 24, "!slow"))
    worker = start_worker(hasty, app=HOSTILE)
    dispatcher.send_due()
    wait_until(lambda: rows(kit, "id", "state = 'running'"))
    halted = psutil.Process(worker.process.pid)
    family = [halted, *halted.children()]
    for process in family:
        process.suspend()
    wait_until(lambda: rows(kit, "id", "state = 'running' AND lease_until < now()"))
    time.sleep(2 * hasty.lease_s)
    reconciler.reconcile()
    for process in family:
        process.resume()
    run_until(dispatcher, lambda: kit.view(job_id).finished)
    assert set(rows(kit, "state, attempt")) == {("no_face", 1)}
    assert all(process.is_running() for process in family)


def test_a_process_that_is_told_to_end_does_so_between_two_photos_and_is_replaced(
    kit: Kit,
    patient: Settings,
    store: ObjectStore,
    dispatcher: Dispatcher,
    start_worker: StartWorker,
) -> None:
    job_id = kit.job(*photos(store, 32, "!slow"))
    worker = start_worker(patient, app=HOSTILE)
    dispatcher.send_due()
    wait_until(lambda: rows(kit, "id", "state = 'running'"))
    (process,) = psutil.Process(worker.process.pid).children()
    process.terminate()
    run_until(dispatcher, lambda: kit.view(job_id).finished)
    assert not process.is_running()
    assert set(rows(kit, "state, attempt")) == {("no_face", 1)}


def test_a_worker_that_is_told_to_stop_does_so_while_its_queue_hangs(
    kit: Kit,
    patient: Settings,
    store: ObjectStore,
    own_queue: OwnQueue,
    start_worker: StartWorker,
) -> None:
    hanging = patient.model_copy(update={"redis_url": own_queue.settings.redis_url})
    with own_queue.serving() as client:
        kit.job(*photos(store, 16, "!slow"))
        worker = start_worker(hanging, app=HOSTILE)
        Dispatcher(hanging, kit.database, make_celery(hanging)).send_due()
        wait_until(lambda: rows(kit, "id", "state = 'running'"))
        server = psutil.Process(client.info("server")["process_id"])
        server.suspend()
        try:
            assert worker.stopped_in_s() < 10
        finally:
            server.resume()
    assert rows(kit, "id", "state = 'running'") == []
    assert set(rows(kit, "attempt", "state = 'queued'")) <= {0}
