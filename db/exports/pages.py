"""A job's results from its first photo to its last, page by page, with memory for one page."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from db.exports.lines import Line, photo_line, subject_line
from db.jobs import get_job
from db.results import job_items
from db.retry import retrying
from db.session import Database, Session, transaction
from db.subject_results import NOBODY, job_subjects
from db.tenancy import acting_for

T = TypeVar("T")
PAGE = 500
"""Photos that are read in one transaction."""
SUBJECTS_PAGE = 2000
PATIENCE_S = 15.0
"""How long a database that is away is waited for: half of a lease, and of a client's patience."""
Lines = Iterator[Sequence[Line]]
"""Pages of lines."""


def photo_pages(
    database: Database,
    tenant_id: int,
    job_id: uuid.UUID,
    *,
    at_page: Callable[[Session], None] = lambda _session: None,
) -> Lines:
    """Lines of the job's photos in the order in which they were added.

    Each page has a transaction of its own, in which `at_page` is called first: the job may go on
    meanwhile, and what it gets behind the page that was read last comes along. Raises
    `JobNotFoundError` where the job is deleted on the way, and `UnavailableError`.
    """
    after = 0

    def page(session: Session) -> tuple[list[Line], int]:
        at_page(session)
        job = get_job(session, tenant_id, job_id)
        items = job_items(session, tenant_id, job_id, after=after, limit=PAGE)
        return [photo_line(item, job) for item in items], items[-1].id if items else 0

    while (found := _committed(database, tenant_id, page))[0]:
        lines, after = found
        yield lines


def subject_pages(
    database: Database,
    tenant_id: int,
    job_id: uuid.UUID,
    *,
    at_page: Callable[[Session], None] = lambda _session: None,
) -> Lines:
    """Lines of the subjects that the job's photos show; otherwise as `photo_pages`."""
    after = NOBODY

    def page(session: Session) -> tuple[list[Line], uuid.UUID]:
        at_page(session)
        get_job(session, tenant_id, job_id)
        found = job_subjects(session, tenant_id, job_id, after=after, limit=SUBJECTS_PAGE)
        return [subject_line(one) for one in found], found[-1].subject_id if found else after

    while (found := _committed(database, tenant_id, page))[0]:
        lines, after = found
        yield lines


def _committed(database: Database, tenant_id: int, work: Callable[[Session], T]) -> T:
    def once() -> T:
        # A file is read on when the request that asked for it, and its tenant, are gone.
        with acting_for(tenant_id), transaction(database) as session:
            return work(session)

    return retrying(once, for_s=PATIENCE_S)
