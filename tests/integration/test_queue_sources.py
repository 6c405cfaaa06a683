"""Sources in the real queue: a worker lists them, and its death costs no photo and doubles none."""

import json

import redis
from api_kit import image
from source_kit import Lister, at_key, prefix
from worker_kit import StartWorker, wait_until

from db.states import JobState, SourceKind, SourceState
from workers.celery_app import make_celery, send_source
from workers.dispatcher import Dispatcher
from workers.reconciler import Reconciler

LINES = 12_000


def test_a_worker_lists_a_source_and_does_its_photos(
    lister: Lister, queue: redis.Redis, start_worker: StartWorker
) -> None:
    folder = lister.folder()
    for n in range(5):
        lister.store.put(f"{folder}{n}.jpg", [image(64 + n, 64)])
    job_id = lister.job(prefix(folder))
    dispatcher = Dispatcher(lister.settings, lister.kit.database, make_celery(lister.settings))
    start_worker(lister.settings)

    def finished() -> bool:
        dispatcher.send_due()
        return lister.kit.view(job_id).finished

    wait_until(finished)
    view = lister.kit.view(job_id)
    assert (view.state, view.n_no_face) == (JobState.SUCCEEDED, 5)


def test_a_listing_whose_worker_is_killed_goes_on_behind_its_last_page(
    lister: Lister, queue: redis.Redis, start_worker: StartWorker
) -> None:
    lister = lister.with_settings(lease_s=2.0)
    reconciler = Reconciler(lister.settings, lister.kit.database, lister.store)
    told = [json.dumps({"key": f"{lister.folder()}{n}", "id": str(n)}) for n in range(LINES)]
    key = lister.file("\n".join(told).encode())
    job_id = lister.job(at_key(SourceKind.MANIFEST, key))

    def send() -> None:
        for source_id in lister.due():
            send_source(make_celery(lister.settings), str(source_id))

    def listed() -> int:
        return lister.views(job_id)[0].n_items

    def goes_on(than: int) -> bool:
        reconciler.reconcile()
        send()
        return listed() > than

    worker = start_worker(lister.settings)
    wait_until(lambda: goes_on(0))
    worker.kill()
    before = listed()
    assert 0 < before < LINES
    start_worker(lister.settings)
    wait_until(lambda: goes_on(before) and lister.views(job_id)[0].state is SourceState.DONE)
    assert lister.ids(job_id) == [str(n) for n in range(LINES)]
    assert lister.kit.view(job_id).n_items == listed() == LINES
