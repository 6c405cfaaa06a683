"""A submission from its beginning to the sealed job."""

import sys
from dataclasses import dataclass
from typing import assert_never

from cli.asking import Json
from cli.progress import Step, steps_for
from cli.scan import PhotoWalk, no_photos
from cli.sending import Sender
from cli.submitting.begun import Begun, begin
from cli.submitting.folder import FolderPass
from cli.submitting.hashes import HashNotes, Stamp
from cli.submitting.memory import Memory, Remembered
from cli.submitting.report import Report
from cli.submitting.targets import ARCHIVE, File, Folder, InBucket, Target
from cli.telling import warn, warn_of_left_out
from facebatch.client import Client
from facebatch.errors import ConflictError
from pipeline.errors import FaceBatchError

MB = 1_000_000


class TargetChangedError(FaceBatchError):
    """The job was submitted whole, and what it was made of is not what is there now."""

    code = "target_changed"


class NothingSubmittedError(FaceBatchError):
    """Not one photo made it into the job."""

    code = "nothing_submitted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitting:
    """One submission."""

    client: Client
    memory: Memory
    wanted: Json
    """The job, as the API takes it."""
    report: Report
    threads: int
    afresh: bool

    def run(self, target: Target) -> str:
        """The id of the job, which is sealed: begun here, gone on with, or there already.

        Raises `FolderError`, `TargetChangedError`, `NothingSubmittedError`, `OSError`.
        """
        match target:
            case Folder():
                return self._folder(target)
            case File():
                return self._file(target)
            case InBucket():
                return self._in_bucket(target)
            case _:
                assert_never(target)

    def _folder(self, folder: Folder) -> str:
        walk = PhotoWalk(folder.path)
        total = sum(1 for _ in walk)
        if not total:
            raise no_photos(folder.path)
        warn_of_left_out(walk)
        begun = self._begin()
        self.report.by_photo = True
        sender = None if begun.sealed else Sender(client=self.client, job_id=begun.job_id)
        title = "comparing photos" if begun.sealed else "sending photos"
        with (
            HashNotes(self.memory.folder) as notes,
            Step(steps_for(sys.stderr), title, total) as step,
        ):
            one = FolderPass(walk, notes, self.report, threads=self.threads, sender=sender)
            content = one.run(step)
            notes.settle()
        return self._ended(begun, content)

    def _file(self, file: File) -> str:
        stamp = Stamp.of(file.path)
        begun = self._begin()
        if not begun.sealed and not any(self.client.jobs.sources(begun.job_id)):
            self._send(begun.job_id, file, stamp.size_bytes)
        return self._ended(begun, f"{stamp.size_bytes} {stamp.mtime_ns} {stamp.inode}")

    def _send(self, job_id: str, file: File, size_bytes: int) -> None:
        with Step(steps_for(sys.stderr), "sending MB", size_bytes // MB) as step:

            def progress(sent_bytes: int) -> None:
                step.at(sent_bytes // MB)

            if file.kind == ARCHIVE:
                self.client.jobs.add_archive(job_id, file.path, progress=progress)
            else:
                upload = self.client.uploads.send_one(file.kind, file.path, progress=progress)
                self.client.jobs.add_source(job_id, {"kind": file.kind, "upload": upload.id})

    def _in_bucket(self, place: InBucket) -> str:
        begun = self._begin()
        if not begun.sealed and not any(self.client.jobs.sources(begun.job_id)):
            self.client.jobs.add_source(begun.job_id, place.source)
        # Its owner may change what is there; the server lists it once, when it is submitted.
        return self._ended(begun, "")

    def _begin(self) -> Begun:
        begun = begin(self.client, self.memory, self.wanted, afresh=self.afresh)
        self.report.job(begun.job_id)
        return begun

    def _ended(self, begun: Begun, content: str) -> str:
        """Seals the job; of one that was sealed before, compares what it was made of."""
        if begun.sealed:
            _compare(begun, content)
            return begun.job_id
        self.memory.keep(self.wanted, Remembered(job_id=begun.job_id, content=content))
        try:
            self.client.jobs.seal(begun.job_id)
        except ConflictError as exc:
            if exc.code != "job_empty":
                raise
            self.client.jobs.cancel(begun.job_id)
            raise NothingSubmittedError("no photo could be sent, so there is no job") from exc
        return begun.job_id


def _compare(begun: Begun, content: str) -> None:
    if content != begun.content:
        raise TargetChangedError(
            f"job {begun.job_id} was submitted before and takes no further photos, and there are "
            "others now; --new submits them as they are, and sends none that is known"
        )
    warn(f"job {begun.job_id} was submitted before, of the same; --new submits it again")
