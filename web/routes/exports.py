"""Results out: streamed files, files in the bucket, and a summary of whom a job shows."""

import datetime as dt
from collections.abc import Iterator
from http import HTTPStatus

import structlog
from flask import Response, url_for

from db import jobs
from db.exports import queue
from db.exports.formats import MEDIA_TYPES, STREAMED, Wanted, export_chunks
from db.exports.queue import ExportView
from db.exports.removal import delete_export as remove_export
from db.session import Session, retried, transaction
from db.states import ExportState
from db.subject_results import NOBODY, job_subjects
from pipeline.errors import FaceBatchError
from web.answers import POLL_AFTER_S, answer, until_finished
from web.claims import kept
from web.openapi import EXPORTS, blueprint, problems
from web.paging import cursors, page_of
from web.patience import streaming
from web.schemas.base import JobPath, PageQuery
from web.schemas.exports import LINK_S, ExportIn, ExportOut, ExportPath, ExportQuery, ExportsOut
from web.schemas.results import SubjectResultOut, SubjectResultsOut
from web.services import Services, services

log = structlog.get_logger()
JOB_STATE = "Facebatch-Job-State"
"""The header that tells of what a streamed export is: a job that runs has photos to come."""
api = blueprint("exports", __name__, EXPORTS)


@api.get(
    "/jobs/<uuid:job_id>/subjects",
    responses={200: SubjectResultsOut, **problems(400, 404, 422, 503)},
)
def read_subjects(path: JobPath, query: PageQuery) -> Response:
    """Read whom a job's photos show: how many, the first, the last and the best."""
    here = services()
    pages = cursors(here)
    after = pages.next_id(query.cursor) or NOBODY
    with transaction(here.database) as session:
        job = jobs.get_job(session, here.tenant_id, path.job_id)
        found = job_subjects(
            session, here.tenant_id, path.job_id, after=after, limit=query.limit + 1
        )
    page, more = page_of(found, query.limit)
    body = SubjectResultsOut(
        subjects=[SubjectResultOut.of(one) for one in page],
        next_cursor=pages.behind(page[-1].subject_id) if more else None,
    )
    return until_finished(answer(body), job)


@api.get(
    "/jobs/<uuid:job_id>/export",
    description="Streamed from the database; the answer breaks off where that fails half-way. "
    f"While the job runs, photos come as they stand at that moment: the header `{JOB_STATE}` "
    "tells the job's state at the beginning.",
    responses={
        200: {"content": {MEDIA_TYPES[one]: {} for one in STREAMED}},
        **problems(404, 422, 503),
    },
)
def stream_export(path: JobPath, query: ExportQuery) -> Response:
    """Read all results of a job as one file."""
    here = services()
    with transaction(here.database) as session:
        job = jobs.get_job(session, here.tenant_id, path.job_id)
    wanted = Wanted(tenant_id=here.tenant_id, job_id=path.job_id, format=query.format)
    body = _streamed(here, wanted)
    next(body)  # It begins here, so that it can be refused, and is closed whatever happens.
    return Response(
        body,
        content_type=MEDIA_TYPES[query.format],
        headers={
            "Content-Disposition": f'attachment; filename="{wanted.file_name}"',
            JOB_STATE: job.state.value,
        },
    )


def _streamed(here: Services, wanted: Wanted) -> Iterator[bytes]:
    """First nothing, then the file. Raises `TooBusyError` before anything."""
    with streaming():
        yield b""
        try:
            yield from export_chunks(here.database, wanted)
        except FaceBatchError as exc:
            # The status was sent long ago. Whoever reads sees the body end before its end.
            log.warning("export_broken", job_id=str(wanted.job_id), code=exc.code)
            raise


@api.post(
    "/jobs/<uuid:job_id>/exports",
    description="Written by a worker; ask for it until it is `done`.",
    responses={202: ExportOut, **problems(404, 409, 415, 422, 503)},
)
def create_export(path: JobPath, body: ExportIn) -> Response:
    """Have the results of a job written into the bucket."""
    here = services()
    wanted = Wanted(
        tenant_id=here.tenant_id,
        job_id=path.job_id,
        format=body.format,
        unknown_faces=body.unknown_faces,
    )
    keep_for = dt.timedelta(days=here.settings.export_days)

    def work(session: Session) -> Response:
        export = queue.create_export(session, wanted, keep_for=keep_for)
        location = url_for("exports.read_export", job_id=path.job_id, export_id=export.id)
        response = answer(ExportOut.of(export), HTTPStatus.ACCEPTED, Location=location)
        return kept(session, _until_written(response, export))

    return retried(here.database, work)


@api.get("/jobs/<uuid:job_id>/exports", responses={200: ExportsOut, **problems(404, 503)})
def list_exports(path: JobPath) -> Response:
    """List the exports of a job, the latest first, each with a link where it is done."""
    here = services()
    with transaction(here.database) as session:
        found = queue.list_exports(session, here.tenant_id, path.job_id)
    return answer(ExportsOut(exports=[_out(here, one) for one in found]))


@api.get(
    "/jobs/<uuid:job_id>/exports/<uuid:export_id>",
    description="While it is under way, `Retry-After` says when to ask again.",
    responses={200: ExportOut, **problems(404, 503)},
)
def read_export(path: ExportPath) -> Response:
    """Read where an export stands, and from where to fetch it."""
    here = services()
    with transaction(here.database) as session:
        export = queue.get_export(session, here.tenant_id, path.job_id, path.export_id)
    return _until_written(answer(_out(here, export)), export)


@api.delete(
    "/jobs/<uuid:job_id>/exports/<uuid:export_id>", responses={204: None, **problems(404, 503)}
)
def delete_export(path: ExportPath) -> Response:
    """Delete an export with its file."""
    here = services()
    with transaction(here.database) as session:
        remove_export(session, here.tenant_id, path.job_id, path.export_id)
    return Response(status=HTTPStatus.NO_CONTENT)


def _out(here: Services, export: ExportView) -> ExportOut:
    if export.object_key is None:
        return ExportOut.of(export)
    url = here.store.link(
        export.object_key,
        file_name=export.file_name,
        media_type=MEDIA_TYPES[export.format],
        valid_s=LINK_S,
    )
    return ExportOut.of(export, url=url)


def _until_written(response: Response, export: ExportView) -> Response:
    if export.state in {ExportState.QUEUED, ExportState.RUNNING}:
        response.headers["Retry-After"] = str(POLL_AFTER_S)
    return response
