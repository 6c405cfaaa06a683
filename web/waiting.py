"""`Prefer: wait=N` (RFC 7240): an answer that waits for its job."""

import time
import uuid

from db.jobs import get_job
from db.retry import retrying
from db.session import reading
from db.views import JobView
from web.services import Services

MAX_WAIT_S = 60
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


def preferred_wait_s(prefer: str | None) -> int:
    """Seconds that the client would wait, at most `MAX_WAIT_S`; 0 where it asks for none.

    A preference that makes no sense is none, and of two the first counts, as the RFC wants it.
    """
    for preference in (prefer or "").split(","):
        name, _, wished = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            return _seconds(wished.strip().strip('"'))
    return 0


def _seconds(wished: str) -> int:
    if not (wished.isascii() and wished.isdecimal()):
        return 0
    # No number of so many digits is less; Python refuses to read one of thousands.
    return MAX_WAIT_S if len(wished) > 4 else min(int(wished), MAX_WAIT_S)


def finished_job(
    services: Services, job_id: uuid.UUID, *, wait_s: float, just_made: bool = False
) -> JobView:
    """The job, as soon as it has ended, or as it stands after `wait_s`.

    The bell says when to look. It may be missed, so the database is asked now and then all the
    same, and at once unless the job was `just_made`. One that is away is waited for too. Raises
    `JobNotFoundError`, and `UnavailableError` where it is away at the end.
    """
    if wait_s <= 0:
        return _job(services, job_id)
    give_up_at = time.monotonic() + wait_s
    pause_s = FIRST_PAUSE_S
    with services.bell.of(job_id) as rings:
        if just_made:
            rings.wait(min(pause_s, wait_s))
            rings.clear()
        while True:
            left_s = give_up_at - time.monotonic()
            job = retrying(lambda: _job(services, job_id), for_s=left_s)
            left_s = give_up_at - time.monotonic()
            if job.finished or left_s <= 0:
                return job
            rings.wait(min(pause_s, left_s))
            rings.clear()
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def _job(services: Services, job_id: uuid.UUID) -> JobView:
    with reading(services.database) as session:
        return get_job(session, services.tenant_id, job_id)
