"""The galleries that a process has in memory, and how much of it they may take.

What is on the shelf only says where to look: it is never asked whether somebody is still there.
"""

import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from db.snapshots.reading import Read
from db.snapshots.rows import Batch, Nominees, Rows
from pipeline.nearest import Floats, Ints

KEPT_S = 60.0
"""A gallery that was searched so shortly before makes no room for another: else two of them would
take turns to throw each other out."""
IDLE_S = 1800.0
"""One that nobody has searched for so long is let go."""
Key = tuple[int, uuid.UUID]
"""The ids of a tenant and of its gallery."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A gallery that is in memory, and how far it was read: see `db.snapshots.reading`."""

    gallery_id: uuid.UUID
    horizon: int
    known: frozenset[int]
    read_at: float
    """When that was, on the monotonic clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nominated:
    """What the galleries in memory say to the probes."""

    held: tuple[Held, ...]
    """Those that are; all others were not asked."""
    nominees: tuple[Nominees, ...]
    """For each probe, over all of them."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Place:
    rows: Rows
    horizon: int
    known: frozenset[int]
    read_at: float
    swept_at: float
    used_at: float

    def held(self, key: Key) -> Held:
        return Held(gallery_id=key[1], horizon=self.horizon, known=self.known, read_at=self.read_at)


class Shelf:
    """Galleries in memory, under one lock: who searches them never meets half a change."""

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._places: dict[Key, _Place] = {}

    @property
    def size_bytes(self) -> int:
        """What the galleries take."""
        with self._lock:
            return self._taken_bytes()

    def nominate(
        self, keys: Iterable[Key], probes: Floats, *, subjects: int, depth: int
    ) -> Nominated:
        """Asks those of the galleries that are in memory, as `Rows.nominees` does each."""
        held, found = [], []
        with self._lock:
            for key, place in self._of(keys):
                place.used_at = time.monotonic()
                held.append(place.held(key))
                found.append(place.rows.nominees(probes, subjects=subjects, depth=depth))
        together = zip(*found, strict=True) if found else iter(())
        return Nominated(held=tuple(held), nominees=tuple(_joined(some) for some in together))

    def held(self, keys: Iterable[Key]) -> list[Held]:
        """Those of the galleries that are in memory."""
        with self._lock:
            return [place.held(key) for key, place in self._of(keys)]

    def room_bytes(self, key: Key, wanted_bytes: int) -> int:
        """How much the gallery may take, others that nobody needs having made room for it.

        They do so where that is enough for `wanted_bytes`; else the answer is 0.
        """
        long_ago = time.monotonic() - KEPT_S
        with self._lock:
            others = {one: place for one, place in self._places.items() if one != key}
            free = self.max_bytes - sum(place.rows.size_bytes for place in others.values())
            for one, place in sorted(others.items(), key=lambda item: item[1].used_at):
                if free >= wanted_bytes or place.used_at > long_ago:
                    break
                free += place.rows.size_bytes
                self._drop(one)
        return free if free >= wanted_bytes else 0

    def put(self, key: Key, rows: Rows, read: Read) -> None:
        """Puts a gallery there that was read."""
        now = time.monotonic()
        with self._lock:
            self._drop(key)
            self._places[key] = _Place(
                rows=rows,
                horizon=read.horizon,
                known=read.known,
                read_at=now,
                swept_at=now,
                used_at=now,
            )

    def rows(self, key: Key) -> Rows | None:
        """The gallery's rows, for their measures; they are changed by the methods here alone."""
        with self._lock:
            place = self._places.get(key)
            return place.rows if place else None

    def add(self, key: Key, batch: Batch) -> None:
        """Adds templates that have come; how far was read is noted at the end, with `note`."""
        with self._lock:
            for _, place in self._of([key]):
                place.rows.add(batch)

    def note(self, key: Key, read: Read) -> None:
        """Notes how far the gallery is read now."""
        with self._lock:
            for _, place in self._of([key]):
                place.horizon, place.known = read.horizon, read.known
                place.read_at = time.monotonic()

    def forget(self, keys: Iterable[Key], template_ids: Ints) -> None:
        """Wipes templates out that are gone from the table."""
        with self._lock:
            for _, place in self._of(keys):
                place.rows.forget(template_ids)

    def keep_only(self, key: Key, template_ids: Ints) -> None:
        """Wipes out all but those that the table has."""
        with self._lock:
            for _, place in self._of([key]):
                place.rows.keep_only(template_ids)
                place.swept_at = time.monotonic()

    def unswept(self, older_than_s: float) -> list[Key]:
        """Galleries for which `keep_only` is due."""
        long_ago = time.monotonic() - older_than_s
        with self._lock:
            return [key for key, place in self._places.items() if place.swept_at <= long_ago]

    def drop_idle(self) -> None:
        """Lets those go that nobody searches any more."""
        long_ago = time.monotonic() - IDLE_S
        with self._lock:
            for key in [key for key, place in self._places.items() if place.used_at < long_ago]:
                self._drop(key)

    def drop(self, key: Key) -> None:
        """Lets the gallery go, and nothing of it stays in memory."""
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        """Lets all of them go."""
        with self._lock:
            for key in list(self._places):
                self._drop(key)

    def _of(self, keys: Iterable[Key]) -> list[tuple[Key, _Place]]:
        return [(key, self._places[key]) for key in keys if key in self._places]

    def _drop(self, key: Key) -> None:
        place = self._places.pop(key, None)
        if place is not None:
            place.rows.clear()

    def _taken_bytes(self) -> int:
        return sum(place.rows.size_bytes for place in self._places.values())


def _joined(some: Sequence[Nominees]) -> Nominees:
    """What several galleries say to one probe."""
    return Nominees(
        ids=tuple(one for nominees in some for one in nominees.ids),
        beyond=min(nominees.beyond for nominees in some),
    )
