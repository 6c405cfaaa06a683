"""Extraction: from claimed photos in the bucket to their faces with embeddings.

One thread computes. The next photos are fetched, and decoded where they are not large, by threads
of their own: both happen outside Python's lock.
"""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from traceback import clear_frames
from typing import Self, TypeVar

import structlog

from db.hashes import ReadPhoto
from db.ledger import Claim
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
from workers.stages.fetch import Fetched, fetch, fetching, groups
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What a photo shows, or why that cannot be told."""

    result: PhotoFaces | Failure
    read: ReadPhoto | None = None
    """The photo's hash, where nobody knew it before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    claim: Claim
    engine: Engine
    data: bytes


_Batch = Sequence[tuple[_Task, DetectedPhoto]]
"""Photos of one engine, to be embedded together."""


def extract(
    context: WorkerContext, claims: Iterable[Claim], lease: Lease
) -> dict[PhotoId, Extracted]:
    """The faces of each claim's photo, or its error, by the photo's id.

    Photos are missing that another worker searches at this moment, and where this one is to stop,
    those that were not begun.

    Raises `UnavailableError` where a store stays away, and `ModelCacheError` where there is no room
    for an engine's models.
    """
    alike: dict[tuple[int, int], list[Claim]] = defaultdict(list)
    for claim in claims:
        alike[claim.tenant_id, claim.model_id].append(claim)
    found: dict[PhotoId, Extracted] = {}
    for some in alike.values():
        found |= _Extraction(context, some[0], lease).of(some)
    return found


class _Extraction:
    """The photos of one tenant's claims that have one engine."""

    def __init__(self, context: WorkerContext, claim: Claim, lease: Lease) -> None:
        self._context = context
        self._claim = claim
        self._lease = lease
        self._found: dict[PhotoId, PhotoFaces | Failure] = {}
        self._reads: dict[PhotoId, ReadPhoto] = {}
        self._first: dict[bytes, PhotoId] = {}
        """By the hash, which of the photos that nobody had read is searched for all of them."""

    def of(self, claims: Sequence[Claim]) -> dict[PhotoId, Extracted]:
        """The faces of each photo, or its error, by the photo's id."""
        there = [claim for claim in claims if claim.place is not None]
        for claim in claims:
            if claim.place is None:
                self._found[claim.photo_id] = Failure.of(
                    PhotoDeletedError("the photo was deleted before its turn came")
                )
        try:
            self._search(there, _engine(self._context, self._claim))
        except (EngineUnknownError, EngineVersionError, ModelFileError) as exc:
            self._found |= {claim.photo_id: Failure.of(exc) for claim in there}
        extracted = {claim.photo_id: self._extracted(claim.photo_id) for claim in claims}
        return {photo_id: one for photo_id, one in extracted.items() if one is not None}

    def _extracted(self, photo_id: PhotoId) -> Extracted | None:
        read = self._reads.get(photo_id)
        first = self._first.get(read.sha256, photo_id) if read else photo_id
        result = self._found.get(first)
        return None if result is None else Extracted(result=result, read=read)

    def _search(self, claims: Sequence[Claim], engine: Engine) -> None:
        batch = EmbedBatches[_Task]()
        mine = [claim.item_id for claim in claims]
        if not self._lease.keep():
            return
        with (
            fetching() as pool,
            closing(
                ahead(
                    lambda some: fetch(self._context, pool, some, mine=mine),
                    groups(claims),
                    depth=1,
                )
            ) as fetched,
            # Where a store is away, what is under way ends at its pace: no want of progress.
            _at_the_end(self._lease.rest),
            closing(
                ahead(self._decoded, self._unknown(fetched, engine), depth=PHOTOS_AHEAD)
            ) as photos,
        ):
            for task, photo in photos:
                try:
                    detected = _detected(task, photo)
                except PhotoError as exc:
                    self._found[task.claim.photo_id] = Failure.of(exc)
                else:
                    self._found.update(_embedded(batch.add(task, detected)))
                if not self._lease.keep():
                    break
        self._lease.keep()
        self._found.update(_embedded(batch.rest()))

    def _unknown(
        self,
        fetched: Iterable[tuple[Sequence[Claim], Future[list[Fetched]]]],
        engine: Engine,
    ) -> Iterator[_Task]:
        """The photos that must be searched; of the others, what is known goes to its place."""
        for _, group in fetched:
            if not self._is_there(group):
                return
            for one in group.result():
                photo_id = one.claim.photo_id
                if one.read is not None:
                    self._reads[photo_id] = one.read
                    if self._first.setdefault(one.read.sha256, photo_id) != photo_id:
                        continue
                if isinstance(one.data, FaceBatchError):
                    self._found[photo_id] = Failure.of(one.data)
                elif one.known is not None:
                    self._found[photo_id] = one.known
                else:
                    yield _Task(claim=one.claim, engine=engine, data=one.data)

    def _is_there(self, group: Future[list[Fetched]]) -> bool:
        """Waits for what is fetched; False where this worker is to stop.

        Stores may be long in answering, which is no want of progress. It is told again and again,
        not once: a photo that holds Python's lock meanwhile must be noticed.
        """
        while not group.done():
            wait([group], timeout=self._context.settings.lease_s / 4)
            if not self._lease.keep():
                return False
        return True

    def _decoded(self, task: _Task) -> Photo:
        """The photo, opened, and decoded where it is not large. Runs in a thread of `ahead`."""
        return _guarded(task, lambda: _opened(self._context, task))


@contextmanager
def _at_the_end(call: Callable[[], None]) -> Iterator[None]:
    try:
        yield
    finally:
        call()


def _engine(context: WorkerContext, claim: Claim) -> Engine:
    engine = load_engine(claim.engine, context.settings.models_dir)
    if engine.spec.version != claim.engine_version:
        raise EngineVersionError(
            f"the job needs version {claim.engine_version} of the engine {claim.engine}, and the "
            f"workers have version {engine.spec.version}; submit it to a gallery of that version"
        )
    return engine


def _opened(context: WorkerContext, task: _Task) -> Photo:
    photo = task.engine.open(task.data, max_pixels=context.settings.max_pixels)
    if photo.width_px * photo.height_px <= DECODED_AHEAD_MAX_PIXELS:
        task.engine.look(photo)
    return photo


def _detected(task: _Task, fetched: Future[Photo]) -> DetectedPhoto:
    photo = fetched.result()
    detected = _guarded(task, lambda: task.engine.detect(photo))
    photo.release()
    return detected


def _embedded(batch: _Batch) -> Iterator[tuple[PhotoId, PhotoFaces | Failure]]:
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
