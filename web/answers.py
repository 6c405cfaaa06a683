"""Answers: models as JSON, and a job as what its state and the client's patience make of it."""

import uuid
from http import HTTPStatus

from flask import Response, url_for
from pydantic import BaseModel

from db import results
from db.session import transaction
from db.views import JobView
from web.paging import page_of
from web.schemas import JobOut, PreferHeader, ResultOut, ResultsOut
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


def job_answer(services: Services, job_id: uuid.UUID, header: PreferHeader) -> Response:
    """The job: its results where the client waits and it ends in time, else where to look."""
    wait_s = preferred_wait_s(header.prefer)
    job = finished_job(services, job_id, wait_s=wait_s)
    location = url_for("jobs.read_job", job_id=job_id)
    if job.finished and wait_s:
        page = results_page(services, job, after=0, limit=FIRST_PAGE)
        response = answer(page, HTTPStatus.OK, Content_Location=location)
    else:
        response = answer(JobOut.of(job), HTTPStatus.ACCEPTED, Location=location)
    if wait_s:
        response.headers["Preference-Applied"] = f"wait={wait_s}"
    return until_finished(response, job)


def until_finished(response: Response, job: JobView) -> Response:
    """Adds when to ask again, while the job is under way."""
    if not job.finished:
        response.headers["Retry-After"] = str(POLL_AFTER_S)
    return response


def results_page(services: Services, job: JobView, *, after: int, limit: int) -> ResultsOut:
    """The job's items behind `after`, at most `limit`."""
    with transaction(services.database) as session:
        found = results.job_items(session, services.tenant_id, job.id, after=after, limit=limit + 1)
    page, more = page_of(found, limit)
    return ResultsOut(
        job=JobOut.of(job),
        results=[ResultOut.of(item, threshold_distance=job.threshold_distance) for item in page],
        next_cursor=str(page[-1].id) if more else None,
    )
