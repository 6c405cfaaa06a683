"""Hashes of a folder's files as they were when last read, so that none is read twice for them."""

import contextlib
import heapq
import json
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TextIO

from cli.scan import walk_order

UNSETTLED_S = 2.0
"""A file that changed so lately may change again without its time telling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What changes where a file does."""

    size_bytes: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Of the file as it is now; raises `OSError`."""
        found = path.stat()
        return cls(size_bytes=found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A line of the notes."""

    relative: str
    stamp: Stamp
    sha256: str

    def line(self) -> str:
        """As it stands in the file; all of it ASCII, whatever the photo is called."""
        stamp = (self.stamp.size_bytes, self.stamp.mtime_ns, self.stamp.inode)
        return json.dumps([self.relative, *stamp, self.sha256]) + "\n"


class HashNotes:
    """Notes in two files: of the last whole walk, and of the one under way.

    Photos are asked for and noted in the order of a walk, so that no more than a line of each file
    is held. A walk that breaks off leaves its part; the next one begins by putting both together.
    """

    def __init__(self, folder: Path) -> None:
        self._whole, self._part = folder / "hashes", folder / "hashes.part"
        _put_together(self._whole, self._part)
        self._old = _noted(self._whole)
        self._next = next(self._old, None)
        self._file: TextIO | None = None

    def __enter__(self) -> Self:
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "w", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        self._old.close()
        if self._file is not None:
            self._file.close()

    def known(self, relative: str, stamp: Stamp) -> str | None:
        """The hash of the photo, if it was noted when the file was as it is now."""
        wanted = walk_order(relative)
        while self._next is not None and walk_order(self._next.relative) < wanted:
            self._next = next(self._old, None)
        if self._next is None or self._next.relative != relative or self._next.stamp != stamp:
            return None
        return self._next.sha256

    def note(self, noted: Noted) -> None:
        """Keeps the hash of a file, unless that may still change unnoticed."""
        assert self._file is not None  # noqa: S101 - used as a context.
        if time.time_ns() - noted.stamp.mtime_ns > UNSETTLED_S * 1e9:
            self._file.write(noted.line())

    def flush(self) -> None:
        """Lets what was noted outlive this process."""
        assert self._file is not None  # noqa: S101 - used as a context.
        self._file.flush()

    def settle(self) -> None:
        """Ends a walk that came to its end: what it did not meet is forgotten."""
        self.flush()
        self._part.replace(self._whole)


def _put_together(whole: Path, part: Path) -> None:
    """Adds the part to the whole, in whose place it comes: the photo's later note counts."""
    if not part.exists():
        return
    fresh = whole.with_name("hashes.both")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with (
        os.fdopen(descriptor, "w", encoding="ascii") as file,
        contextlib.closing(_noted(part)) as later,
        contextlib.closing(_noted(whole)) as earlier,
    ):
        last: str | None = None
        # Of two that are equal, the one of the first iterator comes first.
        for noted in heapq.merge(later, earlier, key=lambda one: walk_order(one.relative)):
            if noted.relative != last:
                file.write(noted.line())
            last = noted.relative
    fresh.replace(whole)
    part.unlink()


def _noted(path: Path) -> Generator[Noted]:
    """The lines of a file, up to the first that a process did not get to write whole."""
    if not path.exists():
        return
    with path.open(encoding="ascii", errors="replace") as file:
        for line in file:
            try:
                relative, size_bytes, mtime_ns, inode, sha256 = json.loads(line)
            except (ValueError, TypeError):
                return
            stamp = Stamp(size_bytes=size_bytes, mtime_ns=mtime_ns, inode=inode)
            yield Noted(relative=str(relative), stamp=stamp, sha256=str(sha256))
