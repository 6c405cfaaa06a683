"""Compute: from claimed items to outcomes, with no transaction open while pixels are touched."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import structlog

from db.errors import ObjectMissingError
from db.extractions import load_extractions
from db.ledger import Claim
from db.models import ItemState, JobKind, MultipleFaces
from db.record import EnrolFace, Outcome
from db.retry import retrying
from db.search import Near, nearest
from db.session import transaction
from pipeline.decode import decode
from pipeline.engine import EMBED_BATCH_CHIPS, Engine
from pipeline.errors import EngineUnknownError, FaceBatchError, PhotoError
from pipeline.faces import Box, DetectedPhoto, PhotoFaces
from pipeline.loader import load_engine
from pipeline.scene import ArrayScene
from workers.context import WorkerContext
from workers.stages.lease import Lease

log = structlog.get_logger()
PhotoId = uuid.UUID | None
"""None: the photo was deleted."""
Extracted = PhotoFaces | FaceBatchError
"""What a photo shows, or why that cannot be told."""


class PhotoDeletedError(PhotoError):
    """The photo was deleted before its turn came."""

    code = "photo_deleted"


class EngineVersionError(FaceBatchError):
    """The job was made for a version of the engine that this worker does not have."""

    code = "engine_version_unknown"


class PhotoCrashedError(PhotoError):
    """Computing this photo failed in a way that nobody foresaw."""

    code = "internal_error"


def compute(context: WorkerContext, claims: Sequence[Claim], lease: Lease) -> list[Outcome]:
    """One outcome for each claim; raises `UnavailableError` where a store stays away."""
    extracted = _extracted(context, claims, lease)
    lease.keep()
    outcomes = [_outcome(claim, extracted[claim.item_id]) for claim in claims]
    return _with_candidates(context, outcomes)


def _extracted(
    context: WorkerContext, claims: Sequence[Claim], lease: Lease
) -> dict[int, Extracted]:
    """The faces of each item's photo, or its error, by the item's id. Each photo is done once."""
    known = _known(context, claims)
    fresh: dict[PhotoId, Claim] = {}
    for claim in claims:
        if (claim.extraction_id or 0) not in known:
            fresh.setdefault(claim.photo_id, claim)
    by_photo = _extract(context, fresh.values(), lease)
    return {
        claim.item_id: known.get(claim.extraction_id or 0) or by_photo[claim.photo_id]
        for claim in claims
    }


def _known(context: WorkerContext, claims: Iterable[Claim]) -> Mapping[int, PhotoFaces]:
    """Faces that an earlier job found, by the extraction's id."""
    wanted = {claim.extraction_id for claim in claims if claim.extraction_id is not None}
    if not wanted:
        return {}

    def load() -> Mapping[int, PhotoFaces]:
        with transaction(context.database) as session:
            return load_extractions(session, wanted)

    return retrying(load, for_s=context.settings.lease_s)


def _extract(
    context: WorkerContext, claims: Iterable[Claim], lease: Lease
) -> dict[PhotoId, Extracted]:
    """Fetches, decodes and searches photo by photo, then embeds all their faces together."""
    found: dict[PhotoId, Extracted] = {}
    detected: dict[str, dict[PhotoId, DetectedPhoto]] = defaultdict(dict)
    for claim in claims:
        try:
            detected[claim.engine][claim.photo_id] = _detect(context, claim)
        except (PhotoError, ObjectMissingError, EngineUnknownError, EngineVersionError) as exc:
            found[claim.photo_id] = exc
        lease.keep()
    for name, photos in detected.items():
        for batch in _batches(photos):
            embedded = load_engine(name, context.settings.models_dir).embed(
                [photos[photo_id] for photo_id in batch]
            )
            found.update(zip(batch, embedded, strict=True))
            lease.keep()
    return found


def _batches(photos: Mapping[PhotoId, DetectedPhoto]) -> Iterator[list[PhotoId]]:
    """Photos whose faces fill a batch of the embedder's.

    All of a chunk's faces together may take longer than a lease, where the photos show crowds.
    """
    batch: list[PhotoId] = []
    faces = 0
    for photo_id, photo in photos.items():
        batch.append(photo_id)
        faces += len(photo.faces)
        if faces >= EMBED_BATCH_CHIPS:
            yield batch
            batch, faces = [], 0
    if batch:
        yield batch


def _detect(context: WorkerContext, claim: Claim) -> DetectedPhoto:
    engine = _engine(context, claim)
    key = claim.object_key
    if key is None:
        raise PhotoDeletedError("the photo was deleted before its turn came")
    # A bucket that hangs fails at its own pace: with one more try the lease would be gone.
    data = retrying(lambda: context.store.get(key), for_s=context.settings.lease_s / 4)
    try:
        return engine.detect(ArrayScene(decode(data, max_pixels=context.settings.max_pixels)))
    except FaceBatchError:
        raise
    except Exception as exc:  # The border of one photo: it must not take its neighbours along.
        log.exception("photo_crashed", item_id=claim.item_id)
        raise PhotoCrashedError("the photo could not be computed; the log has the cause") from exc


def _engine(context: WorkerContext, claim: Claim) -> Engine:
    engine = load_engine(claim.engine, context.settings.models_dir)
    if engine.spec.version != claim.engine_version:
        raise EngineVersionError(
            f"the job needs version {claim.engine_version} of the engine {claim.engine}, and the "
            f"workers have version {engine.spec.version}; submit it to a gallery of that version"
        )
    return engine


def _outcome(claim: Claim, extracted: Extracted) -> Outcome:
    """How the item ends, before anybody is searched."""
    if not isinstance(extracted, PhotoFaces):
        return _failed(claim, extracted.code, str(extracted))
    if claim.kind is JobKind.ENROL:
        return _enrolment(claim, extracted)
    if claim.kind is JobKind.VERIFY and claim.subject_id is None:
        # Never a search among the others: that is not what was asked.
        failed = _failed(claim, "subject_not_found", "the subject was deleted before the photo")
        return replace(failed, faces=extracted)
    state = ItemState.DONE if extracted.faces else ItemState.NO_FACE
    return Outcome(claim=claim, state=state, faces=extracted)


def _enrolment(claim: Claim, extracted: PhotoFaces) -> Outcome:
    faces = extracted.faces
    if not faces:
        return Outcome(claim=claim, state=ItemState.NO_FACE, faces=extracted)
    if len(faces) > 1 and claim.multiple_faces is MultipleFaces.REFUSE:
        return replace(
            _failed(
                claim,
                "several_faces",
                f"the photo shows {len(faces)} faces; crop it to one, or ask for the largest",
            ),
            faces=extracted,
        )
    largest = max(range(len(faces)), key=lambda n: _area_px(faces[n].box))
    return Outcome(
        claim=claim,
        state=ItemState.DONE,
        faces=extracted,
        enrol=EnrolFace(ordinal=largest),
    )


def _failed(claim: Claim, code: str, detail: str) -> Outcome:
    return Outcome(claim=claim, state=ItemState.FAILED, error_code=code, error_detail=detail)


def _area_px(box: Box) -> int:
    return (box.right - box.left) * (box.bottom - box.top)


def _with_candidates(context: WorkerContext, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Adds the nearest subjects of every face: one search for all items of a job."""
    by_search: dict[tuple[uuid.UUID, uuid.UUID | None], list[int]] = defaultdict(list)
    for n, outcome in enumerate(outcomes):
        searches = outcome.claim.kind in {JobKind.IDENTIFY, JobKind.VERIFY}
        if searches and outcome.state is ItemState.DONE:
            by_search[outcome.claim.job_id, outcome.claim.subject_id].append(n)
    searched = list(outcomes)
    for positions in by_search.values():
        group = [outcomes[n] for n in positions]
        near = iter(_search(context, group))
        for n, outcome in zip(positions, group, strict=True):
            faces = outcome.faces.faces if outcome.faces else ()
            searched[n] = replace(outcome, candidates=tuple(tuple(next(near)) for _ in faces))
    return searched


def _search(context: WorkerContext, outcomes: Sequence[Outcome]) -> list[list[Near]]:
    """The nearest subjects of all faces of the outcomes, which share one job."""
    claim = outcomes[0].claim
    probes = [face.embedding for one in outcomes if one.faces for face in one.faces.faces]
    gallery_id = claim.gallery_id
    if gallery_id is None or not probes:
        return [[] for _ in probes]

    def search() -> list[list[Near]]:
        with transaction(context.database) as session:
            return nearest(
                session,
                claim.tenant_id,
                gallery_id,
                probes,
                top_k=claim.top_k,
                subject_id=claim.subject_id if claim.kind is JobKind.VERIFY else None,
            )

    return retrying(search, for_s=context.settings.lease_s)
