"""Jobs: submit, add photos, seal, read, results, control, delete."""

import uuid
from collections.abc import Callable, Sequence, Sized
from dataclasses import replace
from http import HTTPStatus

from flask import Response, request, url_for

from db import accept, control, jobs
from db.session import Session, retried, transaction
from db.uploaded import UploadedPhoto, add_uploaded
from db.views import JobView, NewItem
from web import batches
from web.accepting import checked_file_name, received
from web.answers import (
    answer,
    job_answer,
    keep_accepted,
    result_of_item,
    results_page,
    until_finished,
)
from web.claims import kept
from web.conditions import expect, is_conditional, tagged
from web.errors import InvalidRequestError
from web.openapi import JOBS, WAIT, added_body, blueprint, job_body, problems
from web.paging import cursors, page_of
from web.patience import patience
from web.schemas.base import (
    IfMatchHeader,
    JobPath,
    PageQuery,
    PreferHeader,
    PreferIfMatchHeader,
    PreferIfNoneMatchHeader,
    as_json,
)
from web.schemas.jobs import AddedOut, AddQuery, JobIn, JobOut, JobsOut, KnownPhotosIn
from web.schemas.results import ResultsOut, ResultsQuery
from web.schemas.sources import SourcedJobIn
from web.schemas.uploads import UploadedPhotosIn
from web.services import Services, services
from web.sourcing import new_source, submit_sources
from web.submitting import add_arrived, new_job, priority_of, submit
from web.uploading import part_key, sent_photos
from web.waiting import finished_job, preferred_wait_s

api = blueprint("jobs", __name__, JOBS)
ARCHIVE = "archive"
"""The form field of zips."""


@api.post(
    "/jobs",
    description="As multipart: a job with its photos, which is then sealed. As JSON with "
    "`sources`: likewise, of the photos that are there. As JSON without: an open job, which gets "
    f"its photos bit by bit and is sealed after the last. {WAIT}",
    responses={
        200: ResultsOut,
        201: JobOut,
        202: JobOut,
        **problems(400, 404, 409, 413, 415, 422, 503),
    },
    openapi_extensions={"requestBody": job_body()},
)
def create_job(header: PreferHeader) -> Response:
    """Submit a job."""
    if request.is_json:
        return _job_from_json(as_json(SourcedJobIn, request.get_json()), header)
    here = services()
    with received(here, request, photo_field="photos", archive_field=ARCHIVE) as arrived:
        wanted = JobIn.model_validate(arrived.options)
        job = submit(here, new_job(wanted, priority_of(header, arrived)), arrived)
    return job_answer(here, job, header)


def _job_from_json(wanted: SourcedJobIn, header: PreferHeader) -> Response:
    """A job with sources, which is sealed, or an open one."""
    here = services()
    if wanted.sources:
        found = [new_source(here, one.root) for one in wanted.sources]
        return job_answer(here, submit_sources(here, new_job(wanted), found), header)

    def work(session: Session) -> Response:
        with here.quotas.kept(session, here.tenant_id):
            job_id = jobs.create_job(session, here.tenant_id, new_job(wanted))
        job = jobs.get_job(session, here.tenant_id, job_id)
        location = url_for("jobs.read_job", job_id=job_id)
        return kept(session, tagged(JobOut.of(job), HTTPStatus.CREATED, Location=location))

    return retried(here.database, work)


@api.get("/jobs", responses={200: JobsOut, **problems(400, 422, 503)})
def list_jobs(query: PageQuery) -> Response:
    """List jobs, the latest first."""
    here = services()
    pages = cursors(here)
    before = pages.next_id(query.cursor)
    with transaction(here.database) as session:
        found = jobs.list_jobs(session, here.tenant_id, before=before, limit=query.limit + 1)
    page, more = page_of(found, query.limit)
    return answer(
        JobsOut(
            jobs=[JobOut.of(one) for one in page],
            next_cursor=pages.behind(page[-1].id) if more else None,
        )
    )


@api.post(
    "/jobs/<uuid:job_id>/photos",
    description="As multipart: photos; a photo's file name is its `client_id`, and sending it "
    "again adds nothing. As JSON: hashes of photos; those whose bytes we keep come in, the "
    "others are to be sent. Or photos of an upload; those that are not there are told.",
    responses={200: AddedOut, **problems(400, 404, 409, 413, 415, 422, 503)},
    openapi_extensions={"requestBody": added_body()},
)
def add_photos(path: JobPath, query: AddQuery) -> Response:
    """Add photos to an open job."""
    if request.is_json:
        body = request.get_json()
        if "upload" in body:
            return _add_uploaded(path, query, as_json(UploadedPhotosIn, body))
        return _add_known(path, query, as_json(KnownPhotosIn, body))
    here = services()
    with received(
        here, request, photo_field="photos", archive_field=ARCHIVE, named=True
    ) as arrived:
        if arrived.fields:
            raise InvalidRequestError(
                f"no form field is taken here, and '{min(arrived.fields)}' came"
            )
        photos = [
            replace(photo, client_id=photo.name, subject_id=query.subject)
            for photo in arrived.photos
        ]

        def work(session: Session) -> Response:
            with here.quotas.kept(session, here.tenant_id):
                add_arrived(session, here, path.job_id, arrived, photos, subject_id=query.subject)
            arrived.settle(session)
            return kept(session, answer(AddedOut(accepted=len(photos), missing=[])))

        return retried(here.database, work)


def _add_known(path: JobPath, query: AddQuery, wanted: KnownPhotosIn) -> Response:
    here = services()
    items = [
        NewItem(
            name=checked_file_name(photo.client_id),
            client_id=photo.client_id,
            sha256=bytes.fromhex(photo.sha256),
            subject_id=query.subject,
        )
        for photo in wanted.photos
    ]

    def work(session: Session) -> Response:
        with here.quotas.kept(session, here.tenant_id):
            missing = accept.add_known_items(session, here.tenant_id, path.job_id, items)
        return kept(session, _added(items, [item.client_id or "" for item in missing]))

    return retried(here.database, work)


def _add_uploaded(path: JobPath, query: AddQuery, wanted: UploadedPhotosIn) -> Response:
    here = services()
    for one in wanted.photos:
        checked_file_name(one.client_id)
    keys = [part_key(wanted.upload, one.part) for one in wanted.photos]
    sent = sent_photos(here, wanted.upload, keys)
    photos = [
        UploadedPhoto(client_id=one.client_id, place=sent.get(key))
        for one, key in zip(wanted.photos, keys, strict=True)
    ]

    def work(session: Session) -> Response:
        tenant_id, upload, subject = here.tenant_id, wanted.upload, query.subject
        with here.quotas.kept(session, tenant_id):
            missing = add_uploaded(
                session, tenant_id, path.job_id, upload, photos, subject_id=subject
            )
        return kept(session, _added(photos, missing))

    return retried(here.database, work)


def _added(photos: Sized, missing: Sequence[str]) -> Response:
    return answer(AddedOut(accepted=len(photos) - len(missing), missing=list(missing)))


@api.post(
    "/jobs/<uuid:job_id>/seal",
    description=f"Only a sealed job can end. Sealing again changes nothing. {WAIT}",
    responses={200: ResultsOut, 202: JobOut, **problems(404, 409, 503)},
)
def seal_job(path: JobPath, header: PreferIfMatchHeader) -> Response:
    """Say that an open job gets no further photos."""
    here = services()
    job = retried(here.database, lambda session: _changed(session, here, path, jobs.seal_job))
    return job_answer(here, job, header)


@api.get(
    "/jobs/<uuid:job_id>",
    description="While it runs, `Retry-After` says when to ask again. "
    "With `Prefer: wait=N` the answer waits for its end.",
    responses={200: JobOut, 304: None, **problems(404, 503)},
)
def read_job(path: JobPath, header: PreferIfNoneMatchHeader) -> Response:
    """Read where a job stands."""
    here = services()
    with patience(preferred_wait_s(header.prefer)) as wait_s:
        job = finished_job(here, path.job_id, wait_s=wait_s)
    response = tagged(JobOut.of(job))
    if wait_s:
        response.headers["Preference-Applied"] = f"wait={wait_s}"
    return until_finished(response, job)


@api.get("/jobs/<uuid:job_id>/results", responses={200: ResultsOut, **problems(400, 404, 422, 503)})
def read_results(path: JobPath, query: ResultsQuery) -> Response:
    """Read a job's photos and what came of them, in the order in which they were added."""
    here = services()
    with transaction(here.database) as session:
        job = jobs.get_job(session, here.tenant_id, path.job_id)
    if query.item is not None:
        page = result_of_item(here, job, query.item)
    else:
        page = results_page(here, job, query)
    return until_finished(answer(page), job)


@api.post(
    "/jobs/<uuid:job_id>/cancel",
    description="Nothing further of it begins. A job of very many photos ends a little later: then "
    "the answer is 202, and `cancelling` is true until that.",
    responses={200: JobOut, 202: JobOut, **problems(404, 503)},
)
def cancel_job(path: JobPath, header: IfMatchHeader) -> Response:  # noqa: ARG001 - described.
    """Cancel a job: photos that have ended keep their results, the others are left alone."""
    here = services()

    def work(session: Session) -> None:
        _expect(session, here, path)
        control.begin_cancel(session, here.tenant_id, path.job_id)

    retried(here.database, work)
    batches.in_batches(here, lambda session, at: control.cancel_some(session, path.job_id, at))
    job = _read(here, path)
    return answer(JobOut.of(job), HTTPStatus.OK if job.finished else HTTPStatus.ACCEPTED)


@api.post("/jobs/<uuid:job_id>/pause", responses={200: JobOut, **problems(404, 409, 503)})
def pause_job(path: JobPath, header: IfMatchHeader) -> Response:  # noqa: ARG001 - described.
    """Pause a job: what was begun ends, and nothing further begins until it is resumed."""
    return _controlled(path, control.pause_job)


@api.post("/jobs/<uuid:job_id>/resume", responses={200: JobOut, **problems(404, 409, 503)})
def resume_job(path: JobPath, header: IfMatchHeader) -> Response:  # noqa: ARG001 - described.
    """Let a paused job go on."""
    return _controlled(path, control.resume_job)


@api.post(
    "/jobs/<uuid:job_id>/retry",
    description="The others keep their results. A job that had ended runs again, and ends again. "
    f"{WAIT}",
    responses={200: ResultsOut, 202: JobOut, **problems(404, 409, 503)},
)
def retry_job(path: JobPath, header: PreferIfMatchHeader) -> Response:
    """Try a job's failed photos again."""
    here = services()

    def work(session: Session) -> JobView:
        # First: who holds the job waits for nobody who would add to it.
        with here.quotas.kept(session, here.tenant_id):
            return _changed(session, here, path, control.retry_job)

    return job_answer(here, retried(here.database, work), header)


def _changed(
    session: Session,
    here: Services,
    path: JobPath,
    change: Callable[[Session, int, uuid.UUID], object],
) -> JobView:
    """The job after the change, as whoever asks for it once more is to see it."""
    _expect(session, here, path)
    change(session, here.tenant_id, path.job_id)
    return keep_accepted(session, jobs.get_job(session, here.tenant_id, path.job_id))


def _controlled(path: JobPath, change: Callable[[Session, int, uuid.UUID], None]) -> Response:
    here = services()

    def work(session: Session) -> Response:
        _expect(session, here, path)
        change(session, here.tenant_id, path.job_id)
        job = jobs.get_job(session, here.tenant_id, path.job_id)
        location = url_for("jobs.read_job", job_id=path.job_id)
        return kept(session, tagged(JobOut.of(job), Content_Location=location))

    return retried(here.database, work)


def _expect(session: Session, here: Services, path: JobPath) -> None:
    """That the job is as the request says, and stays so until it is changed."""
    if is_conditional():
        expect(lambda: JobOut.of(jobs.hold_job(session, here.tenant_id, path.job_id)))


def _read(here: Services, path: JobPath) -> JobView:
    with transaction(here.database) as session:
        return jobs.get_job(session, here.tenant_id, path.job_id)


@api.delete("/jobs/<uuid:job_id>", responses={204: None, **problems(404, 503)})
def delete_job(path: JobPath, header: IfMatchHeader) -> Response:  # noqa: ARG001 - described.
    """Delete a job with its results, and its photos where nothing else needs them."""
    here = services()
    batches.delete_job(here, path.job_id, check=lambda session: _expect(session, here, path))
    return Response(status=HTTPStatus.NO_CONTENT)
