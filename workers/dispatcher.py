"""The dispatcher: tells workers of items that are due. Run as `python -m workers.dispatcher`.

Several may run at once; each item is sent by one of them.
"""

import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from db import nudge
from db.crops.queue import dispatch_crops
from db.dispatch import Dispatched, Lane, Room, Turns, dispatch, unsend
from db.errands import Errand, ErrandKind, dispatch_errands, unsend_errands
from db.errors import UnavailableError
from db.failpoints import Failpoint, reached
from db.nudge import Listener
from db.session import Database, Role, make_database, transaction
from db.settings import Settings
from workers.celery_app import make_celery, send_chunk, send_crop, send_export, send_source
from workers.loop import StopSignal, run_with_settings

log = structlog.get_logger()
IDLE_S = 1.0
"""Items that become due without a nudge (after a fault, say) wait this long at the most."""
SHORTEST_S, LONGEST_S = 0.02, 0.5
"""While more is due than fits, it is looked so often that each look finds some of the room free."""
GATHER_S = 0.05
"""After a nudge, others are let come before all that is due is looked at; urgent ones are not."""
BUSY_GATHER_S = 0.25
"""Likewise while the workers have enough to do: photos that come one by one make whole chunks."""
TROUBLE_S = 0.5
_SEND = {
    ErrandKind.SOURCE: send_source,
    ErrandKind.EXPORT: send_export,
    ErrandKind.CROP: send_crop,
}
_URGENT = {nudge.URGENT, nudge.CROP}
URGENT_CHUNK_ITEMS = 4
URGENT_ITEMS = 8
"""For each process: it does them before the dispatcher looks again, or nearly so."""
CROPS = 2
"""Likewise of faces to be cut out, which take less time than a photo that is searched."""


def rooms(settings: Settings) -> dict[Lane, Room]:
    """What may be in flight in each lane."""
    processes = settings.worker_processes
    # Those of the other lane help out between two chunks.
    urgent_processes = settings.urgent_processes + processes
    return {
        Lane.BULK: Room(
            items=settings.chunk_items * settings.chunks_in_flight,
            chunk_items=settings.chunk_items,
            workers=processes,
        ),
        Lane.URGENT: Room(
            items=URGENT_ITEMS * urgent_processes,
            chunk_items=min(URGENT_CHUNK_ITEMS, settings.chunk_items),
            workers=urgent_processes,
        ),
    }


class Dispatcher:
    """Moves due items from the table to the queue, a bounded number at a time."""

    def __init__(self, settings: Settings, database: Database, celery: Celery) -> None:
        self.pause_s = 0.0
        """How long to wait before the next look, where nobody nudges."""
        self.gather_s = GATHER_S
        """How long others are let come after a nudge."""
        self._settings = settings
        self._rooms = rooms(settings)
        self._crops_in_flight = CROPS * self._rooms[Lane.URGENT].workers
        self._pace = Pace(self._rooms)
        self._turns: Turns = {}
        self._served = 0
        """The tenant of the errand that was sent last."""
        self._database = database
        self._celery = celery

    def send_due(self) -> int:
        """Sends what is due and fits; returns how many messages that were.

        Raises `UnavailableError`. Where Redis is away, the items that were not sent stay due.
        """
        # Photos come of listings, so those go first.
        errands = self._send_errands()
        found = self._send_chunks(self._rooms)
        self.pause_s = self._pace.pause_s(found)
        self.gather_s = BUSY_GATHER_S if found.busy else GATHER_S
        return len(found.chunks) + errands

    def send_urgent(self, words: Collection[str]) -> None:
        """Sends that for which somebody waits, as those words say; raises likewise.

        It looks at nothing else.
        """
        if nudge.CROP in words:
            with transaction(self._database) as session:
                due = dispatch_crops(session, in_flight=self._crops_in_flight)
            self._send(due)
        if nudge.URGENT in words:
            self._send_chunks({Lane.URGENT: self._rooms[Lane.URGENT]})

    def _send_chunks(self, rooms: Mapping[Lane, Room]) -> Dispatched:
        with transaction(self._database) as session:
            found = dispatch(session, rooms, self._turns)
        if found.chunks:
            reached(Failpoint.DISPATCH_COMMITTED)
        for position, chunk in enumerate(found.chunks):
            try:
                send_chunk(self._celery, chunk)
            except (OperationalError, OSError) as exc:
                unsent = found.chunks[position:]
                self._take_back([item_id for one in unsent for item_id in one.item_ids])
                raise QueueUnavailableError("the queue does not answer") from exc
            reached(Failpoint.CHUNK_PUBLISHED)
        return found

    def _send_errands(self) -> int:
        """Sends faces to be cut out, for which somebody waits, and then listings and exports.

        Of those so few that at least half of the workers do photos meanwhile.
        """
        # A single worker does them between two chunks.
        in_flight = max(1, self._settings.worker_processes // 2)
        with transaction(self._database) as session:
            due = dispatch_crops(session, in_flight=self._crops_in_flight)
            due += dispatch_errands(session, in_flight=in_flight, after=self._served)
        self._send(due)
        return len(due)

    def _send(self, due: Sequence[Errand]) -> None:
        for position, errand in enumerate(due):
            try:
                _SEND[errand.kind](self._celery, str(errand.id))
            except (OperationalError, OSError) as exc:
                with transaction(self._database) as session:
                    unsend_errands(session, due[position:])
                raise QueueUnavailableError("the queue does not answer") from exc
            if errand.kind is not ErrandKind.CROP:
                self._served = errand.tenant_id

    def _take_back(self, item_ids: list[int]) -> None:
        with transaction(self._database) as session:
            unsend(session, item_ids)


class QueueUnavailableError(UnavailableError):
    """Redis does not answer."""

    code = "queue_unavailable"


class Pace:
    """How long the dispatcher waits before it looks again, where nobody nudges it."""

    def __init__(self, rooms: Mapping[Lane, Room]) -> None:
        self._rooms = rooms
        self._pause_s = SHORTEST_S

    def pause_s(self, found: Dispatched) -> float:
        """Shorter where a look found much of the room free, longer where it found little."""
        if not found.more:
            self._pause_s = SHORTEST_S
            return IDLE_S
        sent = Counter(dict.fromkeys(self._rooms, 0))
        for chunk in found.chunks:
            sent[chunk.lane] += len(chunk.item_ids)
        freed = max(sent[lane] / room.items for lane, room in self._rooms.items())
        if freed > 1 / 4:
            self._pause_s = max(self._pause_s * 0.7, SHORTEST_S)
        elif freed < 1 / 8:
            self._pause_s = min(self._pause_s * 1.4, LONGEST_S)
        return self._pause_s


def await_nudge(listener: Listener, timeout_s: float, gather_s: float) -> set[str]:
    """Returns at an urgent nudge, `gather_s` after any other, or after `timeout_s`.

    Returns the words of those that were urgent.
    """
    words = listener.wait(timeout_s)
    give_up_at = time.monotonic() + gather_s
    while words and not (urgent := _URGENT.intersection(words)):
        left_s = give_up_at - time.monotonic()
        if left_s <= 0:
            return set()
        words = listener.wait(left_s)
    return urgent if words else set()


def send_for_who_waits(dispatcher: Dispatcher, listener: Listener, urgent: set[str]) -> None:
    """Sends what the urgent words say, and likewise while others are let come."""
    dispatcher.send_urgent(urgent)
    give_up_at = time.monotonic() + dispatcher.gather_s
    while (left_s := give_up_at - time.monotonic()) > 0:
        dispatcher.send_urgent(listener.wait(left_s))


def run(settings: Settings) -> None:
    """Dispatches until SIGINT or SIGTERM."""
    stop = StopSignal()
    database = make_database(settings.database or "", role=Role.SYSTEM, pool_size=1, max_overflow=0)
    dispatcher = Dispatcher(settings, database, make_celery(settings))
    listener = Listener(settings.database or "", nudge.DUE)
    while not stop:
        try:
            dispatcher.send_due()
            if urgent := await_nudge(listener, dispatcher.pause_s, dispatcher.gather_s):
                send_for_who_waits(dispatcher, listener, urgent)
        except UnavailableError as exc:
            log.warning("dispatch_failed", code=exc.code)
            stop.wait(TROUBLE_S)
    listener.close()
    database.dispose()


if __name__ == "__main__":
    sys.exit(run_with_settings(run))
