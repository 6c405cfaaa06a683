"""Verifications: whether two faces are of one person, answered at once. Nothing is kept."""

from flask import Response, request

from db.session import transaction
from db.subjects import find_subject
from web import verifying
from web.accepting import received
from web.answers import answer
from web.openapi import VERIFICATIONS, blueprint, problems, verification_body
from web.schemas.base import as_json
from web.schemas.people import EngineOut
from web.schemas.results import WhoOut
from web.schemas.verifications import (
    PhotoVerificationIn,
    SeenFaceOut,
    VerificationIn,
    VerificationOut,
)
from web.services import services
from web.thresholds import ThresholdOut
from web.verifying import Verified

api = blueprint("verifications", __name__, VERIFICATIONS)
PHOTO, REFERENCE = "photo", "reference"


@api.post(
    "/verifications",
    description="As multipart: two photos, of each the largest face, or one and a `subject`; the "
    "photos are deleted once it is answered. As JSON: two faces of jobs, or one and a "
    "`subject`.",
    responses={200: VerificationOut, **problems(400, 404, 409, 413, 415, 422, 503)},
    openapi_extensions={"requestBody": verification_body()},
)
def create_verification() -> Response:
    """Say whether two faces are of one person."""
    here = services()
    if request.is_json:
        wanted = as_json(VerificationIn, request.get_json())
        return answer(_out(verifying.of_known_faces(here, wanted)))
    with received(here, request, photo_field=PHOTO, reference_field=REFERENCE) as arrived:
        fields = PhotoVerificationIn.model_validate(arrived.options)
        subject = None
        if fields.subject is not None:
            with transaction(here.database) as session:
                subject = find_subject(session, here.tenant_id, fields.subject)
        begun = verifying.begin(
            here,
            arrived,
            names=(PHOTO, REFERENCE),
            subject=subject,
            wanted=fields.wanted,
            engine=fields.engine,
        )
    return answer(_out(verifying.ended(here, begun)))


def _out(found: Verified) -> VerificationOut:
    whom = found.subject
    return VerificationOut(
        match=found.match,
        distance=found.distance,
        threshold=ThresholdOut.of(found.threshold),
        engine=EngineOut(name=found.job.engine, version=found.job.engine_version),
        face=SeenFaceOut.of(found.face),
        reference=SeenFaceOut.of(found.reference) if found.reference else None,
        subject=WhoOut(id=whom.id, name=whom.name) if whom else None,
    )
