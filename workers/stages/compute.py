"""Compute: from claimed items to outcomes, with no transaction open while pixels are touched."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from db.extractions import load_extractions
from db.ledger import Claim
from db.record import EnrolFace, Outcome
from db.retry import retrying
from db.search import Near, nearest
from db.session import reading, transaction
from db.states import ItemState, JobKind, MultipleFaces
from pipeline.face_limits import FaceLimits
from pipeline.faces import Box, Face, PhotoFaces
from pipeline.nearest import Floats
from workers.context import WorkerContext
from workers.stages.extract import Extracted, Failure, PhotoId, extract
from workers.stages.lease import Lease


def compute(context: WorkerContext, claims: Sequence[Claim], lease: Lease) -> list[Outcome]:
    """One outcome for each claim whose photo was begun; raises what `extract` raises."""
    extracted = _extracted(context, claims, lease)
    lease.rest()
    outcomes = [
        replace(_outcome(claim, one.result), read=one.read)
        for claim, one in ((claim, extracted.get(claim.item_id)) for claim in claims)
        if one is not None
    ]
    return _with_candidates(context, outcomes, lease)


def _extracted(
    context: WorkerContext, claims: Sequence[Claim], lease: Lease
) -> dict[int, Extracted]:
    """The faces of each item's photo, or its error, by the item's id. Each photo is done once.

    Items are missing whose photos another worker searches, or were not begun before this one is to
    stop.
    """
    known = _known(context, claims)
    fresh: dict[PhotoId, Claim] = {}
    for claim in claims:
        if (claim.extraction_id or 0) not in known:
            fresh.setdefault(claim.photo_id, claim)
    by_photo = extract(context, fresh.values(), lease)
    found: dict[int, Extracted] = {}
    for claim in claims:
        if claim.extraction_id is not None and claim.extraction_id in known:
            found[claim.item_id] = Extracted(result=known[claim.extraction_id])
        elif claim.photo_id in by_photo:
            found[claim.item_id] = by_photo[claim.photo_id]
    return found


def _known(context: WorkerContext, claims: Iterable[Claim]) -> Mapping[int, PhotoFaces]:
    """Faces that an earlier job found, by the extraction's id."""
    wanted = {claim.extraction_id for claim in claims if claim.extraction_id is not None}
    if not wanted:
        return {}

    def load() -> Mapping[int, PhotoFaces]:
        with transaction(context.database) as session:
            return load_extractions(session, wanted)

    return retrying(load, for_s=context.settings.lease_s)


def _outcome(claim: Claim, extracted: PhotoFaces | Failure) -> Outcome:
    """How the item ends, before anybody is searched."""
    if not isinstance(extracted, PhotoFaces):
        return _failed(claim, extracted.code, extracted.detail)
    if claim.kind is JobKind.ENROL:
        return _enrolment(claim, extracted)
    if claim.kind is JobKind.VERIFY and claim.subject_id is None:
        # Never a search among the others: that is not what was asked.
        failed = _failed(claim, "subject_not_found", "the subject was deleted before the photo")
        return replace(failed, faces=extracted)
    seen = claim.limits.passing(extracted.faces)
    state = ItemState.DONE if seen else ItemState.NO_FACE
    return Outcome(claim=claim, state=state, faces=extracted)


def _enrolment(claim: Claim, extracted: PhotoFaces) -> Outcome:
    faces = extracted.faces
    if not faces:
        return Outcome(claim=claim, state=ItemState.NO_FACE, faces=extracted)
    seen = claim.limits.passing(faces)
    if not seen:
        return replace(
            _failed(claim, "quality_too_low", _what_is_wanting(claim.limits, faces)),
            faces=extracted,
        )
    if len(seen) > 1 and claim.multiple_faces is MultipleFaces.REFUSE:
        return replace(
            _failed(
                claim,
                "several_faces",
                f"the photo shows {len(seen)} faces; crop it to one, take the largest "
                "(multiple_faces), or pass over small and poor ones (min_face_px, min_quality)",
            ),
            faces=extracted,
        )
    largest = max(seen, key=lambda n: _area_px(faces[n].box))
    return Outcome(
        claim=claim,
        state=ItemState.DONE,
        faces=extracted,
        enrol=EnrolFace(ordinal=largest),
    )


def _what_is_wanting(limits: FaceLimits, faces: Sequence[Face]) -> str:
    """Why none of the faces passes, told of the one that the photo is most likely about."""
    largest = max(faces, key=lambda face: _area_px(face.box))
    which = "face" if len(faces) == 1 else f"largest of {len(faces)} faces"
    return f"the photo's {which} {limits.shortfall(largest.box, largest.quality)}"


def _failed(claim: Claim, code: str, detail: str) -> Outcome:
    return Outcome(claim=claim, state=ItemState.FAILED, error_code=code, error_detail=detail)


def _area_px(box: Box) -> int:
    return (box.right - box.left) * (box.bottom - box.top)


def _with_candidates(
    context: WorkerContext, outcomes: Sequence[Outcome], lease: Lease
) -> list[Outcome]:
    """Adds the nearest subjects of every face that counts: one search for all items of a job."""
    by_search: dict[tuple[uuid.UUID, uuid.UUID | None], list[int]] = defaultdict(list)
    for n, outcome in enumerate(outcomes):
        searches = outcome.claim.kind in {JobKind.IDENTIFY, JobKind.VERIFY}
        if searches and outcome.state is ItemState.DONE:
            by_search[outcome.claim.job_id, outcome.claim.subject_id].append(n)
    searched = list(outcomes)
    for positions in by_search.values():
        group = [outcomes[n] for n in positions]
        near = iter(_search(context, group, lease))
        for n, outcome in zip(positions, group, strict=True):
            faces, seen = outcome.faces.faces if outcome.faces else (), _seen(outcome)
            candidates = [tuple(next(near)) if face in seen else () for face in range(len(faces))]
            searched[n] = replace(outcome, candidates=tuple(candidates))
    return searched


def _seen(outcome: Outcome) -> list[int]:
    """The ordinals of the faces that count for the outcome's job."""
    return outcome.claim.limits.passing(outcome.faces.faces) if outcome.faces else []


def _search(context: WorkerContext, outcomes: Sequence[Outcome], lease: Lease) -> list[list[Near]]:
    """The nearest subjects of all faces that count of the outcomes, which share one job."""
    claim = outcomes[0].claim
    probes = [one.faces.faces[n].embedding for one in outcomes if one.faces for n in _seen(one)]
    if claim.gallery_id is None or not probes:
        return [[] for _ in probes]
    if claim.kind is JobKind.VERIFY:
        return _verified(context, claim, claim.gallery_id, probes)
    tenant_id, gallery_ids = claim.tenant_id, (claim.gallery_id, *claim.further_gallery_ids)
    _await_galleries(context, claim, gallery_ids, len(probes), lease)
    found: list[list[Near]] = []
    for some in context.searcher.portions(tenant_id, gallery_ids, probes):

        def search(some: Sequence[Floats] = some) -> list[list[Near]]:
            with reading(context.database) as session:
                return context.searcher.nearest(
                    session, tenant_id, gallery_ids, some, top_k=claim.top_k
                )

        found += retrying(search, for_s=context.settings.lease_s)
        lease.rest()
    return found


def _await_galleries(
    context: WorkerContext,
    claim: Claim,
    gallery_ids: Sequence[uuid.UUID],
    probes: int,
    lease: Lease,
) -> None:
    """Waits until large galleries are in memory, where that is sooner than to search without."""

    def prepare() -> bool:
        return context.searcher.prepare(
            claim.tenant_id, gallery_ids, probes=probes, wait_s=context.settings.lease_s / 8
        )

    while not retrying(prepare, for_s=context.settings.lease_s) and not context.slot.stopping:
        lease.rest()


def _verified(
    context: WorkerContext, claim: Claim, gallery_id: uuid.UUID, probes: Sequence[Floats]
) -> list[list[Near]]:
    """How near the probes are to the one subject in question."""

    def search() -> list[list[Near]]:
        with reading(context.database) as session:
            return nearest(
                session,
                claim.tenant_id,
                [gallery_id],
                probes,
                top_k=claim.top_k,
                subject_id=claim.subject_id,
            )

    return retrying(search, for_s=context.settings.lease_s)
