"""Memory that a worker's main process shares with its children, and that outlives each of them.

The main process says there when to stop. Each child says in a slot of its own what it holds and
when it last got on; so whoever comes after it knows what it had in its hands.
"""

import ctypes
import math
import mmap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from db.faults import Held, HeldItem
from db.settings import MAX_CHUNK_ITEMS, MAX_PROCESSES

FAULT_BYTES = 120


class _Header(ctypes.Structure):
    _fields_ = (("stopping", ctypes.c_int64),)


class _Record(ctypes.Structure):
    _fields_ = (
        ("pid", ctypes.c_int64),
        # On the clock that all processes of a machine share; infinite where nobody looks at it.
        ("progress_at_s", ctypes.c_double),
        # The counts are written after what they count: a child may die at any moment.
        ("n_sent", ctypes.c_int64),
        ("n_held", ctypes.c_int64),
        ("fault", ctypes.c_char * FAULT_BYTES),
        ("ids", ctypes.c_int64 * MAX_CHUNK_ITEMS),
        ("fences", ctypes.c_int64 * MAX_CHUNK_ITEMS),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a process had in its hands when it died."""

    held: tuple[HeldItem, ...]
    """Items that it had claimed."""
    sent: tuple[int, ...]
    """Items that were sent to it, where it had not claimed any yet."""
    fault: str | None
    """What ended it, where the main process has heard of that."""


class Slot:
    """The part of the board that belongs to one process of the pool, and to its successors."""

    def __init__(self, header: _Header, record: _Record) -> None:
        self._header = header
        self._record = record
        self._asked = False

    @property
    def pid(self) -> int:
        """The process that the slot belongs to; 0 where it never belonged to any."""
        return int(self._record.pid)

    @property
    def stopping(self) -> bool:
        """Whether nothing further is to be begun."""
        return self._asked or bool(self._header.stopping)

    @property
    def asked_to_stop(self) -> bool:
        """Whether this very process was asked, and not the worker that it belongs to."""
        return self._asked

    @property
    def busy(self) -> bool:
        """Whether a chunk is in its hands."""
        return bool(self._record.n_sent or self._record.n_held)

    @property
    def silent_s(self) -> float:
        """Seconds since it last got on; 0 where nobody expects that of it."""
        return float(max(0.0, time.monotonic() - self._record.progress_at_s))

    def ask_to_stop(self) -> None:
        """Has this process begin nothing further. Called in a signal's handler."""
        self._asked = True

    def left(self) -> Left | None:
        """What the process before left; None where it had nothing in its hands."""
        record = self._record
        if not self.busy:
            return None
        ids, fences = record.ids[: record.n_held], record.fences[: record.n_held]
        return Left(
            held=tuple(
                HeldItem(item_id=item_id, fence=fence)
                for item_id, fence in zip(ids, fences, strict=True)
            ),
            sent=tuple(record.ids[: record.n_sent]),
            fault=record.fault.decode() or None,
        )

    def take(self, pid: int) -> None:
        """Makes it the slot of `pid`, which holds nothing."""
        self.end()
        self._record.pid = pid

    def begin(self, item_ids: Sequence[int]) -> None:
        """Notes that these items were sent to this process."""
        self.end()
        # A message that names more than we send is none of ours; its items have their leases.
        noted = item_ids[:MAX_CHUNK_ITEMS]
        self._record.ids[: len(noted)] = list(noted)
        self._record.n_sent = len(noted)

    def hold(self, claims: Sequence[Held]) -> None:
        """Notes that it holds these items now, and no others."""
        self.end()
        noted = claims[:MAX_CHUNK_ITEMS]
        self._record.ids[: len(noted)] = [one.item_id for one in noted]
        self._record.fences[: len(noted)] = [one.fence for one in noted]
        self._record.n_held = len(noted)

    def progress(self) -> None:
        """Notes that it has got on: within a lease it has to do so again."""
        self._record.progress_at_s = time.monotonic()

    def rest(self) -> None:
        """Notes that it waits for stores, which have time limits of their own."""
        self._record.progress_at_s = math.inf

    def end(self) -> None:
        """Notes that it holds nothing."""
        self._record.n_sent = self._record.n_held = 0
        self._record.fault = b""
        self.rest()

    def note_fault(self, fault: str) -> None:
        """Notes what ended the process. The first that is said stands."""
        if not self._record.fault:
            self._record.fault = fault.encode()[:FAULT_BYTES]


class Board:
    """The slots of all processes of a pool. Made before the first of them is forked."""

    def __init__(self, *, processes: int = MAX_PROCESSES) -> None:
        size = ctypes.sizeof(_Header) + processes * ctypes.sizeof(_Record)
        # The system gives a page of it only once somebody writes to that.
        memory = mmap.mmap(-1, size)
        self._header = _Header.from_buffer(memory)
        self._slots = tuple(
            Slot(
                self._header,
                _Record.from_buffer(memory, ctypes.sizeof(_Header) + n * ctypes.sizeof(_Record)),
            )
            for n in range(processes)
        )

    @property
    def stopping(self) -> bool:
        """Whether the worker is to stop."""
        return bool(self._header.stopping)

    def stop(self) -> None:
        """Has no child begin anything further. Called in a signal's handler."""
        self._header.stopping = 1

    def slot(self, index: int) -> Slot:
        """The slot of the pool's process `index`."""
        return self._slots[index]

    def slots(self) -> Iterator[Slot]:
        """Those that belong to a process, or did: the pool fills them from the first on."""
        for slot in self._slots:
            if not slot.pid:
                return
            yield slot
