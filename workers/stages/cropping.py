"""Cutting a face out of its photo, for somebody who waits for it."""

import uuid
from collections.abc import Callable
from typing import TypeVar

import structlog

from db.crops.queue import (
    CropClaim,
    claim_crop,
    fail_crop,
    finish_crop,
    place_now,
    release_crop,
)
from db.errors import ObjectMissingError, UnavailableError
from db.places import PhotoPlace
from db.retry import retrying
from db.session import Session, transaction
from pipeline.crop import face_crop
from pipeline.errors import FaceBatchError, PhotoCrashedError
from workers.context import WorkerContext
from workers.stages.fetch import photo_bytes

log = structlog.get_logger()
T = TypeVar("T")
HAND_BACK_DELAY_S = 2.0
"""A store that was away for so long is given a moment before the next worker asks it."""


def make_crop(context: WorkerContext, crop_id: uuid.UUID) -> None:
    """Claims the crop and makes it.

    Where a store stays away, or the worker is to stop, it is handed back uncounted. A worker that
    dies leaves a lease that runs out; whoever waits asks again by then.
    """
    settings = context.settings
    try:
        claim = _committed(
            context,
            lambda session: claim_crop(
                session, crop_id, lease_s=settings.lease_s, max_attempts=settings.max_attempts
            ),
        )
        if claim is None:
            return  # Another worker got there first, or nobody wants it any more.
        if context.slot.stopping:
            _hand_back(context, claim, delay_s=0.0)
        else:
            _make(context, claim)
    except UnavailableError as exc:
        log.warning("crop_left", code=exc.code, crop_id=str(crop_id))
    finally:
        context.slot.rest()


def _make(context: WorkerContext, claim: CropClaim) -> None:
    try:
        made = _cut_out(context, claim)
    except UnavailableError as exc:
        log.warning("crop_handed_back", code=exc.code, crop_id=str(claim.id))
        _hand_back(context, claim, delay_s=HAND_BACK_DELAY_S)
    except Exception as exc:  # noqa: BLE001 - the border of one crop.
        error = _known(exc, claim)
        log.info("crop_failed", code=error.code, crop_id=str(claim.id))
        _committed(context, lambda session: fail_crop(session, claim, error))
    else:
        _committed(context, lambda session: finish_crop(session, claim, made))


def _cut_out(context: WorkerContext, claim: CropClaim) -> bytes:
    data = _read(context, claim)
    # From now on the process has the time of one lease, or is ended.
    context.slot.progress()
    made = face_crop(data, claim.cut, max_pixels=context.settings.max_pixels)
    context.slot.rest()
    return made


def _read(context: WorkerContext, claim: CropClaim) -> bytes:
    """The photo's bytes. One that is not in its place may just have been moved out of its zip."""
    place: PhotoPlace | None = claim.place
    while place is not None:
        try:
            return photo_bytes(context, place, claim.sha256)
        except ObjectMissingError:
            now = _committed(context, lambda session: place_now(session, claim))
            if now == place:
                raise
            place = now
    raise ObjectMissingError("the photo was deleted")


def _known(error: Exception, claim: CropClaim) -> FaceBatchError:
    if isinstance(error, FaceBatchError):
        return error
    log.error("crop_crashed", crop_id=str(claim.id), exc_info=error)
    return PhotoCrashedError("the face could not be cut out; the log has the cause")


def _hand_back(context: WorkerContext, claim: CropClaim, *, delay_s: float) -> None:
    _committed(context, lambda session: release_crop(session, claim, delay_s=delay_s))


def _committed(context: WorkerContext, work: Callable[[Session], T]) -> T:
    """What `work` returns, once it is committed, for as long as a lease lasts."""
    context.slot.rest()

    def commit() -> T:
        with transaction(context.database) as session:
            return work(session)

    return retrying(commit, for_s=context.settings.lease_s, give_up=lambda: context.slot.stopping)
