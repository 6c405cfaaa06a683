"""A chunk from claim to record, and what becomes of it when a store fails on the way."""

from collections.abc import Sequence

import structlog

from db.errors import UnavailableError
from db.failpoints import Failpoint, reached
from db.ledger import Claim, claim, release
from db.record import Outcome, record
from db.retry import retrying
from db.session import transaction
from pipeline.errors import ModelCacheError
from workers.context import WorkerContext
from workers.stages.compute import compute
from workers.stages.lease import Lease

log = structlog.get_logger()
HAND_BACK_DELAY_S = 2.0
"""A store that was away for a whole lease is given a moment before the next worker asks it."""


def process_chunk(context: WorkerContext, item_ids: Sequence[int]) -> None:
    """Claims what it can of the items, computes them and records the outcomes.

    Where a store stays away, or models find no room on this machine, the items are handed back
    uncounted; where even that fails, their leases run out and the reconciler hands them on. Nothing
    is lost either way.
    """
    settings = context.settings
    reached(Failpoint.CHUNK_TAKEN)
    try:
        claims = retrying(lambda: _claim(context, item_ids), for_s=settings.lease_s)
    except UnavailableError as exc:
        log.warning("claim_failed", code=exc.code, items=len(item_ids))
        return  # Unclaimed items are sent again.
    if not claims:
        return  # Another worker got there first.
    reached(Failpoint.CHUNK_CLAIMED)
    lease = Lease(context.database, claims, lease_s=settings.lease_s)
    try:
        outcomes = compute(context, claims, lease)
        reached(Failpoint.CHUNK_COMPUTED)
        done = retrying(lambda: _record(context, outcomes), for_s=settings.lease_s)
    except (UnavailableError, ModelCacheError) as exc:
        log.warning("chunk_handed_back", code=exc.code, items=len(claims))
        _hand_back(context, claims)
        return
    reached(Failpoint.CHUNK_RECORDED)
    log.info("chunk_recorded", job_id=str(claims[0].job_id), items=len(claims), recorded=len(done))


def _claim(context: WorkerContext, item_ids: Sequence[int]) -> list[Claim]:
    with transaction(context.database) as session:
        return claim(
            session,
            item_ids,
            lease_s=context.settings.lease_s,
            max_attempts=context.settings.max_attempts,
        )


def _record(context: WorkerContext, outcomes: Sequence[Outcome]) -> set[int]:
    with transaction(context.database) as session:
        return record(session, outcomes)


def _hand_back(context: WorkerContext, claims: Sequence[Claim]) -> None:
    try:
        with transaction(context.database) as session:
            release(session, claims, delay_s=HAND_BACK_DELAY_S)
    except UnavailableError as exc:
        log.warning("hand_back_failed", code=exc.code, items=len(claims))
