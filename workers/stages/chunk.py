"""A chunk from claim to record, and what becomes of it when something fails on the way."""

import math
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import structlog

from db import nudge
from db.dispatch import unsend
from db.errors import ObjectUnreadableError, UnavailableError
from db.failpoints import Failpoint, reached
from db.faults import outlived
from db.ledger import Claim, claim, release
from db.record import Outcome, record
from db.retry import retrying
from db.session import Session, transaction
from pipeline.errors import ModelCacheError
from workers.context import WorkerContext
from workers.stages.compute import compute
from workers.stages.lease import Lease
from workers.stages.lost import give_up

log = structlog.get_logger()
T = TypeVar("T")
TAKEN_DELAY_S = 1.0
"""A photo that another worker searches for faces is looked at again after this."""
HAND_BACK_DELAY_S = 2.0
"""A bucket that was away for so long is given a moment before the next worker asks it."""
UNREADABLE_DELAY_S = 60.0
"""A photo that its bucket alone does not give is looked at again after this, then after longer."""
UNREADABLE_DELAY_MAX_S = 240.0
"""Less than five minutes, within which every photo ends once all faults are over."""


def process_chunk(context: WorkerContext, item_ids: Sequence[int]) -> None:
    """Claims what it can of the items, computes them and records the outcomes.

    Items are handed back uncounted where a store stays away, where models find no room on this
    machine, and where the worker is to stop. Without the database nothing can be done, so that is
    waited for. Where it is away until the worker stops, leases run out and the reconciler hands the
    items on. Nothing is lost either way.
    """
    reached(Failpoint.CHUNK_TAKEN)
    context.slot.begin(item_ids)
    try:
        _process(context, item_ids)
    except UnavailableError as exc:
        log.warning("chunk_left", code=exc.code, items=len(item_ids))
    finally:
        context.slot.end()


def _process(context: WorkerContext, item_ids: Sequence[int]) -> None:
    if context.slot.stopping:
        _committed(context, lambda session: _send_again(session, item_ids))
        return
    claims = _committed(context, lambda session: _claim(context, session, item_ids))
    if not claims:
        return  # Another worker got there first.
    reached(Failpoint.CHUNK_CLAIMED)
    context.slot.hold(claims)
    try:
        outcomes, unreadable = _sorted(context, compute(context, claims, Lease(context, claims)))
        reached(Failpoint.CHUNK_COMPUTED)
        done = _committed(context, lambda session: record(session, outcomes))
    except (UnavailableError, ModelCacheError) as exc:
        log.warning("chunk_handed_back", code=exc.code, items=len(claims))
        _hand_back(context, claims, delay_s=HAND_BACK_DELAY_S)
    except Exception:
        # The border of a chunk. What came over it may be one photo's doing, as with a process that
        # dies: each runs again alone, and its attempt counts.
        log.exception("chunk_crashed", items=len(claims))
        _committed(context, lambda session: give_up(context, session, claims, "an error in it"))
    else:
        reached(Failpoint.CHUNK_RECORDED)
        # Others search some of the photos now; those come again when that is done.
        delay_s = 0.0 if context.slot.stopping else TAKEN_DELAY_S
        _hand_back_unreadable(context, unreadable)
        later = {one.item_id for one in unreadable}
        _hand_back(context, _without(claims, done | later), delay_s=delay_s)
        log.info(
            "chunk_recorded", job_id=str(claims[0].job_id), items=len(claims), recorded=len(done)
        )


def _sorted(
    context: WorkerContext, outcomes: Sequence[Outcome]
) -> tuple[list[Outcome], list[Claim]]:
    """The outcomes that are to be recorded, and the claims of photos that could not be read yet."""
    later = [
        one.claim
        for one in outcomes
        if one.error_code == ObjectUnreadableError.code
        and one.claim.attempt < context.settings.max_attempts
    ]
    ids = {one.item_id for one in later}
    return [one for one in outcomes if one.claim.item_id not in ids], later


def _committed(context: WorkerContext, work: Callable[[Session], T]) -> T:
    """What `work` returns, once its transaction is committed, however long the database is away.

    Raises `UnavailableError` where it is away and the worker is to stop.
    """

    def commit() -> T:
        with transaction(context.database) as session:
            return work(session)

    # Wherever the photos' work was broken off: to wait is no want of progress.
    context.slot.rest()
    return retrying(commit, for_s=math.inf, give_up=lambda: context.slot.stopping)


def _claim(context: WorkerContext, session: Session, item_ids: Sequence[int]) -> list[Claim]:
    settings = context.settings
    return claim(session, item_ids, lease_s=settings.lease_s, max_attempts=settings.max_attempts)


def _send_again(session: Session, item_ids: Sequence[int]) -> None:
    unsend(session, item_ids)
    nudge.notify(session)


def _without(claims: Sequence[Claim], done: Collection[int]) -> list[Claim]:
    return [one for one in claims if one.item_id not in done]


def _hand_back_unreadable(context: WorkerContext, claims: Sequence[Claim]) -> None:
    """Queues items to run again alone. It counts, so that it comes to an end."""
    if claims:
        # All have as many attempts: of those that were begun before, each makes a chunk.
        delay_s = UNREADABLE_DELAY_S * 4 ** (claims[0].attempt - 1)
        log.warning("photos_unreadable", items=len(claims), attempt=claims[0].attempt)
        _hand_back(context, claims, delay_s=min(delay_s, UNREADABLE_DELAY_MAX_S), counted=True)


def _hand_back(
    context: WorkerContext, claims: Sequence[Claim], *, delay_s: float, counted: bool = False
) -> None:
    """Queues items whose claims still hold; of others takes back the attempt."""
    if not claims:
        return

    def hand_back(session: Session) -> set[int]:
        released = release(session, claims, delay_s=delay_s, counted=counted)
        nudge.notify(session)
        return released

    released = _committed(context, hand_back)
    lost = _without(claims, released)
    if lost:
        helped = _committed(context, lambda session: outlived(session, lost))
        log.warning("claims_outlived", items=len(lost), attempts_taken_back=len(helped))
