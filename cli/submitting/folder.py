"""A folder's photos on their way into a job, by several threads at once."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from cli.client import PhotoFile
from cli.client_ids import client_id_of
from cli.parallel import in_order
from cli.progress import Step
from cli.scan import PhotoWalk
from cli.sending import HashedPhoto, Refusal, Sender, hashed, unreadable
from cli.submitting.hashes import HashNotes, Noted, Stamp
from cli.submitting.report import Report

BATCH = 64
"""Photos whose hashes are asked for in one request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A photo of the walk, with its hash where that is noted and the file unchanged."""

    relative: str
    noted: Noted | None


@dataclass(slots=True, kw_only=True)
class _Done:
    """A batch, in the order of the walk."""

    noted: list[Noted] = field(default_factory=list)
    """Those that could be read."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    """By path."""
    sent: int = 0
    known: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPass:
    """One pass over all photos of a folder, of which a few batches are held at a time."""

    walk: PhotoWalk
    notes: HashNotes
    report: Report
    threads: int
    sender: Sender | None
    """None: the photos are only read."""

    def run(self, step: Step) -> str:
        """Sends what must be sent; returns a hash of the photos that are in the job then.

        What a file held when it was read counts: one that changes afterwards has another hash the
        next time. Raises what `Sender.send` raises.
        """
        content = hashlib.sha256()
        for done in in_order(self._work, self._batches(), threads=self.threads):
            for noted in done.noted:
                self.notes.note(noted)
                if noted.relative not in done.refused:
                    content.update(f"{client_id_of(noted.relative)}\n{noted.sha256}\n".encode())
            self.notes.flush()
            for relative, refusal in done.refused.items():
                self.report.refuse(relative, refusal)
            self.report.sent += done.sent
            self.report.known += done.known
            step.at(self.report.sent + self.report.known + self.report.n_refused)
        return content.hexdigest()

    def _batches(self) -> Iterator[list[_Found]]:
        rest = iter(self.walk)
        while batch := list(islice(rest, BATCH)):
            yield [self._found(relative) for relative in batch]

    def _found(self, relative: str) -> _Found:
        try:
            stamp = Stamp.of(self.walk.root / relative)
        except OSError:
            return _Found(relative=relative, noted=None)  # Reading it will say why.
        sha256 = self.notes.known(relative, stamp)
        noted = None if sha256 is None else Noted(relative=relative, stamp=stamp, sha256=sha256)
        return _Found(relative=relative, noted=noted)

    def _work(self, batch: Sequence[_Found]) -> _Done:
        """Reads and sends a batch, in a thread of its own."""
        done = _Done()
        for found in batch:
            try:
                done.noted.append(found.noted or self._read(found.relative))
            except OSError as exc:
                done.refused[found.relative] = unreadable(exc)
        if self.sender is None:
            done.known = len(done.noted)
        else:
            self._send(self.sender, done)
        return done

    def _read(self, relative: str) -> Noted:
        path = self.walk.root / relative
        # Before it is read: what is written meanwhile must not pass for what was read.
        stamp = Stamp.of(path)
        photo = hashed(PhotoFile(client_id=relative, path=path))
        return Noted(relative=relative, stamp=stamp, sha256=photo.sha256)

    def _send(self, sender: Sender, done: _Done) -> None:
        paths = {client_id_of(noted.relative): noted.relative for noted in done.noted}
        outcome = sender.send(
            [
                HashedPhoto(
                    file=PhotoFile(
                        client_id=client_id_of(noted.relative),
                        path=self.walk.root / noted.relative,
                    ),
                    sha256=noted.sha256,
                )
                for noted in done.noted
            ]
        )
        done.sent, done.known = outcome.sent, outcome.known
        done.refused |= {paths[one]: refusal for one, refusal in outcome.refused.items()}
