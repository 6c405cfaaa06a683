"""The classic endpoints: the bodies that clients of small synchronous face services know.

Behind them is the same ledger and queue; they wait for their job. The photo of a recognition is
deleted with its job once the answer is known: nobody could ask for either again. Where the process
dies before that, the reconciler deletes them a few minutes later.
"""

import uuid
from dataclasses import replace
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from flask import Response, jsonify, request

from db import galleries, subjects, tallies
from db.errors import DuplicateSubjectError, SubjectNotFoundError
from db.exports.lines import seen_face
from db.galleries import CLASSIC_GALLERY
from db.session import Session, reading, transaction
from db.states import JobKind, JobPriority
from db.subjects import DUPLICATE
from db.views import FaceView, ItemView, JobView, NewJob, SubjectView
from pipeline.specs import DEFAULT_ENGINE, EngineSpec, engine_spec
from pipeline.thresholds import (
    Threshold,
    WantedThreshold,
    checked_distance,
    current_spec,
    explained,
)
from web import health, verifying
from web.accepting import Received, received
from web.claims import begun, kept, resumes
from web.errors import InvalidRequestError
from web.looking import KEPT, answer_of, largest, look, looked_at, one_photo
from web.openapi import CLASSIC, PHOTO, blueprint, photos_body, problems
from web.schemas.classic_answers import (
    HealthOut,
    IndexOut,
    RecognizedOut,
    RegisteredOut,
    StatsOut,
    UnhealthyOut,
)
from web.schemas.jobs import DetectQuery, RecognizeQuery
from web.schemas.people import SubjectIn
from web.schemas.verifications import EngineWantedIn, VerifiedUserIn
from web.services import Services, services
from web.submitting import submit
from web.verifying import Verified

api = blueprint("classic", __name__, CLASSIC, prefix="")
IMAGE, REFERENCE = "image", "reference"
ENDPOINTS = {
    "GET /": "this list",
    "GET /health": "whether the service works",
    "GET /stats": "how many users are registered",
    "POST /register": "form fields 'name' and 'image': register a user",
    "POST /recognize": "form field 'image': who is this?",
    "POST /verify": "form fields 'image' and 'reference', or 'user_id': is this one person?",
    "POST /detect": "form field 'image': which faces are there?",
    "GET /live": "a page that shows who is before the camera",
    "GET /docs": "the whole API, to try",
    "GET /openapi.json": "the whole API, for machines",
    "POST /v1/jobs": "submit photos in bulk",
}


@api.get("/", responses={200: IndexOut})
def index() -> Response:
    """List the endpoints."""
    return jsonify(service="facebatch", version=version("facebatch"), endpoints=ENDPOINTS)


@api.get(
    "/health",
    responses={200: HealthOut, 503: UnhealthyOut},
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


@api.get("/stats", responses={200: StatsOut, **problems(503)})
def read_stats() -> Response:
    """Count the registered users."""
    here = services()
    gallery_id, spec = _gallery(here)
    with transaction(here.database) as session:
        total = tallies.count_subjects(session, here.tenant_id, [gallery_id])
    return jsonify(
        total_users=total,
        threshold=here.settings.classic_threshold,
        embedding_dimension=spec.dimension,
    )


@api.post(
    "/register",
    responses={200: RegisteredOut, **problems(400, 404, 409, 413, 415, 422, 503)},
    openapi_extensions={
        "requestBody": photos_body(field=IMAGE, name={"type": "string", "maxLength": 255})
    },
)
def register() -> Response:
    """Register a user: a name that nobody has yet, and a photo of one face."""
    here = services()
    gallery_id, _ = _gallery(here)
    with received(here, request, photo_field=IMAGE) as arrived:
        name = SubjectIn.model_validate(arrived.fields).name
        if _named(here, gallery_id, name):
            raise DuplicateSubjectError(DUPLICATE)
        photo = replace(one_photo(arrived.photos, IMAGE), new_subject=name)
        new = NewJob(
            kind=JobKind.ENROL,
            gallery_id=gallery_id,
            priority=JobPriority.INTERACTIVE,
            keep_for=KEPT,
        )
        photos = replace(arrived, photos=(photo,))
        job = submit(here, new, photos, noted=lambda session, job: begun(session, job.id))
    return _registered(here, job.id)


@resumes("classic.register")
def _registered(here: Services, job_id: uuid.UUID) -> Response:
    """The answer, once the job has registered the user."""
    gallery_id, spec = _gallery(here)

    def answered(session: Session, item: ItemView) -> Response | None:
        if item.subject_id is None:
            return None
        user = subjects.get_subject(session, here.tenant_id, gallery_id, item.subject_id)
        response = jsonify(
            status="success",
            message=f"User '{user.name}' registered successfully",
            user_id=user.number,
            name=user.name,
            embedding_dimension=spec.dimension,
        )
        return kept(session, response)

    response = answer_of(here, job_id, answered)
    if response is None:
        raise SubjectNotFoundError("the user was deleted at this very moment; register it again")
    return response


@api.post(
    "/recognize",
    responses={200: RecognizedOut, **problems(400, 404, 413, 415, 422, 503)},
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
        _no_fields(arrived)
        new = NewJob(
            kind=JobKind.IDENTIFY,
            gallery_id=gallery_id,
            priority=JobPriority.INTERACTIVE,
            threshold=wanted,
            top_k=1,
            keep_for=KEPT,
        )
        job = look(here, new, replace(arrived, photos=(one_photo(arrived.photos, IMAGE),)))
    item = looked_at(here, job.id)
    return jsonify(_recognized(largest(item), job.threshold, _advice(job)))


@api.post(
    "/verify",
    responses={200: {"description": "A match, or none."}, **problems(400, 404, 413, 415, 422, 503)},
    openapi_extensions={
        "requestBody": photos_body(
            field=IMAGE,
            reference=PHOTO,
            user_id={"type": "integer", "minimum": 1},
            subject={"type": "string", "format": "uuid"},
        )
    },
)
def verify(query: EngineWantedIn) -> Response:
    """Compare the largest face of a photo with that of another photo, or with a user."""
    here = services()
    names = (IMAGE, REFERENCE)
    with received(here, request, photo_field=IMAGE, reference_field=REFERENCE) as arrived:
        whom = _whom(here, VerifiedUserIn.model_validate(arrived.options))
        begun = verifying.begin(
            here, arrived, names=names, subject=whom, wanted=query.wanted, engine=query.engine
        )
    return jsonify(_verified(verifying.ended(here, begun)))


def _whom(here: Services, wanted: VerifiedUserIn) -> SubjectView | None:
    """The user or subject that a request names; None where it names nobody."""
    if wanted.user_id is not None and wanted.subject is not None:
        raise InvalidRequestError("user_id and subject exclude each other; give one of them")
    if wanted.user_id is not None:
        gallery_id, _ = _gallery(here)
        with transaction(here.database) as session:
            return subjects.numbered_subject(session, here.tenant_id, gallery_id, wanted.user_id)
    if wanted.subject is not None:
        with transaction(here.database) as session:
            return subjects.find_subject(session, here.tenant_id, wanted.subject)
    return None


def _verified(found: Verified) -> dict[str, Any]:
    whom, distance, threshold = found.subject, found.distance, found.threshold
    return {
        "status": "match" if found.match else "no_match",
        "message": "The faces are of one person" if found.match else "The faces do not match",
        # Null where the user has no template: there is nothing to measure a distance to.
        "distance": None if distance is None else round(distance, 4),
        "threshold": threshold.distance,
        "fmr": _three_digits(threshold.fmr),
        "fmr_basis": threshold.basis,
        "fnmr": _three_digits(threshold.fnmr),
        "advice": threshold.advice,
        "engine": found.job.engine,
        "face": seen_face(found.face),
        "reference": seen_face(found.reference) if found.reference else None,
        "subject": {"id": str(whom.id), "user_id": whom.number, "name": whom.name}
        if whom
        else None,
    }


@api.post(
    "/detect",
    responses={200: {"description": "The faces."}, **problems(400, 404, 413, 415, 422, 503)},
    openapi_extensions={"requestBody": photos_body(field=IMAGE)},
)
def detect(query: DetectQuery) -> Response:
    """Find the faces of a photo: where they are, and how good."""
    here = services()
    with received(here, request, photo_field=IMAGE) as arrived:
        _no_fields(arrived)
        new = NewJob(
            kind=JobKind.DETECT,
            gallery_id=None,
            priority=JobPriority.INTERACTIVE,
            limits=query.limits,
            engine=query.engine,
            keep_for=KEPT,
        )
        photo = one_photo(arrived.photos, IMAGE)
        job = look(here, new, replace(arrived, photos=(photo,)))
    item = looked_at(here, job.id, faceless=True)
    return jsonify(
        status="success",
        message=f"{len(item.faces)} face{'s'[: len(item.faces) != 1]} found",
        engine=job.engine,
        width=item.width_px,
        height=item.height_px,
        orientation=item.orientation,
        rotation=item.rotation,
        faces=[{"face": one.ordinal, **seen_face(one)} for one in item.faces],
        faces_left_out=item.faces_left_out,
    )


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


def _no_fields(arrived: Received) -> None:
    if arrived.fields:
        raise InvalidRequestError(f"no form field '{min(arrived.fields)}' is taken here")


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
    with reading(here.database) as session:
        found = galleries.named_gallery(session, here.tenant_id, CLASSIC_GALLERY)
    if found is None:
        with transaction(here.database) as session:
            gallery_id = galleries.ensure_gallery(
                session, here.tenant_id, name=CLASSIC_GALLERY, spec=DEFAULT_ENGINE
            )
            found = gallery_id, galleries.gallery_engine(session, here.tenant_id, gallery_id)[0]
    return found[0], engine_spec(found[1])


def _named(here: Services, gallery_id: uuid.UUID, name: str) -> list[SubjectView]:
    with transaction(here.database) as session:
        return subjects.list_subjects(session, here.tenant_id, gallery_id, name=name)
