"""The dispatcher: tells workers of items that are due. Run as `python -m workers.dispatcher`.

Several may run at once; each item is sent by one of them.
"""

import sys
import uuid
from collections.abc import Callable

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from db.errors import UnavailableError
from db.exports.queue import dispatch_exports, unsend_exports
from db.failpoints import Failpoint, reached
from db.ledger import dispatch, unsend
from db.nudge import Listener
from db.session import Database, Session, make_database, transaction
from db.settings import Settings
from db.source_queue import dispatch_sources, unsend_sources
from workers.celery_app import make_celery, send_chunk, send_export, send_source
from workers.loop import StopSignal, run_with_settings

log = structlog.get_logger()
IDLE_S = 1.0
"""Items that become due without a nudge (after a fault, say) wait this long at the most."""
BUSY_S = 0.1
"""While chunks are in flight, room for more is looked for this often."""
TROUBLE_S = 0.5


class Dispatcher:
    """Moves due items from the table to the queue, a bounded number at a time."""

    def __init__(self, settings: Settings, database: Database, celery: Celery) -> None:
        self._settings = settings
        self._database = database
        self._celery = celery

    def send_due(self) -> int:
        """Sends what is due and fits; returns how many messages that were.

        Raises `UnavailableError`. Where Redis is away, the items that were not sent stay due.
        """
        sources = self._send_sources()
        with transaction(self._database) as session:
            chunks = dispatch(
                session,
                chunk_items=self._settings.chunk_items,
                chunks_in_flight=self._settings.chunks_in_flight,
                workers=self._settings.worker_processes,
            )
        if chunks:
            reached(Failpoint.DISPATCH_COMMITTED)
        for position, chunk in enumerate(chunks):
            try:
                send_chunk(self._celery, chunk)
            except (OperationalError, OSError) as exc:
                self._take_back([item for unsent in chunks[position:] for item in unsent])
                raise QueueUnavailableError("the queue does not answer") from exc
            reached(Failpoint.CHUNK_PUBLISHED)
        return len(chunks) + sources + self._send_exports()

    def _send_sources(self) -> int:
        """Sends sources to be listed: photos come of them, so they go before photos."""
        return self._send_others(dispatch_sources, send_source, unsend_sources)

    def _send_exports(self) -> int:
        """Sends exports to be written."""
        return self._send_others(dispatch_exports, send_export, unsend_exports)

    def _send_others(
        self,
        dispatch_others: Callable[..., list[uuid.UUID]],
        send: Callable[[Celery, str], None],
        unsend_others: Callable[[Session, list[uuid.UUID]], None],
    ) -> int:
        """Sends what is no photo: half of the workers may be at it, the others do photos."""
        in_flight = max(1, self._settings.worker_processes // 2)
        with transaction(self._database) as session:
            due = dispatch_others(session, in_flight=in_flight)
        for position, one in enumerate(due):
            try:
                send(self._celery, str(one))
            except (OperationalError, OSError) as exc:
                with transaction(self._database) as session:
                    unsend_others(session, due[position:])
                raise QueueUnavailableError("the queue does not answer") from exc
        return len(due)

    def _take_back(self, item_ids: list[int]) -> None:
        with transaction(self._database) as session:
            unsend(session, item_ids)


class QueueUnavailableError(UnavailableError):
    """Redis does not answer."""

    code = "queue_unavailable"


def run(settings: Settings) -> None:
    """Dispatches until SIGINT or SIGTERM."""
    stop = StopSignal()
    database = make_database(settings.database or "", pool_size=1, max_overflow=0)
    dispatcher = Dispatcher(settings, database, make_celery(settings))
    listener = Listener(settings.database or "")
    while not stop:
        try:
            sent = dispatcher.send_due()
            listener.wait(BUSY_S if sent else IDLE_S)
        except UnavailableError as exc:
            log.warning("dispatch_failed", code=exc.code)
            stop.wait(TROUBLE_S)
    listener.close()
    database.dispose()


if __name__ == "__main__":
    sys.exit(run_with_settings(run))
