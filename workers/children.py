"""What a worker's main process does for its children: ends those that hang, and all at a stop."""

import contextlib
import os
import re
import signal
import threading
import time
from typing import Any

import structlog
from billiard.einfo import ExceptionWithTraceback
from billiard.exceptions import WorkerLostError
from celery.worker.request import Request

from db import nudge
from db.errors import UnavailableError
from db.ledger import release
from db.retry import retrying
from db.session import Role, make_database, transaction
from db.settings import Settings
from workers.board import Board, Left, Slot

log = structlog.get_logger()
LOOK_EVERY_S = 0.1
ASLEEP_S = 3.0
"""Between two looks lies a second: whoever finds it so much longer was halted."""
HURRY_S = 2.0
"""So long after it was told to end with its last words, a process is killed."""
FINISH_S = 6.0
"""So long have children at a stop to finish their photos and to record them."""
RELEASE_S = 1.5
"""So long the database has to take back what they had."""
END_S = 9.0
"""So long after the signal the worker is gone, whatever Celery waits for."""


class Children:
    """The processes of this worker's pool, seen from their parent, which has one thread."""

    def __init__(self, board: Board, settings: Settings) -> None:
        self._board = board
        self._settings = settings
        self._halted_since: dict[int, float] = {}
        self._looked_at = self._awake_since = time.monotonic()

    def look(self) -> None:
        """Ends those that hang. To be called every second, by `tick`.

        Celery's own timers stand still while it looks for a Redis that is away.
        """
        now = time.monotonic()
        if now - self._looked_at > ASLEEP_S:
            # All of us were halted, and children are not to blame.
            self._awake_since = now
        self._looked_at = now
        for slot in self._board.slots():
            if not _runs(slot.pid):
                continue
            silent_s = max(slot.silent_s, self._halted_s(slot.pid))
            silent_s = min(silent_s, now - self._awake_since)
            if silent_s > self._settings.lease_s:
                slot.note_fault(f"no progress for {self._settings.lease_s:g} s")
                hurry = silent_s > self._settings.lease_s + HURRY_S
                _kill(slot.pid, signal.SIGKILL if hurry else signal.SIGABRT)

    def lost(self, pid: int | None, error: WorkerLostError) -> None:
        """Notes for its successor what a child has died of."""
        for slot in self._board.slots():
            if slot.pid == pid and slot.busy:
                slot.note_fault(_words(error))

    def stop(self) -> None:
        """Has all of them end within ten seconds. Called in a signal's handler, may be twice."""
        if not self._board.stopping:
            self._board.stop()
            # From now on nothing is forked that could inherit what the thread does.
            threading.Thread(target=self._see_to_the_end, name="stop", daemon=True).start()

    def _halted_s(self, pid: int) -> float:
        """For how long a child has been stopped, as by SIGSTOP; 0 where it runs."""
        options = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        with contextlib.suppress(ChildProcessError):
            if os.waitid(os.P_PID, pid, options) is not None:
                since = self._halted_since.setdefault(pid, time.monotonic())
                return time.monotonic() - since
        self._halted_since.pop(pid, None)
        return 0.0

    def _see_to_the_end(self) -> None:
        began_at = time.monotonic()
        while time.monotonic() < began_at + FINISH_S and any(self._busy()):
            time.sleep(LOOK_EVERY_S)
        left = [one for slot in self._busy() if (one := _ended(slot)) is not None]
        if left:
            self._release(left)
        time.sleep(max(0.0, began_at + END_S - time.monotonic()))
        log.warning("worker_did_not_stop")
        os._exit(0)

    def _busy(self) -> list[Slot]:
        return [slot for slot in self._board.slots() if slot.busy]

    def _release(self, left: list[Left]) -> None:
        held = [item for one in left for item in one.held]
        database = make_database(
            self._settings.database or "", role=Role.SYSTEM, pool_size=1, max_overflow=0
        )

        def commit() -> set[int]:
            with transaction(database) as session:
                nudge.notify(session)
                return release(session, held, delay_s=0)

        try:
            released = retrying(commit, for_s=RELEASE_S)
        except UnavailableError as exc:
            log.warning("stopped_items_left_to_their_leases", code=exc.code, items=len(held))
        else:
            log.warning("stopped_items_handed_back", items=len(released))


def request_class(children: Children) -> type[Request]:
    """Celery's request, as one that hears what a child has died of."""

    class ChunkRequest(Request):  # type: ignore[misc]
        def on_failure(
            self,
            exc_info: Any,
            send_failed_event: bool = True,  # noqa: FBT001, FBT002 - Celery's signature.
            return_ok: bool = False,  # noqa: FBT001, FBT002 - likewise.
        ) -> None:
            error = exc_info.exception
            if isinstance(error, ExceptionWithTraceback):
                error = error.exc
            if isinstance(error, WorkerLostError):
                children.lost(self.worker_pid, error)
            super().on_failure(exc_info, send_failed_event, return_ok)

    return ChunkRequest


def _words(error: WorkerLostError) -> str:
    """What billiard says of a process that is no more, for people."""
    found = re.search(r"(signal|exitcode) (\d+)", str(error))
    if not found:
        return "its process ended"
    what, number = found[1], int(found[2])
    if what == "exitcode":
        return f"its process ended with status {number}"
    if number == signal.SIGKILL:
        return f"killed by signal {number} (out of memory?)"
    with contextlib.suppress(ValueError):
        return f"killed by signal {number} ({signal.Signals(number).name})"
    return f"killed by signal {number}"


def _ended(slot: Slot) -> Left | None:
    """Kills a child and returns what it had in its hands."""
    _kill(slot.pid, signal.SIGKILL)
    return slot.left()


def _runs(pid: int) -> bool:
    """Whether it is a child of this process, and has not ended."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
