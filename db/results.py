"""Results of a job, photo by photo, by cursor."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from db.faces import box_of, quality_of
from db.models import Candidate, Embedding, Extraction, Face, Item, Job, Photo, Subject, Template
from db.views import CandidateView, FaceView, ItemView
from pipeline.face_limits import FaceLimits


def job_items(
    session: Session, tenant_id: int, job_id: uuid.UUID, *, after: int = 0, limit: int = 100
) -> list[ItemView]:
    """Items of the job in the order in which they were added, those behind `after`.

    Of the faces that a photo's extraction has for all jobs, each item has those that pass the
    limits of its own job: the ones that the worker counted and searched.
    The caller has checked that the tenant has the job.
    """
    query = _items().where(Item.tenant_id == tenant_id, Item.job_id == job_id, Item.id > after)
    rows = session.execute(query.order_by(Item.id).limit(limit)).all()
    limits = {
        row.Item: FaceLimits(min_face_px=row.min_face_px, min_quality=row.min_quality)
        for row in rows
    }
    faces = _faces(session, limits)
    return [_item_view(row, faces[row.Item.id]) for row in rows]


def _items() -> Select[*tuple[Any, ...]]:
    """Items, each with what `_item_view` tells of its photo and with its job's limits."""
    return (
        select(
            Item,
            Photo.sha256,
            Photo.size_bytes,
            Extraction.width_px,
            Extraction.height_px,
            Extraction.rotation,
            Job.min_face_px,
            Job.min_quality,
        )
        .join(Job, Job.id == Item.job_id)
        .outerjoin(Photo, Photo.id == Item.photo_id)
        .outerjoin(Extraction, Extraction.id == Item.extraction_id)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Faces:
    passing: tuple[FaceView, ...]
    left_out: int


def _item_view(row: Row[*tuple[Any, ...]], faces: _Faces) -> ItemView:
    item: Item = row.Item
    return ItemView(
        id=item.id,
        name=item.name,
        client_id=item.client_id,
        state=item.state,
        attempt=item.attempt,
        photo_id=item.photo_id,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        width_px=row.width_px,
        height_px=row.height_px,
        rotation=row.rotation,
        subject_id=item.subject_id,
        error_code=item.error_code,
        error_detail=item.error_detail,
        faces=faces.passing,
        faces_left_out=faces.left_out,
        finished_at=item.finished_at,
    )


def _faces(session: Session, items: Mapping[Item, FaceLimits]) -> dict[int, _Faces]:
    """The faces of each item, by the item's id."""
    by_extraction = defaultdict(list)
    for face in session.scalars(
        select(Face)
        .where(Face.extraction_id.in_({item.extraction_id for item in items}))
        .order_by(Face.extraction_id, Face.ordinal)
    ):
        by_extraction[face.extraction_id].append(face)
    candidates = _candidates(session, [item.id for item in items])
    enrolled = _enrolled(session, {item.subject_id for item in items})
    faces = {}
    for item, limits in items.items():
        found = [] if item.extraction_id is None else by_extraction[item.extraction_id]
        passing = [face for face in found if not limits.shortfall(box_of(face), quality_of(face))]
        views = (
            _face_view(
                face,
                candidates[item.id, face.id],
                enrolled=(item.subject_id, face.id) in enrolled,
            )
            for face in passing
        )
        faces[item.id] = _Faces(passing=tuple(views), left_out=len(found) - len(passing))
    return faces


def _candidates(
    session: Session, item_ids: Sequence[int]
) -> dict[tuple[int, int], list[CandidateView]]:
    """Candidates by item and face, nearest first; ranks close up where a subject was deleted."""
    found: dict[tuple[int, int], list[CandidateView]] = defaultdict(list)
    for candidate, subject in session.execute(
        select(Candidate, Subject)
        .join(Subject, Subject.id == Candidate.subject_id)
        .where(Candidate.item_id.in_(item_ids))
        .order_by(Candidate.item_id, Candidate.face_id, Candidate.rank)
    ):
        near = found[candidate.item_id, candidate.face_id]
        near.append(
            CandidateView(
                rank=len(near) + 1,
                gallery_id=subject.gallery_id,
                subject_id=subject.id,
                subject_number=subject.number,
                subject_name=subject.name,
                distance=candidate.distance,
            )
        )
    return found


def _enrolled(
    session: Session, subject_ids: Iterable[uuid.UUID | None]
) -> set[tuple[uuid.UUID | None, int]]:
    """Pairs of subject and face that are templates."""
    wanted = {subject_id for subject_id in subject_ids if subject_id is not None}
    if not wanted:
        return set()
    rows = session.execute(
        select(Template.subject_id, Embedding.face_id)
        .join(Embedding, Embedding.id == Template.embedding_id)
        .where(Template.subject_id.in_(wanted))
    )
    return {(subject_id, face_id) for subject_id, face_id in rows}


def _face_view(face: Face, candidates: Sequence[CandidateView], *, enrolled: bool) -> FaceView:
    flat = face.landmarks_px
    return FaceView(
        ordinal=face.ordinal,
        left_px=face.left_px,
        top_px=face.top_px,
        right_px=face.right_px,
        bottom_px=face.bottom_px,
        landmarks_px=tuple(zip(flat[::2], flat[1::2], strict=True)),
        score=face.score,
        quality=quality_of(face),
        candidates=tuple(candidates),
        enrolled=enrolled,
    )
