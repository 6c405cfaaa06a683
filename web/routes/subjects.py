"""Subjects of a gallery: create, list, read, rename, delete, enrol photos for."""

from http import HTTPStatus

from flask import Response, request, url_for

from db import erase, subjects
from db.session import Session, retried, transaction
from db.states import JobKind, MultipleFaces
from db.views import NewJob
from pipeline.face_limits import MAX_MIN_FACE_PX
from web.accepting import received
from web.answers import answer, job_answer
from web.claims import kept
from web.conditions import expect, is_conditional, tagged
from web.openapi import SUBJECTS, WAIT, blueprint, photos_body, problems
from web.paging import cursors, page_of
from web.schemas.base import (
    GalleryPath,
    IfMatchHeader,
    IfNoneMatchHeader,
    NamedPageQuery,
    PreferHeader,
    SubjectPath,
)
from web.schemas.jobs import EnrolIn, JobOut
from web.schemas.people import SubjectIn, SubjectOut, SubjectsOut
from web.schemas.results import ResultsOut
from web.services import services
from web.submitting import priority_of, submit

api = blueprint("subjects", __name__, SUBJECTS, prefix="/v1/galleries/<uuid:gallery_id>")


@api.post("/subjects", responses={201: SubjectOut, **problems(400, 404, 409, 415, 422, 503)})
def create_subject(path: GalleryPath, body: SubjectIn) -> Response:
    """Create a subject; its name is unique in the gallery."""
    here = services()

    def work(session: Session) -> Response:
        made = subjects.create_subject(session, here.tenant_id, path.gallery_id, name=body.name)
        location = url_for("subjects.read_subject", gallery_id=path.gallery_id, subject_id=made.id)
        response = tagged(SubjectOut.of(made), HTTPStatus.CREATED, Location=location)
        return kept(session, response)

    return retried(here.database, work)


@api.get("/subjects", responses={200: SubjectsOut, **problems(400, 404, 422, 503)})
def list_subjects(path: GalleryPath, query: NamedPageQuery) -> Response:
    """List the gallery's subjects, the oldest first."""
    here = services()
    pages = cursors(here)
    with transaction(here.database) as session:
        found = subjects.list_subjects(
            session,
            here.tenant_id,
            path.gallery_id,
            name=query.name,
            after=pages.next_id(query.cursor),
            limit=query.limit + 1,
        )
    page, more = page_of(found, query.limit)
    return answer(
        SubjectsOut(
            subjects=[SubjectOut.of(one) for one in page],
            next_cursor=pages.behind(page[-1].id) if more else None,
        )
    )


@api.get(
    "/subjects/<uuid:subject_id>", responses={200: SubjectOut, 304: None, **problems(404, 503)}
)
def read_subject(path: SubjectPath, header: IfNoneMatchHeader) -> Response:  # noqa: ARG001 - described.
    """Read a subject."""
    here = services()
    with transaction(here.database) as session:
        found = subjects.get_subject(session, here.tenant_id, path.gallery_id, path.subject_id)
    return tagged(SubjectOut.of(found))


@api.patch(
    "/subjects/<uuid:subject_id>",
    responses={200: SubjectOut, **problems(400, 404, 409, 415, 422, 503)},
)
def rename_subject(path: SubjectPath, header: IfMatchHeader, body: SubjectIn) -> Response:  # noqa: ARG001 - described.
    """Rename a subject."""
    here = services()
    named = (here.tenant_id, path.gallery_id, path.subject_id)

    def work(session: Session) -> Response:
        if is_conditional():
            expect(lambda: SubjectOut.of(subjects.hold_subject(session, *named)))
        return tagged(SubjectOut.of(subjects.rename_subject(session, *named, name=body.name)))

    return retried(here.database, work)


@api.delete("/subjects/<uuid:subject_id>", responses={204: None, **problems(404, 503)})
def delete_subject(path: SubjectPath, header: IfMatchHeader) -> Response:  # noqa: ARG001 - described.
    """Delete a subject: its templates, its place in all results, and its enrolment photos."""
    here = services()
    named = (here.tenant_id, path.gallery_id, path.subject_id)

    def work(session: Session) -> None:
        def check() -> None:
            expect(lambda: SubjectOut.of(subjects.get_subject(session, *named)))

        erase.delete_subject(session, *named, check=check)

    retried(here.database, work)
    return Response(status=HTTPStatus.NO_CONTENT)


@api.post(
    "/subjects/<uuid:subject_id>/photos",
    description=f"A job of kind `enrol` with these photos. {WAIT}",
    responses={200: ResultsOut, 202: JobOut, **problems(400, 404, 415, 422, 503)},
    openapi_extensions={
        "requestBody": photos_body(
            multiple_faces={"type": "string", "enum": [one.value for one in MultipleFaces]},
            min_face_px={"type": "integer", "minimum": 0, "maximum": MAX_MIN_FACE_PX},
            min_quality={"type": "number", "minimum": 0, "maximum": 1},
        ),
    },
)
def enrol_photos(path: SubjectPath, header: PreferHeader) -> Response:
    """Enrol photos for a subject."""
    here = services()
    with received(here, request, photo_field="photos") as arrived:
        wanted = EnrolIn.model_validate(arrived.options)
        new = NewJob(
            kind=JobKind.ENROL,
            gallery_id=path.gallery_id,
            priority=priority_of(header, arrived),
            subject_id=path.subject_id,
            multiple_faces=wanted.multiple_faces,
            limits=wanted.limits,
        )
        job = submit(here, new, arrived)
    return job_answer(here, job, header)
