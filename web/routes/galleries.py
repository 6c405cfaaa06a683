"""Galleries: create, list, read, delete."""

import contextlib
import math
from http import HTTPStatus

from flask import Response, url_for

from db import erase, galleries
from db.errors import JobNotFoundError
from db.session import Session, retried, transaction
from pipeline.specs import DEFAULT_ENGINE, engine_spec
from web.answers import answer
from web.batches import delete_job
from web.claims import kept
from web.conditions import expect, tagged
from web.openapi import GALLERIES, blueprint, problems
from web.paging import cursors, page_of
from web.schemas.base import GalleryPath, IfMatchHeader, IfNoneMatchHeader, NamedPageQuery
from web.schemas.people import GalleriesOut, GalleryIn, GalleryOut
from web.services import services

api = blueprint("galleries", __name__, GALLERIES)


@api.post("/galleries", responses={201: GalleryOut, **problems(400, 409, 415, 422, 503)})
def create_gallery(body: GalleryIn) -> Response:
    """Create a gallery, bound to one engine for good."""
    here = services()
    spec = engine_spec(body.engine) if body.engine else DEFAULT_ENGINE

    def work(session: Session) -> Response:
        made = galleries.create_gallery(session, here.tenant_id, name=body.name, spec=spec)
        location = url_for("galleries.read_gallery", gallery_id=made.id)
        response = tagged(GalleryOut.of(made), HTTPStatus.CREATED, Location=location)
        return kept(session, response)

    return retried(here.database, work)


@api.get("/galleries", responses={200: GalleriesOut, **problems(400, 422, 503)})
def list_galleries(query: NamedPageQuery) -> Response:
    """List galleries, the oldest first."""
    here = services()
    pages = cursors(here)
    with transaction(here.database) as session:
        found = galleries.list_galleries(
            session,
            here.tenant_id,
            name=query.name,
            after=pages.next_id(query.cursor),
            limit=query.limit + 1,
        )
    page, more = page_of(found, query.limit)
    return answer(
        GalleriesOut(
            galleries=[GalleryOut.of(one) for one in page],
            next_cursor=pages.behind(page[-1].id) if more else None,
        )
    )


@api.get(
    "/galleries/<uuid:gallery_id>", responses={200: GalleryOut, 304: None, **problems(404, 503)}
)
def read_gallery(path: GalleryPath, header: IfNoneMatchHeader) -> Response:  # noqa: ARG001 - described.
    """Read a gallery."""
    here = services()
    with transaction(here.database) as session:
        found = galleries.get_gallery(session, here.tenant_id, path.gallery_id)
    return tagged(GalleryOut.of(found))


@api.delete("/galleries/<uuid:gallery_id>", responses={204: None, **problems(404, 503)})
def delete_gallery(path: GalleryPath, header: IfMatchHeader) -> Response:  # noqa: ARG001 - described.
    """Delete a gallery with its subjects, its jobs and all photos that nothing else needs."""
    here = services()

    def check(session: Session) -> None:
        expect(
            lambda: GalleryOut.of(galleries.get_gallery(session, here.tenant_id, path.gallery_id))
        )

    with transaction(here.database) as session:
        # Once before anything goes, and once when nobody can change it any more.
        check(session)
        jobs = erase.jobs_of_gallery(session, here.tenant_id, path.gallery_id)
    for job_id in jobs:
        with contextlib.suppress(JobNotFoundError):  # Somebody else was just deleting it.
            delete_job(here, job_id, for_s=math.inf)
    retried(
        here.database,
        lambda session: erase.delete_gallery(
            session, here.tenant_id, path.gallery_id, check=lambda: check(session)
        ),
    )
    return Response(status=HTTPStatus.NO_CONTENT)
