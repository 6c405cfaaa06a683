"""Sources of jobs: add, list, and match a job's photos again."""

from http import HTTPStatus

from flask import Response, request, url_for

from db import sources
from db.session import Session, retried, transaction
from db.sources import NewSource
from db.states import SourceKind
from web.answers import answer, job_answer
from web.claims import kept
from web.openapi import SOURCES, WAIT, blueprint, problems, source_body
from web.paging import cursors, page_of
from web.schemas.base import JobPath, PageQuery, PreferHeader, as_json
from web.schemas.jobs import JobOut
from web.schemas.results import ResultsOut
from web.schemas.sources import RematchIn, SourceIn, SourceOut, SourcesOut
from web.services import services
from web.sourcing import new_source, submit_sources
from web.submitting import new_job

api = blueprint("sources", __name__, SOURCES)


@api.post(
    "/jobs/<uuid:job_id>/sources",
    description="It is listed in the background, and its photos come in page by page.",
    responses={202: SourceOut, **problems(400, 404, 409, 413, 415, 422, 503)},
    openapi_extensions={"requestBody": source_body()},
)
def add_source(path: JobPath) -> Response:
    """Add a source to an open job."""
    here = services()
    found = new_source(here, as_json(SourceIn, request.get_json()).root)

    def work(session: Session) -> Response:
        with here.quotas.kept(session, here.tenant_id):
            source_id = sources.add_source(session, here.tenant_id, path.job_id, found)
        view = sources.get_source(session, here.tenant_id, path.job_id, source_id)
        location = url_for("sources.list_sources", job_id=path.job_id)
        response = answer(SourceOut.of(view), HTTPStatus.ACCEPTED, Location=location)
        return kept(session, response)

    return retried(here.database, work)


@api.get("/jobs/<uuid:job_id>/sources", responses={200: SourcesOut, **problems(400, 404, 422, 503)})
def list_sources(path: JobPath, query: PageQuery) -> Response:
    """List a job's sources, and how far each is listed."""
    here = services()
    pages = cursors(here)
    with transaction(here.database) as session:
        found = sources.list_sources(
            session,
            here.tenant_id,
            path.job_id,
            after=pages.next_id(query.cursor),
            limit=query.limit + 1,
        )
    page, more = page_of(found, query.limit)
    return answer(
        SourcesOut(
            sources=[SourceOut.of(one) for one in page],
            next_cursor=pages.behind(page[-1].id) if more else None,
        )
    )


@api.post(
    "/jobs/<uuid:job_id>/rematch",
    description="A new job identifies the faces that were found in the photos of this one, which "
    f"has ended. Photos that the gallery's engine has searched are not read again. {WAIT}",
    responses={200: ResultsOut, 202: JobOut, **problems(400, 404, 409, 413, 415, 422, 503)},
)
def rematch(path: JobPath, header: PreferHeader, body: RematchIn) -> Response:
    """Match a job's photos again, against another gallery or one that has changed."""
    here = services()
    other = NewSource(kind=SourceKind.JOB, from_job_id=path.job_id)
    return job_answer(here, submit_sources(here, new_job(body), [other]), header)
