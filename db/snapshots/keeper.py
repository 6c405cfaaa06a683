"""Reads galleries for the shelf in a thread of its own: nobody who searches must wait for it."""

import threading
import time
from collections import deque
from collections.abc import Collection, Iterable

import structlog

from db.errors import UnavailableError
from db.session import Database, transaction
from db.snapshots.reading import gallery_size, read_ids, read_templates
from db.snapshots.rows import Rows, row_bytes
from db.snapshots.shelf import Key, Shelf

log = structlog.get_logger()
SMALL_TEMPLATES = 300
"""Galleries of fewer are searched by the database alone, which is as fast."""
SMALL_AGAIN_S = 15.0
"""So long after it was found small, or gone, a gallery is looked at again."""
LEFT_AGAIN_S = 60.0
"""So long after there was no room for it, or it could not be read, a gallery is tried again."""
SWEEP_S = 240.0
"""Templates that are gone from the table are wiped out in memory after so long at the latest."""
LOOK_EVERY_S = 15.0
MAX_KNOWN = 20_000
"""Templates that a search can be told not to look at again. There are more where somebody has been
writing in one transaction for a long time, while many were enrolled."""
WIPED_SHARE = 0.25
"""A gallery of which so much was wiped out is read anew, without the gaps."""


class Keeper:
    """Looks after the shelf of one process. Its thread begins when there is something to read."""

    def __init__(self, database: Database, shelf: Shelf) -> None:
        self._database = database
        self._shelf = shelf
        self._changed = threading.Condition()
        self._asked: deque[Key] = deque()
        self._under_way: set[Key] = set()
        """Those that were asked for and are not done."""
        self._not_before: dict[Key, float] = {}
        """When galleries that are not on the shelf are tried again."""
        self._left: set[Key] = set()
        """Those that are left to the database though they are large."""
        self._thread: threading.Thread | None = None
        self._closed = False

    def ask(self, keys: Iterable[Key]) -> None:
        """Has those of the galleries read that belong on the shelf and are not there."""
        wanted = list(keys)
        there = {key for key in wanted if self._shelf.rows(key) is not None}
        now = time.monotonic()
        with self._changed:
            for key in wanted:
                if key not in there and now >= self._not_before.get(key, 0.0):
                    self._ask(key)

    def ask_for_news(self, key: Key) -> None:
        """Has the gallery's templates read that are not in memory yet."""
        with self._changed:
            self._ask(key)

    def settled(self, keys: Collection[Key], *, wait_s: float) -> bool:
        """Whether none of the galleries is being read; waits for that, so long at the most."""
        with self._changed:
            return self._changed.wait_for(lambda: self._under_way.isdisjoint(keys), timeout=wait_s)

    def has_left(self, keys: Iterable[Key]) -> bool:
        """Whether one of the galleries is large, as far as is known, and not on the shelf."""
        with self._changed:
            return not self._left.isdisjoint(keys)

    def sweep(self, *, older_than_s: float) -> None:
        """Wipes out what is gone from the tables, where nobody has looked for so long."""
        self._shelf.drop_idle()
        for key in self._shelf.unswept(older_than_s):
            try:
                self._sweep(key)
            except UnavailableError as exc:
                # Nobody knows what is gone.
                log.warning("gallery_not_swept", gallery_id=str(key[1]), code=exc.code)
                self._shelf.drop(key)

    def close(self) -> None:
        """Ends the thread, when it is through with what it does."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _ask(self, key: Key) -> None:
        if key in self._under_way or self._closed:
            return
        self._under_way.add(key)
        self._asked.append(key)
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep, name="shelf", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _keep(self) -> None:
        while not self._closed:
            with self._changed:
                self._changed.wait_for(lambda: self._asked or self._closed, timeout=LOOK_EVERY_S)
                key = self._asked.popleft() if self._asked and not self._closed else None
            try:
                if key is not None:
                    self._bring(key)
                self.sweep(older_than_s=SWEEP_S)
            except Exception:
                # The border of a thread. Without the shelf the database searches.
                log.exception("shelf_cleared")
                self._shelf.clear()

    def _bring(self, key: Key) -> None:
        again_s = LEFT_AGAIN_S
        try:
            if (rows := self._shelf.rows(key)) is None:
                again_s = self._load(key)
            else:
                again_s = self._catch_up(key, rows)
        except UnavailableError as exc:
            log.warning("gallery_not_read", gallery_id=str(key[1]), code=exc.code)
            self._shelf.drop(key)
        finally:
            now = time.monotonic()
            with self._changed:
                later = {one: at for one, at in self._not_before.items() if at > now}
                self._not_before = later | {key: now + again_s}
                self._left = self._left.intersection(later) - {key}
                if again_s == LEFT_AGAIN_S:
                    self._left.add(key)
                self._under_way.discard(key)
                self._changed.notify_all()

    def _load(self, key: Key) -> float:
        """Reads the gallery, if it is large and there is room; returns when to try it again."""
        with transaction(self._database) as session:
            size = gallery_size(session, *key, max_bytes=self._shelf.max_bytes)
            if size is None or size.templates < SMALL_TEMPLATES:
                return SMALL_AGAIN_S
            room = self._shelf.room_bytes(key, size.size_bytes) // row_bytes(size.dimension)
            if not room:
                log.info("gallery_left_to_the_database", gallery_id=str(key[1]))
                return LEFT_AGAIN_S
            rows = Rows(size.dimension)
            # One more than there is room for says that there are too many.
            read = read_templates(session, *key, rows.add, dimension=size.dimension, most=room + 1)
        if read.templates > room or len(read.known) > MAX_KNOWN:
            rows.clear()
            return LEFT_AGAIN_S
        self._shelf.put(key, rows, read)
        log.info("gallery_read", gallery_id=str(key[1]), templates=read.templates)
        return 0.0

    def _catch_up(self, key: Key, rows: Rows) -> float:
        """Adds what has come since the gallery was read; lets it go where that is too much.

        Returns when to try it again.
        """
        (held,) = self._shelf.held([key])
        room = self._shelf.room_bytes(key, rows.size_bytes) // row_bytes(rows.dimension)
        most = room - len(rows) + len(held.known) + 1
        with transaction(self._database) as session:
            read = read_templates(
                session,
                *key,
                lambda batch: self._shelf.add(key, batch),
                dimension=rows.dimension,
                since=held.horizon,
                known=held.known,
                most=max(0, most),
            )
        if read.templates >= most or len(read.known) > MAX_KNOWN:
            self._shelf.drop(key)
            return LEFT_AGAIN_S
        self._shelf.note(key, read)
        return 0.0

    def _sweep(self, key: Key) -> None:
        with transaction(self._database) as session:
            ids, horizon = read_ids(session, *key)
        held = self._shelf.held([key])
        if held and horizon < held[0].horizon:
            # Numbers of transactions only grow: this is another database, from a backup say.
            self._shelf.drop(key)
            return
        self._shelf.keep_only(key, ids)
        rows = self._shelf.rows(key)
        if rows is not None and rows.wiped > WIPED_SHARE * len(rows):
            self._shelf.drop(key)
