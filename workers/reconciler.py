"""The reconciler: puts right what died half-way. Run as `python -m workers.reconciler`.

Several may run at once; rows are locked and skipped, and every step can be done again.
"""

import datetime as dt
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import redis
import structlog

from db import control, erase, erase_jobs, ledger, nudge, source_queue
from db.archives import drop_empty_archives
from db.crops import queue as crops
from db.crops.asking import drop_expired_crops
from db.errors import UnavailableError
from db.exports import queue as exports
from db.exports.removal import drop_expired_exports
from db.extracting import forget_extracting
from db.failpoints import Failpoint, reached
from db.kept_answers import forget_answers
from db.session import Database, Role, Session, make_database, transaction
from db.settings import Settings
from db.storage import ObjectStore
from db.tallies import fold_tallies
from db.webhooks.events import forget_events
from workers.celery_app import QUEUES
from workers.emptying import move_survivors
from workers.loop import StopSignal, run_with_settings

T = TypeVar("T")
log = structlog.get_logger()
SURELY_LOST_S = 120.0
"""A chunk that nobody claimed for so long is sent again even while the queue has others in it."""
SETTLED_AGE = dt.timedelta(hours=1)
"""So long after an upload was given up its folder is swept: by then its last object has arrived,
or never will."""
DELETED_AT_ONCE = 100
"""Objects whose deletion is noted together."""
OPEN_JOB_AGE = dt.timedelta(hours=24)
PATIENCE_S = 5.0
"""For jobs of very many photos, so that leases are looked at meanwhile."""


class Reconciler:
    """One look at everything that can be left half-done."""

    def __init__(self, settings: Settings, database: Database, store: ObjectStore) -> None:
        self._settings = settings
        self._database = database
        self._store = store
        url = settings.redis_url.get_secret_value() if settings.redis_url else ""
        self.has_more = False
        """Whether the last look stopped before its work was done."""
        self._redis = redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5)

    def reconcile(self) -> None:
        """Does every step; one that fails is logged and does not keep the others from running."""
        self.has_more = False
        steps: dict[str, Callable[[], int]] = {
            "items_set_aside": lambda: self._committed(self._set_aside),
            "leases_expired": lambda: self._committed(self._requeue_expired),
            "sources_set_aside": lambda: self._set_aside_others(source_queue.set_aside_sources),
            "source_leases_expired": lambda: self._requeue(source_queue.requeue_expired_sources),
            "exports_set_aside": lambda: self._set_aside_others(exports.set_aside_exports),
            "export_leases_expired": lambda: self._requeue(exports.requeue_expired_exports),
            "exports_expired": lambda: self._committed(drop_expired_exports),
            "crops_expired": lambda: self._committed(drop_expired_crops),
            "crops_set_aside": lambda: self._set_aside_others(crops.set_aside_crops),
            "crop_leases_expired": lambda: self._requeue(crops.requeue_expired_crops),
            "messages_lost": self._resend_stale,
            "jobs_abandoned": lambda: self._committed(
                lambda session: len(control.cancel_abandoned(session, OPEN_JOB_AGE))
            ),
            "jobs_cancelled": self._cancel_jobs,
            "jobs_deleted": self._delete_jobs,
            "uploads_given_up": lambda: self._committed(erase.give_up_uploads),
            "searches_forgotten": lambda: self._committed(forget_extracting),
            "events_forgotten": self._forget_events,
            "answers_forgotten": lambda: self._committed(forget_answers),
            "photos_moved_out": lambda: move_survivors(self._database, self._store),
            "archives_dropped": lambda: self._committed(drop_empty_archives),
            "objects_deleted": self._delete_doomed,
            "folders_swept": self._sweep_folders,
            "tallies_folded": self._fold_tallies,
        }
        for event, step in steps.items():
            try:
                count = step()
            except UnavailableError as exc:
                log.warning("reconcile_failed", step=event, code=exc.code)
                continue
            if count:
                log.warning(event, count=count)
                reached(Failpoint.RECONCILER_STEP, event)

    def _committed(self, step: Callable[[Session], T]) -> T:
        """What `step` returns, once its transaction is committed."""
        with transaction(self._database) as session:
            return step(session)

    def _cancel_jobs(self) -> int:
        """Ends what is queued of jobs whose end was asked for, for as long as leases can wait."""
        jobs = self._committed(control.cancelling_jobs)
        return self._in_batches(jobs, control.cancel_some)

    def _delete_jobs(self) -> int:
        """Deletes jobs that are not to be kept, likewise."""
        jobs = self._committed(erase_jobs.overdue_jobs)
        for job_id in jobs:
            self._committed(partial(control.ask_to_end, job_id=job_id))
        return self._in_batches(
            jobs, lambda session, job_id, _at: erase_jobs.delete_some(session, job_id)
        )

    def _in_batches(
        self, jobs: Iterable[uuid.UUID], some: Callable[[Session, uuid.UUID, int], int | None]
    ) -> int:
        """Goes through the jobs, a transaction for each batch; returns how many were done with.

        Where time is up before the end, the next look comes at once.
        """
        give_up_at = time.monotonic() + PATIENCE_S
        done = 0
        for job_id in jobs:
            at: int | None = 0
            while at is not None:
                if time.monotonic() > give_up_at:
                    self.has_more = True
                    return done
                with transaction(self._database) as session:
                    at = some(session, job_id, at)
            done += 1
        return done

    def _set_aside(self, session: Session) -> int:
        return len(ledger.set_aside(session, max_attempts=self._settings.max_attempts))

    def _requeue_expired(self, session: Session) -> int:
        requeued = ledger.requeue_expired(session, max_attempts=self._settings.max_attempts)
        if requeued:
            nudge.notify(session)
        return len(requeued)

    def _set_aside_others(self, set_aside: Callable[..., int]) -> int:
        max_attempts = self._settings.max_attempts
        return self._committed(lambda session: set_aside(session, max_attempts=max_attempts))

    def _requeue(self, requeue_expired: Callable[..., int]) -> int:
        def requeue(session: Session) -> int:
            expired = requeue_expired(session, max_attempts=self._settings.max_attempts)
            if expired:
                nudge.notify(session)
            return expired

        return self._committed(requeue)

    def _resend_stale(self) -> int:
        after_s = self._settings.resend_after_s if self._queues_are_empty() else SURELY_LOST_S

        def resend(session: Session) -> int:
            stale = len(ledger.resend_stale(session, after_s=after_s))
            stale += source_queue.resend_stale_sources(session, after_s=after_s)
            stale += crops.resend_stale_crops(session, after_s=after_s)
            stale += exports.resend_stale_exports(session, after_s=after_s)
            if stale:
                nudge.notify(session)
            return stale

        return self._committed(resend)

    def _queues_are_empty(self) -> bool:
        """False too where Redis is away: then nothing could be sent again anyway."""
        try:
            return not any(self._redis.llen(name) for name in QUEUES.values())
        except redis.RedisError:
            return False

    def _forget_events(self) -> int:
        days = self._settings.event_days
        return self._committed(lambda session: forget_events(session, days=days))

    def _delete_doomed(self) -> int:
        """Deletes objects whose photos are gone, bounded so that leases are looked at meanwhile.

        The bucket is asked with no transaction open. Whatever dies in between is done again.
        """
        keys = self._committed(erase.doomed_objects)
        for start in range(0, len(keys), DELETED_AT_ONCE):
            some = keys[start : start + DELETED_AT_ONCE]
            self._store.delete(some)
            reached(Failpoint.OBJECTS_DELETED)
            self._forget(some)
        return len(keys)

    def _sweep_folders(self) -> int:
        """Deletes what uploads that were given up have left in the bucket."""
        folders = self._committed(lambda session: erase.doomed_folders(session, SETTLED_AGE))
        for folder in folders:
            self._store.abort_uploads(folder)
            keys = list(self._store.keys(folder))
            self._store.delete(self._unused(keys))
            self._forget([folder])
        return len(folders)

    def _fold_tallies(self) -> int:
        """Always 0: there is nothing wrong with what it finds."""
        self._committed(fold_tallies)
        return 0

    def _unused(self, keys: Sequence[str]) -> list[str]:
        return self._committed(lambda session: erase.unused_keys(session, keys))

    def _forget(self, keys: Sequence[str]) -> None:
        self._committed(lambda session: erase.forget_objects(session, keys))


def run(settings: Settings) -> None:
    """Reconciles at once, then time and again until SIGINT or SIGTERM."""
    stop = StopSignal()
    database = make_database(settings.database or "", role=Role.SYSTEM, pool_size=1, max_overflow=0)
    reconciler = Reconciler(settings, database, ObjectStore.from_settings(settings))
    while not stop:
        reconciler.reconcile()
        stop.wait(0 if reconciler.has_more else settings.reconcile_every_s)
    database.dispose()


if __name__ == "__main__":
    sys.exit(run_with_settings(run))
