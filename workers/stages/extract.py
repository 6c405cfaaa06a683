"""Extraction: from claimed photos in the bucket to their faces with embeddings.

One thread computes. The next photos are fetched, and decoded where they are not large, by threads
of their own: both happen outside Python's lock, and a bucket far away costs no time.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from traceback import clear_frames
from typing import Self, TypeVar

import structlog

from db.errors import ObjectMissingError
from db.ledger import Claim
from db.retry import retrying
from pipeline.batching import EmbedBatches, embed_each
from pipeline.engine import Engine
from pipeline.errors import (
    EngineUnknownError,
    FaceBatchError,
    ModelFileError,
    PhotoCrashedError,
    PhotoError,
)
from pipeline.faces import DetectedPhoto, PhotoFaces
from pipeline.loader import load_engine
from pipeline.photo import Photo
from workers.context import WorkerContext
from workers.stages.ahead import ahead
from workers.stages.lease import Lease

log = structlog.get_logger()
PhotoId = uuid.UUID | None
"""None: the photo was deleted."""

Made = TypeVar("Made")

PHOTOS_AHEAD = 2
DECODED_AHEAD_MAX_PIXELS = 12_000_000
"""A larger photo is decoded when its turn comes: two of 100 megapixels would not fit."""


class PhotoDeletedError(PhotoError):
    """The photo was deleted before its turn came."""

    code = "photo_deleted"


class EngineVersionError(FaceBatchError):
    """The job was made for a version of the engine that this worker does not have."""

    code = "engine_version_unknown"


_ENDS_A_PHOTO = (
    *(PhotoError, ObjectMissingError),
    *(EngineUnknownError, EngineVersionError, ModelFileError),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a photo has no result. The error itself would keep the photo's pixels in memory."""

    code: str
    detail: str

    @classmethod
    def of(cls, error: FaceBatchError) -> Self:
        """What is kept of `error`, whose traceback is emptied: it holds all that was decoded."""
        clear_frames(error.__traceback__)
        return cls(code=error.code, detail=str(error))


Extracted = PhotoFaces | Failure
"""What a photo shows, or why that cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    claim: Claim
    engine: Engine


_Batch = Sequence[tuple[_Task, DetectedPhoto]]
"""Photos of one engine, to be embedded together."""


def extract(
    context: WorkerContext, claims: Iterable[Claim], lease: Lease
) -> dict[PhotoId, Extracted]:
    """The faces of each claim's photo, or its error, by the photo's id.

    Raises `UnavailableError` where a store stays away, and `ModelCacheError` where there is no room
    for an engine's models.
    """
    found: dict[PhotoId, Extracted] = {}
    tasks = list(_tasks(context, claims, found))
    batches = {task.engine.spec.name: EmbedBatches[_Task]() for task in tasks}
    with closing(ahead(lambda task: _fetched(context, task), tasks, depth=PHOTOS_AHEAD)) as photos:
        for task, photo in photos:
            try:
                detected = _detected(task, photo)
            except _ENDS_A_PHOTO as exc:
                found[task.claim.photo_id] = Failure.of(exc)
            else:
                full = batches[task.engine.spec.name].add(task, detected)
                found.update(_embedded(full))
            lease.keep()
    for batch in batches.values():
        found.update(_embedded(batch.rest()))
        lease.keep()
    return found


def _tasks(
    context: WorkerContext, claims: Iterable[Claim], found: dict[PhotoId, Extracted]
) -> Iterator[_Task]:
    """The claims with their engines; what cannot be begun goes to `found` at once."""
    for claim in claims:
        try:
            if claim.object_key is None:
                raise PhotoDeletedError("the photo was deleted before its turn came")
            yield _Task(claim=claim, engine=_engine(context, claim))
        except _ENDS_A_PHOTO as exc:
            found[claim.photo_id] = Failure.of(exc)


def _engine(context: WorkerContext, claim: Claim) -> Engine:
    engine = load_engine(claim.engine, context.settings.models_dir)
    if engine.spec.version != claim.engine_version:
        raise EngineVersionError(
            f"the job needs version {claim.engine_version} of the engine {claim.engine}, and the "
            f"workers have version {engine.spec.version}; submit it to a gallery of that version"
        )
    return engine


def _fetched(context: WorkerContext, task: _Task) -> Photo:
    """The photo, opened, and decoded where it is not large. Runs in a thread of `ahead`."""
    key = task.claim.object_key or ""
    # A bucket that hangs fails at its own pace: with one more try the lease would be gone.
    data = retrying(lambda: context.store.get(key), for_s=context.settings.lease_s / 4)
    return _guarded(task, lambda: _opened(context, task, data))


def _opened(context: WorkerContext, task: _Task, data: bytes) -> Photo:
    photo = task.engine.open(data, max_pixels=context.settings.max_pixels)
    if photo.width_px * photo.height_px <= DECODED_AHEAD_MAX_PIXELS:
        task.engine.look(photo)
    return photo


def _detected(task: _Task, fetched: Future[Photo]) -> DetectedPhoto:
    photo = fetched.result()
    detected = _guarded(task, lambda: task.engine.detect(photo))
    photo.release()
    return detected


def _embedded(batch: _Batch) -> Iterator[tuple[PhotoId, Extracted]]:
    if not batch:
        return
    each = embed_each(batch[0][0].engine, [photo for _, photo in batch])
    for (task, _), faces in zip(batch, each, strict=True):
        if isinstance(faces, Exception):
            yield task.claim.photo_id, Failure.of(_crashed(task, faces))
        else:
            yield task.claim.photo_id, faces


def _guarded(task: _Task, make: Callable[[], Made]) -> Made:
    """The border of one photo: it must not take its neighbours along."""
    try:
        return make()
    except FaceBatchError:
        raise
    except Exception as exc:
        raise _crashed(task, exc) from exc


def _crashed(task: _Task, error: Exception) -> PhotoCrashedError:
    log.error("photo_crashed", item_id=task.claim.item_id, exc_info=error)
    return PhotoCrashedError("the photo could not be computed; the log has the cause")
