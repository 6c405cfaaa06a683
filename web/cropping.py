"""Faces that are cut out: a request asks for one, and waits until a worker has made it."""

import hashlib
import time
import uuid
from typing import Any

from db.crops.asking import GONE, CropView, WantedCrop, ask_for_crop, read_crop
from db.errors import (
    FaceNotFoundError,
    ObjectChangedError,
    ObjectMissingError,
    PhotoGoneError,
)
from db.job_faces import face_of_job
from db.retry import retrying
from db.session import transaction
from pipeline.cut import CROP_VERSION
from pipeline.errors import FaceBatchError
from web.errors import StillWorkingError, TooBusyError
from web.looking import refusal
from web.patience import patience
from web.services import Services
from web.waiting import FIRST_PAUSE_S, LONGEST_PAUSE_S

WAIT_S = 30
_GONE = (ObjectMissingError.code, ObjectChangedError.code)


def etag_of(wanted: WantedCrop) -> str:
    """The same for the same bytes: a face's photo never changes, nor how it is cut out."""
    parts = (CROP_VERSION, wanted.face_id, wanted.margin_percent, wanted.size_px)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def require_face(here: Services, job_id: uuid.UUID, face_id: int) -> None:
    """Raises `JobNotFoundError`, `FaceNotFoundError`."""
    with transaction(here.database) as session:
        face_of_job(session, here.tenant_id, job_id, face_id)


def cut_out(here: Services, wanted: WantedCrop) -> bytes:
    """The face as a JPEG. The caller has checked that the tenant has it.

    Raises `FaceNotFoundError` and `PhotoGoneError` where it is gone meanwhile, what the worker met,
    `TooBusyError` and `StillWorkingError`.
    """
    with transaction(here.database) as session:
        crop = ask_for_crop(session, here.tenant_id, wanted)
    if crop is None:
        raise TooBusyError("too many faces are being cut out right now; ask for this one again")
    if not crop.ended:
        crop = _waited_for(here, crop.id)
    if crop.data is not None:
        return crop.data
    if not crop.ended:
        raise StillWorkingError("the face is still being cut out; ask for it again")
    raise _failure(crop)


def _waited_for(here: Services, crop_id: uuid.UUID) -> CropView:
    """The crop as soon as it is made, or as it stands after `WAIT_S`."""
    with patience(WAIT_S) as wait_s, here.bell.of(crop_id) as rings:
        if not wait_s:
            raise TooBusyError("too many requests wait right now; ask for this face again")
        give_up_at = time.monotonic() + wait_s
        pause_s = FIRST_PAUSE_S
        while True:
            left_s = give_up_at - time.monotonic()
            crop = retrying(lambda: _read(here, crop_id), for_s=max(left_s, 0.0))
            left_s = give_up_at - time.monotonic()
            if crop.ended or left_s <= 0:
                return crop
            rings.wait(min(pause_s, left_s))
            rings.clear()
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def _read(here: Services, crop_id: uuid.UUID) -> CropView:
    with transaction(here.database) as session:
        crop = read_crop(session, here.tenant_id, crop_id)
    if crop is None:
        raise FaceNotFoundError(GONE)
    return crop


def _failure(crop: CropView) -> FaceBatchError:
    code, detail = crop.error_code or "", crop.error_detail or ""
    if code in _GONE:
        return PhotoGoneError("the photo is not in its bucket any more, or is another one by now")
    return refusal(code, detail)


def headers_of(wanted: WantedCrop) -> dict[str, Any]:
    """What a browser is to know: it may keep the picture, and asks each time whether it may still.

    Whoever deletes a photo wants nobody to see it from then on.
    """
    return {"ETag": f'"{etag_of(wanted)}"', "Cache-Control": "private, no-cache"}
