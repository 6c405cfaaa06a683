"""The dispatcher: tells workers of items that are due. Run as `python -m workers.dispatcher`.

Several may run at once; each item is sent by one of them.
"""

import sys

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from db.dispatch import dispatch, unsend
from db.errors import UnavailableError
from db.nudge import Listener
from db.session import Database, make_database, transaction
from db.settings import Settings
from workers.celery_app import make_celery, send_chunk
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
        """Sends what is due and fits; returns how many chunks that were.

        Raises `UnavailableError`. Where Redis is away, the items that were not sent stay due.
        """
        with transaction(self._database) as session:
            chunks = dispatch(
                session,
                chunk_items=self._settings.chunk_items,
                chunks_in_flight=self._settings.chunks_in_flight,
                workers=self._settings.worker_processes,
            )
        for position, chunk in enumerate(chunks):
            try:
                send_chunk(self._celery, chunk)
            except (OperationalError, OSError) as exc:
                self._take_back([item for unsent in chunks[position:] for item in unsent])
                raise QueueUnavailableError("the queue does not answer") from exc
        return len(chunks)

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
