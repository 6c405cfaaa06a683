"""Recording: what a worker found becomes rows, once, in one transaction."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ARRAY, BigInteger, Text, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.faces import face_values
from db.failpoints import Failpoint, reached
from db.jobs import finish_if_complete
from db.ledger import Claim
from db.models import Embedding, Extraction, Face, Item, Job, Subject, Template
from db.search import Near
from db.states import ItemState
from db.subjects import insert_subject
from pipeline.faces import Face as FoundFace
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
    faces: PhotoFaces | None = None
    """What the photo shows; None where it could not be read."""
    candidates: tuple[tuple[Near, ...], ...] = ()
    """For each face, the nearest subjects; empty where nothing was searched."""
    enrol: EnrolFace | None = None
    error_code: str | None = None
    error_detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """An extraction's rows: the face and embedding ids by the face's ordinal."""

    extraction_id: int
    faces: dict[int, tuple[int, int]]


class LostClaimError(RuntimeError):
    """An item changed hands while its row was locked, which cannot be. Nothing is recorded."""


def record(session: Session, outcomes: Sequence[Outcome]) -> set[int]:
    """Writes the outcomes of the claims that still hold and returns their items' ids.

    Faces and embeddings are written under unique keys, so a photo that another worker extracted
    meanwhile keeps that worker's rows. The item's end, its job's counter and, with the job's last
    item, the completion event come in the same transaction, which the caller commits.
    """
    held = _lock_held(session, [outcome.claim for outcome in outcomes])
    mine = [outcome for outcome in outcomes if outcome.claim.item_id in held]
    known = _extractions(session, mine)
    mine = [_enrolled(session, outcome, known) for outcome in mine]
    _add_candidates(session, mine, known)
    _end_items(session, mine, known)
    _count(session, mine)
    reached(Failpoint.RECORD_UNCOMMITTED)
    return held


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


def _key(claim: Claim) -> tuple[uuid.UUID, int]:
    assert claim.photo_id is not None  # noqa: S101 - faces come from photos.
    return claim.photo_id, claim.model_id


def _extractions(
    session: Session, outcomes: Sequence[Outcome]
) -> dict[tuple[uuid.UUID, int], _Known]:
    """Writes the extractions that are new; returns all of them by photo and model."""
    with_faces = {_key(outcome.claim): outcome for outcome in outcomes if outcome.faces is not None}
    # In order of the photo, so that two workers with the same photos do not wait in a ring.
    for key in sorted(with_faces):
        _insert_extraction(session, with_faces[key])
    rows = session.execute(
        select(
            Extraction.photo_id,
            Extraction.model_id,
            Extraction.id,
            Face.ordinal,
            Face.id,
            Embedding.id,
        )
        .outerjoin(Face, Face.extraction_id == Extraction.id)
        .outerjoin(
            Embedding,
            (Embedding.face_id == Face.id) & (Embedding.model_id == Extraction.model_id),
        )
        .where(Extraction.photo_id.in_({photo_id for photo_id, _ in with_faces}))
    ).all()
    known: dict[tuple[uuid.UUID, int], _Known] = {}
    for photo_id, model_id, extraction_id, ordinal, face_id, embedding_id in rows:
        entry = known.setdefault(
            (photo_id, model_id), _Known(extraction_id=extraction_id, faces={})
        )
        if ordinal is not None:
            entry.faces[ordinal] = (face_id, embedding_id)
    return known


def _insert_extraction(session: Session, outcome: Outcome) -> None:
    claim, found = outcome.claim, outcome.faces
    if found is None or claim.extraction_id is not None:
        return
    extraction_id = session.scalars(
        insert(Extraction)
        .values(
            tenant_id=claim.tenant_id,
            photo_id=claim.photo_id,
            model_id=claim.model_id,
            width_px=found.width_px,
            height_px=found.height_px,
            rotation=found.rotation,
        )
        .on_conflict_do_nothing(index_elements=["photo_id", "model_id"])
        .returning(Extraction.id)
    ).one_or_none()
    # None: another worker extracted it first.
    if extraction_id is not None and found.faces:
        _insert_faces(session, claim, extraction_id, found.faces)


def _insert_faces(
    session: Session, claim: Claim, extraction_id: int, faces: Sequence[FoundFace]
) -> None:
    rows = [
        {
            "tenant_id": claim.tenant_id,
            "extraction_id": extraction_id,
            "ordinal": ordinal,
            **face_values(face),
        }
        for ordinal, face in enumerate(faces)
    ]
    face_ids = session.scalars(
        insert(Face).returning(Face.id, sort_by_parameter_order=True), rows
    ).all()
    session.execute(
        insert(Embedding),
        [
            {
                "tenant_id": claim.tenant_id,
                "face_id": face_id,
                "model_id": claim.model_id,
                "vector": face.embedding,
            }
            for face_id, face in zip(face_ids, faces, strict=True)
        ],
    )


def _enrolled(
    session: Session, outcome: Outcome, known: dict[tuple[uuid.UUID, int], _Known]
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
    session: Session, outcomes: Sequence[Outcome], known: dict[tuple[uuid.UUID, int], _Known]
) -> None:
    """Writes the candidates; those whose subject was deleted since the search are left out."""
    columns: dict[str, list[int | str | float]] = defaultdict(list)
    for outcome in outcomes:
        for ordinal, near in enumerate(outcome.candidates):
            face_id, _ = known[_key(outcome.claim)].faces[ordinal]
            for rank, candidate in enumerate(near, start=1):
                columns["items"].append(outcome.claim.item_id)
                columns["faces"].append(face_id)
                columns["ranks"].append(rank)
                columns["subjects"].append(str(candidate.subject_id))
                columns["distances"].append(candidate.distance)
    if columns:
        session.execute(_ADD_CANDIDATES, dict(columns))


def _end_items(
    session: Session, outcomes: Sequence[Outcome], known: dict[tuple[uuid.UUID, int], _Known]
) -> None:
    for outcome in outcomes:
        claim = outcome.claim
        ended = session.execute(
            update(Item)
            .where(
                Item.id == claim.item_id,
                Item.fence == claim.fence,
                Item.state == ItemState.RUNNING,
            )
            .values(
                state=outcome.state,
                lease_until=None,
                extraction_id=known[_key(claim)].extraction_id if outcome.faces else None,
                error_code=outcome.error_code,
                error_detail=outcome.error_detail,
                finished_at=func.now(),
            )
            .returning(Item.id)
        ).all()
        if len(ended) != 1:
            raise LostClaimError(f"item {claim.item_id} was lost while it was locked")


def _count(session: Session, outcomes: Sequence[Outcome]) -> None:
    """Adds to the jobs' counters and ends the jobs that are complete."""
    by_job = Counter((outcome.claim.job_id, outcome.state) for outcome in outcomes)
    jobs = sorted({job_id for job_id, _ in by_job})
    for job_id in jobs:
        session.execute(
            update(Job)
            .where(Job.id == job_id)
            .values(
                n_done=Job.n_done + by_job[job_id, ItemState.DONE],
                n_no_face=Job.n_no_face + by_job[job_id, ItemState.NO_FACE],
                n_failed=Job.n_failed + by_job[job_id, ItemState.FAILED],
            )
        )
    finish_if_complete(session, jobs)
