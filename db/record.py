"""Recording: what a worker found becomes rows, once, in one transaction."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ARRAY, BigInteger, Text, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.extracting import end_extracting
from db.failpoints import Failpoint, reached
from db.found import KnownExtraction, PhotoOfModel, extraction_ids, write_found
from db.hashes import ReadPhoto, drop_unread, write_hashes
from db.ledger import Claim
from db.models import Item, Subject, Template
from db.progress import count_ended, finish_if_complete
from db.search import Near
from db.states import ItemState
from db.subjects import insert_subject
from db.webhooks.events import Shown, matches_found
from pipeline.faces import PhotoFaces


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrolFace:
    """Which face of the photo becomes a template."""

    ordinal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one claimed item ended."""

    claim: Claim
    state: ItemState
    read: ReadPhoto | None = None
    """What reading the photo has shown of its file; None where its hash was known before."""
    faces: PhotoFaces | None = None
    """What the photo shows; None where it could not be read."""
    candidates: tuple[tuple[Near, ...], ...] = ()
    """For each face, the nearest subjects; empty where nothing was searched."""
    enrol: EnrolFace | None = None
    error_code: str | None = None
    error_detail: str | None = None


class LostClaimError(RuntimeError):
    """An item changed hands while its row was locked, which cannot be. Nothing is recorded."""


def record(session: Session, outcomes: Sequence[Outcome]) -> set[int]:
    """Writes the outcomes of the claims that still hold and returns their items' ids.

    Hashes that were read point items at the photo that the tenant has of these bytes. Faces and
    embeddings are written under unique keys, so a photo that another worker extracted meanwhile
    keeps that worker's rows. The item's end, its job's counter, an event for each subject that is
    watched and, with the job's last item, the completion event come in the same transaction, which
    the caller commits.

    Raises `ConflictingChangesError` where another worker has just read one of the photos.
    """
    held = _lock_held(session, [outcome.claim for outcome in outcomes])
    mine, others = _bound(session, [one for one in outcomes if one.claim.item_id in held])
    known = _extractions(session, mine)
    mine = [_enrolled(session, outcome, known) for outcome in mine]
    _add_candidates(session, mine, known)
    matches_found(session, _shown(mine))
    _end_items(session, mine, known)
    drop_unread(session, others)
    end_extracting(session, _searched(outcomes))
    _count(session, mine)
    reached(Failpoint.RECORD_UNCOMMITTED)
    return held


def _searched(outcomes: Sequence[Outcome]) -> list[tuple[bytes, Claim]]:
    """The hashes of photos that were searched for faces, or looked up."""
    hashes = (one.read.sha256 if one.read else one.claim.sha256 for one in outcomes)
    claims = (one.claim for one in outcomes)
    return [
        (sha256, claim)
        for sha256, claim in zip(hashes, claims, strict=True)
        if sha256 is not None and claim.extraction_id is None
    ]


_LOCK_HELD = text("""
    SELECT item.id
    FROM item
    JOIN unnest(:ids, :fences) AS mine (id, fence)
      ON item.id = mine.id AND item.fence = mine.fence AND item.state = 'running'
    ORDER BY item.id
    FOR UPDATE OF item
""").bindparams(
    bindparam("ids", type_=ARRAY(BigInteger)), bindparam("fences", type_=ARRAY(BigInteger))
)


def _lock_held(session: Session, claims: Iterable[Claim]) -> set[int]:
    held = sorted((one.item_id, one.fence) for one in claims)
    ids, fences = [one[0] for one in held], [one[1] for one in held]
    return set(session.scalars(_LOCK_HELD, {"ids": ids, "fences": fences}))


def _bound(
    session: Session, outcomes: Sequence[Outcome]
) -> tuple[list[Outcome], dict[uuid.UUID, uuid.UUID]]:
    """The outcomes, each of the photo that the tenant has of its bytes; it by the others' ids."""
    read: dict[int, dict[uuid.UUID, ReadPhoto]] = defaultdict(dict)
    for outcome in outcomes:
        if outcome.read is not None and outcome.claim.photo_id is not None:
            read[outcome.claim.tenant_id][outcome.claim.photo_id] = outcome.read
    photos: dict[uuid.UUID, uuid.UUID] = {}
    for tenant_id in sorted(read):
        photos |= write_hashes(session, tenant_id, read[tenant_id])
    others = {one: same for one, same in photos.items() if one != same}
    return [_pointed(outcome, others) for outcome in outcomes], others


def _pointed(outcome: Outcome, photos: Mapping[uuid.UUID, uuid.UUID]) -> Outcome:
    claim = outcome.claim
    if claim.photo_id is None or claim.photo_id not in photos:
        return outcome
    return replace(outcome, claim=replace(claim, photo_id=photos[claim.photo_id]))


def _key(claim: Claim) -> PhotoOfModel:
    assert claim.photo_id is not None  # noqa: S101 - faces come from photos.
    return claim.photo_id, claim.model_id


def _extractions(
    session: Session, outcomes: Sequence[Outcome]
) -> dict[PhotoOfModel, KnownExtraction]:
    """Writes the extractions that are new; returns all of them by photo and model."""
    seen = [outcome for outcome in outcomes if outcome.faces is not None]
    fresh = write_found(
        session,
        {
            _key(outcome.claim): outcome.faces
            for outcome in seen
            if outcome.faces is not None and outcome.claim.extraction_id is None
        },
    )
    others = [one for one in seen if _key(one.claim) not in fresh]
    return fresh | extraction_ids(
        session,
        [_key(one.claim) for one in others],
        with_faces=[_key(one.claim) for one in others if one.enrol or any(one.candidates)],
    )


def _enrolled(
    session: Session, outcome: Outcome, known: dict[PhotoOfModel, KnownExtraction]
) -> Outcome:
    """Makes the template that the outcome asks for; an outcome of failure where it can't."""
    if outcome.enrol is None or outcome.faces is None:
        return outcome
    claim = outcome.claim
    subject_id = _subject_for(session, claim)
    if subject_id is None:
        taken = claim.new_subject is not None
        return Outcome(
            claim=claim,
            state=ItemState.FAILED,
            faces=outcome.faces,
            error_code="duplicate_subject" if taken else "subject_not_found",
            error_detail="the gallery has a subject of this name"
            if taken
            else "the subject was deleted before the photo was enrolled",
        )
    _, embedding_id = known[_key(claim)].faces[outcome.enrol.ordinal]
    session.execute(
        insert(Template)
        .values(
            tenant_id=claim.tenant_id,
            gallery_id=claim.gallery_id,
            subject_id=subject_id,
            embedding_id=embedding_id,
            vector=outcome.faces.faces[outcome.enrol.ordinal].embedding,
        )
        .on_conflict_do_nothing(index_elements=["subject_id", "embedding_id"])
    )
    if claim.new_subject is not None:
        session.execute(update(Item).where(Item.id == claim.item_id).values(subject_id=subject_id))
    return outcome


def _subject_for(session: Session, claim: Claim) -> uuid.UUID | None:
    """The subject to enrol for, safe from deletion until the commit; None where there is none."""
    if claim.new_subject is not None and claim.gallery_id is not None:
        return insert_subject(session, claim.tenant_id, claim.gallery_id, name=claim.new_subject)
    query = select(Subject.id).where(
        Subject.tenant_id == claim.tenant_id, Subject.id == claim.subject_id
    )
    return session.scalars(query.with_for_update(read=True, key_share=True)).one_or_none()


_ADD_CANDIDATES = text("""
    INSERT INTO candidate (tenant_id, item_id, face_id, rank, subject_id, distance)
    SELECT subject.tenant_id, near.item_id, near.face_id, near.rank, subject.id, near.distance
    FROM unnest(:items, :faces, :ranks, CAST(CAST(:subjects AS text[]) AS uuid[]),
                CAST(:distances AS float8[]))
         AS near (item_id, face_id, rank, subject_id, distance)
    JOIN subject ON subject.id = near.subject_id
    ORDER BY subject.id
    FOR KEY SHARE OF subject
""").bindparams(
    *(bindparam(name, type_=ARRAY(BigInteger)) for name in ("items", "faces", "ranks")),
    bindparam("subjects", type_=ARRAY(Text)),
)


def _add_candidates(
    session: Session, outcomes: Sequence[Outcome], known: dict[PhotoOfModel, KnownExtraction]
) -> None:
    """Writes the candidates; those whose subject was deleted since the search are left out."""
    columns: dict[str, list[int | str | float]] = defaultdict(list)
    for outcome in outcomes:
        for ordinal, near in enumerate(outcome.candidates):
            for rank, candidate in enumerate(near, start=1):
                face_id, _ = known[_key(outcome.claim)].faces[ordinal]
                columns["items"].append(outcome.claim.item_id)
                columns["faces"].append(face_id)
                columns["ranks"].append(rank)
                columns["subjects"].append(str(candidate.subject_id))
                columns["distances"].append(candidate.distance)
    if columns:
        session.execute(_ADD_CANDIDATES, dict(columns))


def _shown(outcomes: Sequence[Outcome]) -> list[Shown]:
    """Whom the photos show: of each face the nearest, where it is near enough for its job."""
    return [
        Shown(job_id=one.claim.job_id, item_id=one.claim.item_id, subject_id=near[0].subject_id)
        for one in outcomes
        for near in one.candidates
        if near and near[0].distance <= one.claim.threshold_distance
    ]


_END_ITEMS = text("""
    UPDATE item
    SET state = ended.state, lease_until = NULL, photo_id = ended.photo_id,
        extraction_id = ended.extraction_id, error_code = ended.error_code,
        error_detail = ended.error_detail, finished_at = now()
    FROM unnest(CAST(:ids AS bigint[]), CAST(:fences AS bigint[]), CAST(:states AS text[]),
                CAST(CAST(:photos AS text[]) AS uuid[]), CAST(:extractions AS bigint[]),
                CAST(:codes AS text[]), CAST(:details AS text[]))
        AS ended (id, fence, state, photo_id, extraction_id, error_code, error_detail)
    WHERE item.id = ended.id AND item.fence = ended.fence AND item.state = 'running'
    RETURNING item.id
""")


def _end_items(
    session: Session, outcomes: Sequence[Outcome], known: dict[PhotoOfModel, KnownExtraction]
) -> None:
    if not outcomes:
        return
    claims = [outcome.claim for outcome in outcomes]
    values = {
        "ids": [claim.item_id for claim in claims],
        "fences": [claim.fence for claim in claims],
        "states": [outcome.state.value for outcome in outcomes],
        "photos": [str(claim.photo_id) if claim.photo_id else None for claim in claims],
        "extractions": [
            known[_key(one.claim)].extraction_id if one.faces else None for one in outcomes
        ],
        "codes": [outcome.error_code for outcome in outcomes],
        "details": [outcome.error_detail for outcome in outcomes],
    }
    ended = session.execute(_END_ITEMS, values).all()
    if len(ended) != len(outcomes):
        raise LostClaimError("an item was lost while it was locked")


def _count(session: Session, outcomes: Sequence[Outcome]) -> None:
    """Adds to the jobs' counters and ends the jobs that are complete."""
    by_job = Counter((outcome.claim.job_id, outcome.state) for outcome in outcomes)
    jobs = sorted({job_id for job_id, _ in by_job})
    for job_id in jobs:
        count_ended(
            session,
            job_id,
            done=by_job[job_id, ItemState.DONE],
            no_face=by_job[job_id, ItemState.NO_FACE],
            failed=by_job[job_id, ItemState.FAILED],
        )
    finish_if_complete(session, jobs)
