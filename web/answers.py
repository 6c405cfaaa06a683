"""Answers: models as JSON, and a job as what its state and the client's patience make of it."""

import contextlib
from http import HTTPStatus

from flask import Response, url_for
from pydantic import BaseModel

from db import results
from db.errors import UnavailableError
from db.session import Session, reading
from db.views import JobView
from web.claims import done, has_key, kept
from web.paging import cursors, page_of
from web.patience import patience
from web.schemas.base import PageQuery, PreferHeader
from web.schemas.jobs import JobOut
from web.schemas.results import ResultOut, ResultsOut
from web.services import Services
from web.waiting import finished_job, preferred_wait_s

POLL_AFTER_S = 1
FIRST_PAGE = 100


def answer(model: BaseModel, status: int = HTTPStatus.OK, **headers: str) -> Response:
    """`model` as JSON; a header's underscores become dashes."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(
        model.model_dump_json(), status=status, headers=named, content_type="application/json"
    )


def accepted_answer(job: JobView) -> Response:
    """The job as it was committed, and where it is."""
    location = url_for("jobs.read_job", job_id=job.id)
    response = answer(JobOut.of(job), HTTPStatus.ACCEPTED, Location=location)
    return until_finished(response, job)


def keep_accepted(session: Session, job: JobView) -> JobView:
    """The job, whose answer is kept where the request has a key, in the transaction that made it.

    It is that of a client which does not wait: one that sends the request again may.
    """
    if has_key():
        kept(session, accepted_answer(job), job_id=job.id)
    return job


def job_answer(services: Services, accepted: JobView, header: PreferHeader) -> Response:
    """The job: its results where the client waits and it ends in time, else where to look.

    `accepted` is the job as it was committed. Whatever fails from then on, the client gets no
    error, which would make it send everything again.
    """
    done()
    job, page = accepted, None
    with patience(preferred_wait_s(header.prefer)) as wait_s:
        if wait_s:
            job, page = _awaited(services, accepted, wait_s)
    response = accepted_answer(job)
    if page is not None:
        location = response.headers["Location"]
        results_at = url_for("jobs.read_results", job_id=job.id)
        response = answer(page, HTTPStatus.OK, Content_Location=results_at, Location=location)
    if wait_s:
        response.headers["Preference-Applied"] = f"wait={wait_s}"
    return response


def _awaited(
    services: Services, accepted: JobView, wait_s: float
) -> tuple[JobView, ResultsOut | None]:
    """The job after the wait, and its results where it has ended."""
    job = accepted
    with contextlib.suppress(UnavailableError):
        job = finished_job(services, accepted.id, wait_s=wait_s)
        if job.finished:
            return job, results_page(services, job, PageQuery(limit=FIRST_PAGE))
    return job, None


def until_finished(response: Response, job: JobView) -> Response:
    """Adds when to ask again, while the job is under way."""
    if not job.finished:
        response.headers["Retry-After"] = str(POLL_AFTER_S)
    return response


def result_of_item(services: Services, job: JobView, item_id: int) -> ResultsOut:
    """This item of the job; nothing where the job has no such item."""
    with reading(services.database) as session:
        found = results.job_items(session, services.tenant_id, job.id, after=item_id - 1, limit=1)
    own = [ResultOut.of(one, job) for one in found if one.id == item_id]
    return ResultsOut(job=JobOut.of(job), results=own, next_cursor=None)


def results_page(services: Services, job: JobView, query: PageQuery) -> ResultsOut:
    """The job's items, from where the query says; raises `CursorError`."""
    pages = cursors(services, url_for("jobs.read_results", job_id=job.id))
    after = pages.next_number(query.cursor)
    with reading(services.database) as session:
        found = results.job_items(
            session, services.tenant_id, job.id, after=after, limit=query.limit + 1
        )
    page, more = page_of(found, query.limit)
    return ResultsOut(
        job=JobOut.of(job),
        results=[ResultOut.of(item, job) for item in page],
        next_cursor=pages.behind(page[-1].id) if more else None,
    )
