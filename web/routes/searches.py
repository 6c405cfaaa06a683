"""Searches in a job: every photo of somebody, answered at once. Nothing of them is kept."""

from flask import Response, request

from db.job_search import BEGINNING, PLACE_BYTES, Place
from db.views import JobView
from web import searching
from web.accepting import received
from web.answers import answer
from web.openapi import JOBS, blueprint, problems, search_body
from web.paging import Cursors, cursors, page_of
from web.schemas.base import JobPath, PageQuery, as_json
from web.schemas.people import EngineOut
from web.schemas.results import WhoOut
from web.schemas.searches import FoundPhotoOut, PhotoSearchIn, SearchIn, SearchOut
from web.schemas.verifications import SeenFaceOut
from web.searching import Found, Probe
from web.services import Services, services
from web.thresholds import ThresholdOut

api = blueprint("searches", __name__, JOBS)
PHOTO = "photo"


@api.post(
    "/jobs/<uuid:job_id>/search",
    description="As multipart: a photo of somebody, whose largest face is searched for; it is "
    "deleted once it is answered. As JSON: a face of the job, or a subject of a gallery of the "
    "same engine. The job must have ended. For the next page, send the same again with `cursor`.",
    responses={200: SearchOut, **problems(400, 404, 409, 413, 415, 422, 503)},
    openapi_extensions={"requestBody": search_body()},
)
def search_job(path: JobPath, query: PageQuery) -> Response:
    """Find every photo of a job that shows somebody, the nearest first."""
    here = services()
    pages = cursors(here)
    place = pages.next_place(query.cursor, PLACE_BYTES)
    after = BEGINNING if place is None else Place.of(place)
    named = as_json(SearchIn, request.get_json()) if request.is_json else None
    job = searching.searchable_job(here, path.job_id)
    wanted, probe = _named(here, job, named) if named else _sent(here, job)
    found = searching.search(here, job, probe, wanted.wanted, after=after, limit=query.limit + 1)
    return answer(_out(job, probe, found, query.limit, pages))


def _named(here: Services, job: JobView, wanted: SearchIn) -> tuple[PhotoSearchIn, Probe]:
    if wanted.face is not None:
        return wanted, searching.face_probe(here, job, wanted.face)
    assert wanted.subject is not None  # noqa: S101 - or a face: see `SearchIn`.
    return wanted, searching.subject_probe(here, job, wanted.subject)


def _sent(here: Services, job: JobView) -> tuple[PhotoSearchIn, Probe]:
    with received(here, request, photo_field=PHOTO) as arrived:
        wanted = PhotoSearchIn.model_validate(arrived.options)
        look = searching.begin_look(here, job, arrived, wanted.wanted, field=PHOTO)
    return wanted, searching.seen_probe(here, look)


def _out(job: JobView, probe: Probe, found: Found, limit: int, pages: Cursors) -> SearchOut:
    page, more = page_of(found.photos, limit)
    whom = probe.subject
    return SearchOut(
        job=job.id,
        probe=SeenFaceOut.of(probe.face) if probe.face else None,
        subject=WhoOut(id=whom.id, name=whom.name) if whom else None,
        engine=EngineOut(name=job.engine, version=job.engine_version),
        faces=found.faces,
        threshold=ThresholdOut.of(found.threshold),
        photos=[FoundPhotoOut.of(one) for one in page],
        next_cursor=pages.behind(bytes(page[-1].place)) if more else None,
    )
