"""Faces of a job, cut out of their photos."""

from http import HTTPStatus

from flask import Response, request

from db.crops.asking import WantedCrop
from web import cropping
from web.openapi import JOBS, blueprint, problems
from web.schemas.crops import CropQuery, FacePath
from web.services import services

api = blueprint("crops", __name__, JOBS)
JPEG = {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}


@api.get(
    "/jobs/<uuid:job_id>/faces/<int:face_id>/crop",
    description="Upright, as a JPEG in sRGB without EXIF data or any other metadata. With "
    "`If-None-Match`, 304 where the client has it already.",
    responses={
        200: JPEG,
        304: {"description": "As the client has it."},
        **problems(404, 422, 503),
    },
)
def read_crop(path: FacePath, query: CropQuery) -> Response:
    """Read a face, cut out of its photo."""
    here = services()
    wanted = WantedCrop(
        face_id=path.face_id, margin_percent=round(100 * query.margin), size_px=query.size
    )
    # First of all: nobody is told of a face that they do not have, or not any more.
    cropping.require_face(here, path.job_id, path.face_id)
    headers = cropping.headers_of(wanted)
    if request.if_none_match.contains_weak(cropping.etag_of(wanted)):
        return Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(cropping.cut_out(here, wanted), content_type="image/jpeg", headers=headers)
