"""`Prefer: wait=N` (RFC 7240): an answer that waits for its job."""

import time
import uuid

from werkzeug.http import parse_dict_header

from db.jobs import get_job
from db.session import transaction
from db.views import JobView
from web.services import Services

MAX_WAIT_S = 60
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.25


def preferred_wait_s(prefer: str | None) -> int:
    """Seconds that the client would wait, at most `MAX_WAIT_S`; 0 where it asks for none.

    A preference that makes no sense is none, as the RFC wants it.
    """
    wished = parse_dict_header(prefer or "").get("wait")
    return min(int(wished), MAX_WAIT_S) if wished and wished.isdecimal() else 0


def finished_job(services: Services, job_id: uuid.UUID, *, wait_s: float) -> JobView:
    """The job, as soon as it has ended, or as it stands after `wait_s`.

    Asks the database again and again: a job takes far longer than the question, and a dropped
    notification would make a client wait for nothing. Raises `JobNotFoundError`.
    """
    give_up_at = time.monotonic() + wait_s
    pause_s = FIRST_PAUSE_S
    while True:
        with transaction(services.database) as session:
            job = get_job(session, services.tenant_id, job_id)
        left_s = give_up_at - time.monotonic()
        if job.finished or left_s <= 0:
            return job
        time.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
