"""What a process of the pool left when it died, put right by the one that takes its place."""

from collections.abc import Sequence

import structlog

from db import nudge
from db.dispatch import unsend
from db.errors import UnavailableError
from db.faults import Held, lose
from db.ledger import requeue_expired, set_aside
from db.retry import retrying
from db.session import Session, transaction
from workers.board import Left
from workers.context import WorkerContext

log = structlog.get_logger()
PATIENCE_S = 60.0
"""Celery kills a process that needs longer for its start than twice this."""
UNKNOWN = "its process ended"


def settle(context: WorkerContext, left: Left) -> None:
    """Has what another process left run again, or set aside, at once.

    Where the database stays away, leases run out and the reconciler does it.
    """

    def commit() -> None:
        with transaction(context.database) as session:
            give_up(context, session, left.held, left.fault or UNKNOWN)
            unsend(session, left.sent)

    try:
        retrying(commit, for_s=PATIENCE_S, give_up=lambda: context.slot.stopping)
    except UnavailableError as exc:
        log.warning("items_left_to_their_leases", code=exc.code, items=len(left.held))
        return
    log.warning("items_of_a_lost_process", items=len(left.held), fault=left.fault or UNKNOWN)


def give_up(context: WorkerContext, session: Session, held: Sequence[Held], fault: str) -> None:
    """Queues items that this worker had when `fault` struck, or sets them aside. It counts."""
    lose(session, held, fault=fault)
    set_aside(session, max_attempts=context.settings.max_attempts)
    requeue_expired(session, max_attempts=context.settings.max_attempts)
    nudge.notify(session)
