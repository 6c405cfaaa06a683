"""Changes of large jobs: batch by batch, for as long as a client can be kept waiting."""

import time
import uuid
from collections.abc import Callable

from db import erase_jobs
from db.session import Session, retried
from web.services import Services

PATIENCE_S = 2.0
"""What takes longer is brought to its end by the reconciler."""


def delete_job(
    services: Services,
    job_id: uuid.UUID,
    *,
    for_s: float | None = None,
    check: Callable[[Session], None] = lambda _session: None,
) -> None:
    """Deletes the job for its owner, and as much of it as there is time for (`PATIENCE_S`).

    `check` is called first in the transaction that begins it, and may raise. Raises
    `JobNotFoundError`.
    """

    def begin(session: Session) -> None:
        check(session)
        erase_jobs.begin_delete(session, services.tenant_id, job_id)

    retried(services.database, begin)
    in_batches(services, lambda session, _at: erase_jobs.delete_some(session, job_id), for_s=for_s)


def in_batches(
    services: Services,
    some: Callable[[Session, int], int | None],
    *,
    for_s: float | None = None,
) -> None:
    """Calls `some` in a transaction for each batch, with what the one before returned.

    Until it returns None, or time is up (`PATIENCE_S`).
    """
    give_up_at = time.monotonic() + (PATIENCE_S if for_s is None else for_s)
    at: int | None = 0
    while at is not None and time.monotonic() < give_up_at:
        at = _batch(services, some, at)


def _batch(services: Services, some: Callable[[Session, int], int | None], at: int) -> int | None:
    return retried(services.database, lambda session: some(session, at))
