"""The bell that rings when a job has ended, for the requests that wait for it."""

import contextlib
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator

from db.errors import UnavailableError
from db.nudge import ENDED, Listener

LISTEN_S = 1.0
QUIET_S = 60.0
"""So long after the last request that waited, the connection is given back."""


class Bell:
    """One thread of a process listens for all of its requests, while there are any.

    Where the database is away it stops, and the next request begins it anew: a bell that is not
    heard costs a request no more than the pause until it looks by itself.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._lock = threading.Lock()
        self._waiting: dict[str, set[threading.Event]] = defaultdict(set)
        self._listens = False
        self._wanted_at = 0.0

    @contextlib.contextmanager
    def of(self, job_id: uuid.UUID) -> Iterator[threading.Event]:
        """An event that is set when the job ends from now on."""
        event = threading.Event()
        with self._lock:
            self._waiting[str(job_id)].add(event)
            self._wanted_at = time.monotonic()
            if not self._listens:
                self._listens = True
                threading.Thread(target=self._listen, name="bell", daemon=True).start()
        try:
            yield event
        finally:
            with self._lock:
                self._waiting[str(job_id)].discard(event)
                if not self._waiting[str(job_id)]:
                    del self._waiting[str(job_id)]

    def _listen(self) -> None:
        listener = Listener(self._database_url, ENDED)
        with contextlib.closing(listener), contextlib.suppress(UnavailableError):
            while self._is_wanted():
                self._ring(listener.wait(LISTEN_S))
        with self._lock:
            self._listens = False

    def _is_wanted(self) -> bool:
        with self._lock:
            return bool(self._waiting) or time.monotonic() < self._wanted_at + QUIET_S

    def _ring(self, job_ids: list[str]) -> None:
        with self._lock:
            for job_id in job_ids:
                for event in self._waiting.get(job_id, ()):
                    event.set()
