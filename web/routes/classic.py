"""The classic endpoints: the bodies that clients of small synchronous face services know.

Behind them is the same ledger and queue; they wait for their job. The photo of a recognition is
deleted with its job once the answer is known: nobody could ask for either again. Where the process
dies before that, the reconciler deletes them a few minutes later.
"""

import datetime as dt
import uuid
from dataclasses import replace
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from flask import Response, jsonify, request
from flask_openapi3.blueprint import APIBlueprint

from db import control, erase, galleries, results, subjects
from db.errors import DuplicateSubjectError, SubjectNotFoundError
from db.galleries import CLASSIC_GALLERY
from db.retry import retrying
from db.session import transaction
from db.states import ItemState, JobKind, JobPriority
from db.subjects import DUPLICATE
from db.views import FaceView, ItemView, JobView, NewItem, NewJob, SubjectView
from pipeline.errors import FaceBatchError, FileTooLargeError, PhotoError
from pipeline.specs import DEFAULT_ENGINE, EngineSpec, engine_spec
from pipeline.thresholds import (
    Threshold,
    WantedThreshold,
    checked_distance,
    current_spec,
    explained,
)
from web import health
from web.accepting import Received, received
from web.errors import InvalidRequestError, StillWorkingError
from web.openapi import CLASSIC, photos_body, problems
from web.patience import patience
from web.schemas.jobs import RecognizeQuery
from web.schemas.people import SubjectIn
from web.services import Services, services
from web.submitting import submit
from web.waiting import MAX_WAIT_S, finished_job

api = APIBlueprint("classic", __name__, abp_tags=[CLASSIC])
IMAGE = "image"
KEPT = dt.timedelta(minutes=5)
"""Far longer than any answer takes; then a job whose request died is deleted."""
FAREWELL_S = 10.0
ENDPOINTS = {
    "GET /": "this list",
    "GET /health": "whether the service works",
    "GET /stats": "how many users are registered",
    "POST /register": "form fields 'name' and 'image': register a user",
    "POST /recognize": "form field 'image': who is this?",
    "GET /live": "a page that shows who is before the camera",
    "GET /docs": "the whole API, to try",
    "GET /openapi.json": "the whole API, for machines",
    "POST /v1/jobs": "submit photos in bulk",
}


class PhotoRefusedError(PhotoError):
    """The one photo of a request failed; its item's code is the answer's."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class NoFaceError(PhotoError):
    """The photo was read, and shows no face."""

    code = "no_face"


@api.get("/", responses={200: {"description": "The endpoints."}})
def index() -> Response:
    """List the endpoints."""
    return jsonify(service="facebatch", version=version("facebatch"), endpoints=ENDPOINTS)


@api.get(
    "/health",
    responses={
        200: {"description": "All parts answer."},
        503: {"description": "Some do not; `parts` says which."},
    },
)
def read_health() -> Response:
    """Say whether the service works."""
    here = services()
    parts = here.health.parts()
    healthy = set(parts.values()) == {health.CONNECTED}
    body: dict[str, Any] = {
        "status": "healthy" if healthy else "unhealthy",
        "database": parts["database"],
        "threshold": here.settings.classic_threshold,
        # The settings': a database that is away cannot be asked for the gallery's.
        "embedding_dimension": here.settings.embedding_dimension,
    }
    if healthy:
        return jsonify(body)
    response = jsonify({**body, "parts": parts})
    response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return response


@api.get("/stats", responses={200: {"description": "Counts."}, **problems(503)})
def read_stats() -> Response:
    """Count the registered users."""
    here = services()
    gallery_id, spec = _gallery(here)
    with transaction(here.database) as session:
        total = subjects.count_subjects(session, here.tenant_id, gallery_id)
    return jsonify(
        total_users=total,
        threshold=here.settings.classic_threshold,
        embedding_dimension=spec.dimension,
    )


@api.post(
    "/register",
    responses={200: {"description": "Registered."}, **problems(400, 409, 413, 415, 422, 503)},
    openapi_extensions={
        "requestBody": photos_body(field=IMAGE, name={"type": "string", "maxLength": 255})
    },
)
def register() -> Response:
    """Register a user: a name that nobody has yet, and a photo of one face."""
    here = services()
    gallery_id, spec = _gallery(here)
    with received(here, request, photo_field=IMAGE) as arrived:
        name = SubjectIn.model_validate(arrived.fields).name
        if _named(here, gallery_id, name):
            raise DuplicateSubjectError(DUPLICATE)
        photo = replace(_one_photo(arrived), new_subject=name)
        new = NewJob(
            kind=JobKind.ENROL,
            gallery_id=gallery_id,
            priority=JobPriority.INTERACTIVE,
            keep_for=KEPT,
        )
        job = submit(here, new, replace(arrived, photos=(photo,)))
    item = _ended_item(here, job.id)
    return jsonify(
        status="success",
        message=f"User '{name}' registered successfully",
        user_id=_number(here, gallery_id, item),
        name=name,
        embedding_dimension=spec.dimension,
    )


@api.post(
    "/recognize",
    responses={200: {"description": "A match, or none."}, **problems(400, 413, 415, 422, 503)},
    openapi_extensions={"requestBody": photos_body(field=IMAGE)},
)
def recognize(query: RecognizeQuery) -> Response:
    """Recognize the largest face of a photo among the registered users."""
    here = services()
    wished = here.settings.classic_threshold if query.threshold is None else query.threshold
    gallery_id, spec = _gallery(here)
    # Before the photo is read: a refusal needs none.
    wanted = WantedThreshold(distance=checked_distance(spec, wished))
    with received(here, request, photo_field=IMAGE) as arrived:
        if arrived.fields:
            raise InvalidRequestError(f"no form field '{min(arrived.fields)}' is taken here")
        new = NewJob(
            kind=JobKind.IDENTIFY,
            gallery_id=gallery_id,
            priority=JobPriority.INTERACTIVE,
            threshold=wanted,
            top_k=1,
            keep_for=KEPT,
        )
        job = submit(here, new, replace(arrived, photos=(_one_photo(arrived),)))
    face = max(_ended_item(here, job.id).faces, key=_area_px)
    return jsonify(_recognized(face, job.threshold, _advice(job)))


def _recognized(face: FaceView, threshold: Threshold, advice: str | None) -> dict[str, Any]:
    near = face.candidates[0] if face.candidates else None
    match = near if near and near.distance <= threshold.distance else None
    return {
        "status": "match" if match else "no_match",
        "message": f"Face recognized as '{match.subject_name}'"
        if match
        else "No matching face found",
        # Null where nobody is registered: there is nothing to measure a distance to.
        "distance": round(near.distance, 4) if near else None,
        "confidence": round(max(0.0, 1 - near.distance), 4) if near else None,
        "matched_user": {"id": match.subject_number, "name": match.subject_name} if match else None,
        "threshold": threshold.distance,
        "fmr": _three_digits(threshold.fmr),
        "fmr_basis": threshold.basis,
        "fpir": _three_digits(threshold.fpir),
        "fnmr": _three_digits(threshold.fnmr),
        "advice": advice,
    }


def _advice(job: JobView) -> str | None:
    """What the client can do where many are missed: it chooses a threshold here, and no engine."""
    spec = current_spec(job.engine, job.engine_version)
    known = explained(
        spec, distance=job.threshold_distance, subjects=job.gallery_subjects, engines=()
    )
    if known.advice is None:
        return None
    advice = f"{known.advice}; a larger threshold misses fewer, and matches more strangers"
    if (better := job.threshold.better_engine) is None:
        return advice
    return (
        f"{advice}; with the same FMR, a gallery of the engine {better} misses fewer: make it with "
        "POST /v1/galleries, and search it with POST /v1/jobs"
    )


def _three_digits(rate: float | None) -> float | None:
    return None if rate is None else float(f"{rate:.3g}")


def _gallery(here: Services) -> tuple[uuid.UUID, EngineSpec]:
    """Where the users are kept, made at the first call with the default engine of that time.

    With it comes its own engine, which is another one where the default has changed since.
    """
    with transaction(here.database) as session:
        gallery_id = galleries.ensure_gallery(
            session, here.tenant_id, name=CLASSIC_GALLERY, spec=DEFAULT_ENGINE
        )
        name = galleries.gallery_engine(session, here.tenant_id, gallery_id)
        return gallery_id, engine_spec(name)


def _named(here: Services, gallery_id: uuid.UUID, name: str) -> list[SubjectView]:
    with transaction(here.database) as session:
        return subjects.list_subjects(session, here.tenant_id, gallery_id, name=name)


def _one_photo(arrived: Received) -> NewItem:
    """The request's photo; raises where there are several, or where it was refused."""
    if len(arrived.photos) > 1:
        raise InvalidRequestError(f"send one photo as '{IMAGE}', not {len(arrived.photos)}")
    photo = arrived.photos[0]
    if photo.error_code:
        raise _refusal(photo.error_code, photo.error_detail or "")
    return photo


def _number(here: Services, gallery_id: uuid.UUID, item: ItemView) -> int:
    """The number of the subject that the item has made."""
    if item.subject_id is None:
        raise SubjectNotFoundError("the user was deleted at this very moment; register it again")
    with transaction(here.database) as session:
        return subjects.get_subject(session, here.tenant_id, gallery_id, item.subject_id).number


def _ended_item(here: Services, job_id: uuid.UUID) -> ItemView:
    """The job's one item with its faces; the job is deleted, whatever became of it.

    Raises what failed, `NoFaceError`, or `StillWorkingError` where it takes too long.
    """
    with patience(MAX_WAIT_S) as wait_s:
        finished_job(here, job_id, wait_s=wait_s)
    item = retrying(lambda: _taken_item(here, job_id), for_s=FAREWELL_S)
    if item.state is ItemState.CANCELLED:
        raise StillWorkingError("the answer takes too long; try again later")
    if item.error_code:
        raise _refusal(item.error_code, item.error_detail or "")
    if item.state is not ItemState.DONE:
        raise NoFaceError("no face was found in the photo; send one that shows a face clearly")
    return item


def _taken_item(here: Services, job_id: uuid.UUID) -> ItemView:
    """The item as it stands, with no way left for it to change, and its job deleted."""
    with transaction(here.database) as session:
        control.cancel_job(session, here.tenant_id, job_id)
        (item,) = results.job_items(session, here.tenant_id, job_id)
        erase.delete_job(session, here.tenant_id, job_id)
        return item


def _refusal(code: str, detail: str) -> FaceBatchError:
    if code == "several_faces":
        detail = "the photo shows several faces; crop it to one"
    for kind in (DuplicateSubjectError, FileTooLargeError):
        if kind.code == code:
            return kind(detail)
    return PhotoRefusedError(code, detail)


def _area_px(face: FaceView) -> int:
    return (face.right_px - face.left_px) * (face.bottom_px - face.top_px)
