"""Listing: a source from claim to its end, or to the end of this turn, page by page."""

import time
import uuid
from collections.abc import Callable, Iterator
from typing import TypeVar

import structlog

from db.allowed import Places
from db.errors import SourceCrashedError, SourceUnreadableError, UnavailableError
from db.failpoints import Failpoint, reached
from db.listing import (
    SourceClaim,
    add_page,
    claim_source,
    extend_source,
    fail_source,
    finish_source,
    put_off_source,
    release_source,
    waits_for_room,
)
from db.page import Page
from db.quotas import default_quotas
from db.retry import retrying
from db.session import Session, retried
from db.states import SourceKind
from pipeline.errors import FaceBatchError
from workers.context import WorkerContext
from workers.sources import archive, manifest, other_job, prefix
from workers.sources.reading import Reading

log = structlog.get_logger()
T = TypeVar("T")
TURN_S = 5.0
"""Then the source goes to the back of the queue, so that no long one keeps a worker from photos."""
TURN_PREPARATIONS = 2.0
"""Where it took long to come to the first page, a turn is so many times as long."""
HAND_BACK_DELAY_S = 2.0
"""A store that was away for so long is given a moment before the next worker asks it."""
UNREADABLE_DELAY_S = 120.0
"""A source that its bucket alone does not give is looked at again after this."""
_LISTERS: dict[SourceKind, Callable[[Reading], Iterator[Page]]] = {
    SourceKind.ARCHIVE: archive.pages,
    SourceKind.JOB: other_job.pages,
    SourceKind.MANIFEST: manifest.pages,
    SourceKind.PREFIX: prefix.pages,
}


def list_source(context: WorkerContext, source_id: uuid.UUID) -> None:
    """Claims the source and makes items of what is in it, a page at a time, each once.

    Where a store stays away, or the worker is to stop, the source is handed back uncounted; where
    even that fails, its lease runs out and the reconciler hands it on from its last page.
    """
    try:
        claim = _committed(context, lambda session: _claim(context, session, source_id))
        if claim is None:
            return  # Another worker got there first, or its job does not go on.
        _list(context, claim)
    except UnavailableError as exc:
        log.warning("claim_failed", code=exc.code, source_id=str(source_id))
    finally:
        context.slot.rest()


def _claim(context: WorkerContext, session: Session, source_id: uuid.UUID) -> SourceClaim | None:
    settings = context.settings
    return claim_source(
        session, source_id, lease_s=settings.lease_s, max_attempts=settings.max_attempts
    )


def _list(context: WorkerContext, claim: SourceClaim) -> None:
    """Takes a turn at the source, and sees to what it ends with."""
    ids = {"job_id": str(claim.job_id), "source_id": str(claim.source_id)}
    try:
        ended = _take_turn(context, claim)
    except Exception as exc:  # noqa: BLE001 - the border of one source.
        error = _known(exc, ids)
        if error.permanent:
            log.info("source_failed", code=error.code, **ids)
            _committed(context, lambda session: fail_source(session, claim, error))
            return
        log.warning("source_handed_back", code=error.code, **ids)
        if isinstance(error, SourceUnreadableError):
            _put_off(context, claim, error)
        else:
            _hand_back(context, claim, delay_s=HAND_BACK_DELAY_S)
        return
    if ended:
        reached(Failpoint.SOURCE_LISTED)
        _committed(context, lambda session: finish_source(session, claim))
        log.info("source_listed", **ids)


def _known(error: Exception, ids: dict[str, str]) -> FaceBatchError:
    if isinstance(error, FaceBatchError):
        return error
    log.error("source_crashed", exc_info=error, **ids)
    return SourceCrashedError("the source could not be listed; the log has the cause")


def _take_turn(context: WorkerContext, claim: SourceClaim) -> bool:
    """Lists page by page; whether that was to the end."""
    settings = context.settings
    defaults = default_quotas(settings)
    if _committed(context, lambda session: waits_for_room(session, claim, defaults)):
        return False
    places = Places.of(settings, claim.tenant_name)
    if claim.bucket is not None:
        # What was allowed when the job was made may not be any more.
        places.require(claim.bucket, claim.object_key or "")
    reading = Reading(context=context, claim=claim, places=places, keep=_Keeper(context, claim))
    began = time.monotonic()
    turn_s = 0.0
    # While it reads, each page and each part that is read must come within a lease.
    context.slot.progress()
    for page in _LISTERS[claim.kind](reading):
        turn_s = turn_s or max(TURN_S, TURN_PREPARATIONS * (time.monotonic() - began))
        if not _added(context, claim, page):
            return False
        reached(Failpoint.PAGE_ADDED)
        if time.monotonic() - began > turn_s or context.slot.stopping:
            _hand_back(context, claim, delay_s=0)
            return False
        context.slot.progress()
    return True


def _added(context: WorkerContext, claim: SourceClaim, page: Page) -> bool:
    lease_s = context.settings.lease_s
    defaults = default_quotas(context.settings)
    return _committed(
        context,
        lambda session: add_page(session, claim, page, lease_s=lease_s, defaults=defaults),
    )


def _hand_back(context: WorkerContext, claim: SourceClaim, *, delay_s: float) -> None:
    _committed(context, lambda session: release_source(session, claim, delay_s=delay_s))


def _put_off(context: WorkerContext, claim: SourceClaim, error: SourceUnreadableError) -> None:
    attempts = context.settings.max_attempts
    _committed(
        context,
        lambda session: put_off_source(
            session, claim, error, delay_s=UNREADABLE_DELAY_S, attempts=attempts
        ),
    )


def _committed(context: WorkerContext, work: Callable[[Session], T]) -> T:
    """What `work` returns, once it is committed; a database that is away is waited for."""
    context.slot.rest()
    return retrying(
        lambda: retried(context.database, work),
        for_s=context.settings.lease_s / 2,
        give_up=lambda: context.slot.stopping,
    )


class _Keeper:
    """Lengthens the lease of a source between its pages, where a quarter of it has passed."""

    def __init__(self, context: WorkerContext, claim: SourceClaim) -> None:
        self._context = context
        self._claim = claim
        self._kept_at = time.monotonic()

    def __call__(self) -> None:
        lease_s = self._context.settings.lease_s
        if time.monotonic() - self._kept_at >= lease_s / 4:
            _committed(
                self._context, lambda session: extend_source(session, self._claim, lease_s=lease_s)
            )
            self._kept_at = time.monotonic()
        self._context.slot.progress()
