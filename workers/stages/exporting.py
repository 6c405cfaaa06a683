"""Writing an export: from claim to the object in the bucket, with memory for one page."""

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import structlog

from db.errors import JobNotFoundError, UnavailableError
from db.exports.formats import export_chunks
from db.exports.queue import (
    ExportClaim,
    LostExportError,
    claim_export,
    finish_export,
    keep_export,
    release_export,
)
from db.failpoints import Failpoint, reached
from db.retry import retrying
from db.session import Session, transaction
from db.writing import StoredObject
from workers.context import WorkerContext

log = structlog.get_logger()
HAND_BACK_DELAY_S = 5.0
"""A store that was away for so long is given a moment before the next worker asks it."""


class StoppingError(RuntimeError):
    """The worker is to stop: the export is another's to write."""


def write_export(context: WorkerContext, export_id: uuid.UUID) -> None:
    """Claims the export and writes it.

    Where a store stays away, or the worker is to stop, it is handed back uncounted.

    An export is written anew from its beginning whenever a worker begins it. One that dies leaves
    a row whose lease runs out, and parts in the bucket that the next one aborts.
    """
    settings = context.settings
    try:
        claim = retrying(lambda: _claim(context, export_id), for_s=settings.lease_s)
    except UnavailableError as exc:
        log.warning("claim_failed", code=exc.code, export_id=str(export_id))
        return  # It is sent again.
    if claim is None:
        return  # Another worker got there first, or nobody wants it any more.
    try:
        _Writing(context, claim).run()
    except (LostExportError, JobNotFoundError):
        log.info("export_given_up", export_id=str(export_id))
    except UnavailableError as exc:
        log.warning("export_handed_back", code=exc.code, export_id=str(export_id))
        _hand_back(context, claim, delay_s=HAND_BACK_DELAY_S)
    except StoppingError:
        log.info("export_handed_back", export_id=str(export_id))
        _hand_back(context, claim, delay_s=0.0)


def _claim(context: WorkerContext, export_id: uuid.UUID) -> ExportClaim | None:
    with transaction(context.database) as session:
        return claim_export(
            session,
            export_id,
            lease_s=context.settings.lease_s,
            max_attempts=context.settings.max_attempts,
        )


def _hand_back(context: WorkerContext, claim: ExportClaim, *, delay_s: float) -> None:
    try:
        with contextlib.suppress(LostExportError), transaction(context.database) as session:
            release_export(session, claim, delay_s=delay_s)
    except UnavailableError as exc:
        log.warning("hand_back_failed", code=exc.code, export_id=str(claim.id))


@dataclass(slots=True)
class _Writing:
    """One export under one claim."""

    context: WorkerContext
    claim: ExportClaim
    n_written: int = 0

    def run(self) -> None:
        store, key = self.context.store, self.claim.object_key
        # What a worker that died has left here; one that lives still will fail, and begin again.
        store.abort_uploads(self.claim.folder)
        store.delete([*self._left_behind()])
        stored = store.put(key, self._chunks())
        reached(Failpoint.EXPORT_STORED)
        try:
            retrying(lambda: self._finish(stored), for_s=self.context.settings.lease_s)
        except LostExportError:
            store.delete([key])
            raise
        log.info("export_written", export_id=str(self.claim.id), size_bytes=stored.size_bytes)

    def _left_behind(self) -> Iterator[str]:
        """The keys of what earlier claims have written; those of later ones are not ours."""
        for key in self.context.store.keys(self.claim.folder):
            fence = key.removeprefix(self.claim.folder).partition("/")[0]
            if fence.isdigit() and int(fence) < self.claim.fence:
                yield key

    def _chunks(self) -> Iterator[bytes]:
        return export_chunks(
            self.context.database, self.claim.wanted, at_page=self._keep, count=self._count
        )

    def _keep(self, session: Session) -> None:
        if self.context.slot.stopping:
            raise StoppingError
        keep_export(
            session, self.claim, lease_s=self.context.settings.lease_s, n_written=self.n_written
        )

    def _count(self, n_written: int) -> None:
        self.n_written = n_written

    def _finish(self, stored: StoredObject) -> None:
        with transaction(self.context.database) as session:
            finish_export(session, self.claim, stored, n_written=self.n_written)
