"""A folder's photos on their way into a job, by several threads at once."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from cli.client_ids import client_id_of
from cli.parallel import in_order
from cli.progress import Step
from cli.scan import PhotoWalk
from cli.sending import (
    HashedPhoto,
    Outcome,
    PhotoFile,
    Refusal,
    Sender,
    hashed,
    in_requests,
    parted,
    unreadable,
)
from cli.submitting.hashes import HashNotes, Noted, Stamp
from cli.submitting.report import Report

BATCH = 128
"""Photos whose hashes are asked for in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A photo of the walk, with its hash where that is noted and the file unchanged."""

    relative: str
    noted: Noted | None


@dataclass(slots=True, kw_only=True)
class _Batch:
    """Photos that were read, in the order of the walk."""

    noted: list[Noted] = field(default_factory=list)
    unreadable: dict[str, Refusal] = field(default_factory=dict)
    """By path."""
    missing: list[HashedPhoto] = field(default_factory=list)
    """Those that the server does not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Photos that go up in one request."""

    photos: list[HashedPhoto]


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """All groups of a batch have gone up before this."""

    batch: _Batch
    copies: list[HashedPhoto]
    """Photos of the same bytes as others, which wait for those."""


class FolderPass:
    """One pass over all photos of a folder, of which a few batches are held at a time.

    Some threads read the files and ask which are known, others send. What they return is taken in
    the order of the walk.
    """

    def __init__(
        self,
        walk: PhotoWalk,
        notes: HashNotes,
        report: Report,
        *,
        threads: int,
        sender: Sender | None,
    ) -> None:
        """Without a `sender` the photos are read, and not sent."""
        self._walk = walk
        self._notes = notes
        self._report = report
        self._threads = threads
        self._sender = sender
        self._looked_up = 0
        """Batches whose hashes were asked for, or soon will be."""
        self._under_way: dict[str, float] = {}
        """Hashes that are being sent or were just now, and the last batch that may not know it."""
        self._refused: dict[str, Refusal] = {}
        """By client id: photos of the batch that is being sent."""
        self._content = hashlib.sha256()

    def run(self, step: Step) -> str:
        """Sends what must be sent; returns a hash of the photos that are in the job then.

        What a file held when it was read counts: one that changes afterwards has another hash the
        next time. Raises `ApiError` where the job is to blame.
        """
        report = self._report
        for group, outcome in in_order(self._send, self._units(), threads=self._threads):
            if isinstance(group, _Group):
                self._under_way |= dict.fromkeys(_hashes(group.photos), self._looked_up)
                self._take(outcome)
            else:
                self._end(group)
            step.at(report.sent + report.known + report.n_refused)
        return self._content.hexdigest()

    def _units(self) -> Iterator[_Group | _End]:
        """What is to be done one after the other, or at the same time by several threads."""
        looked_up = in_order(self._look_up, self._batches(), threads=self._threads)
        for number, batch in enumerate(looked_up, start=1):
            self._under_way = {
                sha256: last for sha256, last in self._under_way.items() if last >= number
            }
            firsts, copies = parted(batch.missing, self._under_way)
            self._under_way |= dict.fromkeys(_hashes(firsts), math.inf)
            yield from (_Group(photos=group) for group in in_requests(firsts))
            yield _End(batch=batch, copies=copies)

    def _batches(self) -> Iterator[list[_Found]]:
        rest = iter(self._walk)
        while batch := list(islice(rest, BATCH)):
            self._looked_up += 1
            yield [self._found(relative) for relative in batch]

    def _found(self, relative: str) -> _Found:
        try:
            stamp = Stamp.of(self._path(relative))
        except OSError:
            return _Found(relative=relative, noted=None)  # Reading it will say why.
        sha256 = self._notes.known(relative, stamp)
        noted = None if sha256 is None else Noted(relative=relative, stamp=stamp, sha256=sha256)
        return _Found(relative=relative, noted=noted)

    def _look_up(self, found: Sequence[_Found]) -> _Batch:
        """Reads what was not read before, and asks what is missing; runs in a thread."""
        batch = _Batch()
        for one in found:
            try:
                batch.noted.append(one.noted or self._read(one.relative))
            except OSError as exc:
                batch.unreadable[one.relative] = unreadable(exc)
        if self._sender is not None:
            batch.missing = self._sender.missing(list(map(self._photo, batch.noted)))
        return batch

    def _read(self, relative: str) -> Noted:
        path = self._path(relative)
        # Before it is read: what is written meanwhile must not pass for what was read.
        stamp = Stamp.of(path)
        photo = hashed(PhotoFile(client_id=relative, path=path))
        return Noted(relative=relative, stamp=stamp, sha256=photo.sha256)

    def _send(self, unit: _Group | _End) -> tuple[_Group | _End, Outcome]:
        """Sends a group; runs in a thread."""
        if self._sender is None or isinstance(unit, _End):
            return unit, Outcome()
        return unit, self._sender.send(unit.photos)

    def _take(self, outcome: Outcome) -> None:
        self._report.sent += outcome.sent
        self._refused |= outcome.refused

    def _end(self, end: _End) -> None:
        """Adds what waited for others, and notes and counts the batch."""
        batch = end.batch
        known = len(batch.noted) - len(batch.missing)
        if self._sender is not None and end.copies:
            outcome = self._sender.add(end.copies)
            known += outcome.known
            self._take(outcome)
        self._report.known += known
        for noted in batch.noted:
            self._notes.note(noted)
            client_id = client_id_of(noted.relative)
            if (refusal := self._refused.get(client_id)) is not None:
                self._report.refuse(noted.relative, refusal)
            else:
                self._content.update(f"{client_id}\n{noted.sha256}\n".encode())
        self._notes.flush()
        for relative, refusal in batch.unreadable.items():
            self._report.refuse(relative, refusal)
        self._refused.clear()

    def _photo(self, noted: Noted) -> HashedPhoto:
        file = PhotoFile(client_id=client_id_of(noted.relative), path=self._path(noted.relative))
        return HashedPhoto(file=file, sha256=noted.sha256)

    def _path(self, relative: str) -> Path:
        return self._walk.root / relative


def _hashes(photos: Iterable[HashedPhoto]) -> Iterator[str]:
    return (one.sha256 for one in photos)
