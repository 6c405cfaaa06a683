"""Several dispatchers, reconcilers and workers on one database get into nobody's way."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from ledger_kit import Kit
from worker_kit import HOSTILE, StartWorker, environ, photos, rows, wait_until

from cli.stack.home import Home
from cli.stack.parts import python
from db.dispatch import Chunk, Lane
from db.settings import Settings
from db.states import JobState
from db.storage import ObjectStore
from workers.celery_app import make_celery, send_chunk

JOBS = 6
PHOTOS = 16


@contextlib.contextmanager
def beside(settings: Settings, module: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The dispatcher or the reconciler, as a process that looks much more often than it need."""
    often = {"FACEBATCH_RECONCILE_EVERY_S": "0.1", "FACEBATCH_RESEND_AFTER_S": "0.2"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            python(module), env=environ(settings) | often, stdout=out, stderr=out
        )
    try:
        yield process
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def logs(tmp_path: Path, stores_home: Home) -> Iterator[list[Path]]:
    """Logs, in which nobody may speak of a deadlock or of trouble; PostgreSQL's among them."""
    database_log = stores_home.log("postgresql")
    before = len(database_log.read_text())
    found = [tmp_path / f"{n}.log" for n in range(6)]
    yield found
    said = [path.read_text() for path in found] + [database_log.read_text()[before:]]
    for words in ("deadlock", "dispatch_failed", "reconcile_failed", "Traceback"):
        assert not any(words in one for one in said), words


def test_each_photo_is_claimed_once_however_many_send_and_repair(
    kit: Kit,
    settings: Settings,
    queue: redis.Redis,
    logs: list[Path],
    start_worker: StartWorker,
) -> None:
    store = ObjectStore.from_settings(settings)
    with contextlib.ExitStack() as running:
        for n, log in enumerate(logs):
            module = "workers.dispatcher" if n % 2 else "workers.reconciler"
            running.enter_context(beside(settings, module, log))
        worker = start_worker(settings, app=HOSTILE, processes=2)
        jobs = [kit.job(*photos(store, PHOTOS, f" of {n} !slow")) for n in range(JOBS)]
        app, at_work = make_celery(settings), set[int]()

        def ended() -> bool:
            # Messages that come twice, of photos that a worker is at.
            for item_id in {*rows(kit, "id", "state = 'running'")} - at_work:
                at_work.add(item_id)
                send_chunk(app, Chunk(item_ids=(item_id,), lane=Lane.URGENT))
            return all(kit.view(job_id).finished for job_id in jobs)

        wait_until(ended)
    for job_id in jobs:
        view = kit.view(job_id)
        assert (view.state, view.n_no_face) == (JobState.SUCCEEDED, PHOTOS)
    assert set(rows(kit, "fence, attempt, state")) == {(1, 1, "no_face")}
    assert "chunk_recorded" in worker.said
    assert not {"chunk_handed_back", "claims_outlived"} & set(worker.said.split('"'))
