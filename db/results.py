"""Results of a job, photo by photo, by cursor: few statements a page, however long it is."""

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from sqlalchemy import ARRAY, BigInteger, Row, any_, func, literal, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from db.faces import box_of, quality_of
from db.models import Candidate, Embedding, Extraction, Face, Item, Job, Photo, Subject, Template
from db.states import Decision, JobKind
from db.views import CandidateView, FaceView, ItemView
from pipeline.face_limits import FaceLimits

_Row = Row[*tuple[Any, ...]]
_SEARCHING = (JobKind.IDENTIFY, JobKind.VERIFY)
_Candidates = Mapping[tuple[int, int], Sequence[CandidateView]]
# Plain columns: to make objects of rows would cost more than the statements do.
_ITEM = (
    Item.id,
    Item.name,
    Item.client_id,
    Item.source_key,
    Item.state,
    Item.attempt,
    Item.photo_id,
    Item.subject_id,
    Item.error_code,
    Item.error_detail,
    Item.finished_at,
    Item.extraction_id,
    Photo.sha256,
    func.nullif(Photo.size_bytes, 0).label("size_bytes"),
    Extraction.taken_at,
    Extraction.width_px,
    Extraction.height_px,
    Extraction.orientation,
    Extraction.rotation,
)
_RULES = (Job.kind, Job.min_face_px, Job.min_quality, Job.threshold_distance)
_OF_VIEW = [column.key for column in _ITEM if column.key != "extraction_id"]
_FACE = (
    *(Face.id, Face.extraction_id, Face.ordinal),
    *(Face.left_px, Face.top_px, Face.right_px, Face.bottom_px),
    *(Face.landmarks_px, Face.score, Face.quality, Face.quality_limit, Face.sharpness),
    *(Face.width_px, Face.yaw, Face.pitch, Face.roll),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """What of its job decides about a face."""

    limits: FaceLimits
    searching: bool
    threshold_distance: float

    @classmethod
    def of(cls, job: _Row) -> Self:
        """What the columns `_RULES` say."""
        return cls(
            limits=FaceLimits(min_face_px=job.min_face_px, min_quality=job.min_quality),
            searching=job.kind in _SEARCHING,
            threshold_distance=job.threshold_distance,
        )

    def passes(self, face: _Row) -> bool:
        return not self.limits.shortfall(box_of(face), quality_of(face))

    def decision(self, candidates: Sequence[CandidateView]) -> Decision:
        if not self.searching:
            return Decision.NOT_SEARCHED
        if not candidates:
            return Decision.NO_CANDIDATE
        near_enough = candidates[0].distance <= self.threshold_distance
        return Decision.MATCH if near_enough else Decision.ABOVE_THRESHOLD


def job_items(
    session: Session, tenant_id: int, job_id: uuid.UUID, *, after: int = 0, limit: int = 100
) -> list[ItemView]:
    """Items of the job in the order in which they were added, those behind `after`.

    Of the faces that a photo's extraction has for all jobs, each item has those that pass the
    limits of its own job: the ones that the worker counted and searched.
    The caller has checked that the tenant has the job.
    """
    rows = session.execute(
        select(*_ITEM, *_RULES)
        .join(Job, Job.id == Item.job_id)
        .outerjoin(Photo, Photo.id == Item.photo_id)
        .outerjoin(Extraction, Extraction.id == Item.extraction_id)
        .where(Item.tenant_id == tenant_id, Item.job_id == job_id, Item.id > after)
        .order_by(Item.id)
        .limit(limit)
    ).all()
    if not rows:
        return []
    rules = _Rules.of(rows[0])
    searched = [row.extraction_id for row in rows if row.extraction_id is not None]
    faces = _faces(session, tenant_id, searched)
    passing = {
        extraction_id: [face for face in some if rules.passes(face)]
        for extraction_id, some in faces.items()
    }
    views = _face_views(session, tenant_id, rules, rows, passing)
    return [
        _item_view(
            row,
            views[row.id],
            left_out=len(faces.get(row.extraction_id, ())) - len(views[row.id]),
        )
        for row in rows
    ]


def _one_of(column: Any, ids: Sequence[int]) -> ColumnElement[bool]:
    """As `column IN (…)`, with one parameter however many there are."""
    wanted = literal(list(ids), ARRAY(BigInteger))
    return cast("ColumnElement[bool]", column == any_(wanted))


def _faces(
    session: Session, tenant_id: int, extraction_ids: Sequence[int]
) -> dict[int, list[_Row]]:
    """The faces of each extraction, in order."""
    by_extraction = defaultdict(list)
    for face in session.execute(
        select(*_FACE)
        .where(Face.tenant_id == tenant_id, _one_of(Face.extraction_id, extraction_ids))
        .order_by(Face.extraction_id, Face.ordinal)
    ):
        by_extraction[face.extraction_id].append(face)
    return by_extraction


def _face_views(
    session: Session,
    tenant_id: int,
    rules: _Rules,
    rows: Sequence[_Row],
    faces: Mapping[int, Sequence[_Row]],
) -> dict[int, tuple[FaceView, ...]]:
    """What is told of the faces of each item, by the item's id."""
    item_ids = [row.id for row in rows]
    candidates = _candidates(session, tenant_id, item_ids) if rules.searching else {}
    enrolled = _enrolled(session, tenant_id, [row.id for row in rows if row.subject_id is not None])
    return {
        row.id: tuple(
            _face_view(
                face,
                rules,
                candidates.get((row.id, face.id), ()),
                enrolled=(row.id, face.id) in enrolled,
            )
            for face in faces.get(row.extraction_id, ())
        )
        for row in rows
    }


def _candidates(session: Session, tenant_id: int, item_ids: Sequence[int]) -> _Candidates:
    """Candidates by item and face, nearest first; ranks close up where a subject was deleted."""
    found: dict[tuple[int, int], list[CandidateView]] = defaultdict(list)
    for row in session.execute(
        select(
            *(Candidate.item_id, Candidate.face_id, Candidate.distance),
            *(Subject.id, Subject.number, Subject.name, Subject.gallery_id),
        )
        .join(Subject, Subject.id == Candidate.subject_id)
        .where(
            Candidate.tenant_id == tenant_id,
            Subject.tenant_id == tenant_id,
            _one_of(Candidate.item_id, item_ids),
        )
        .order_by(Candidate.item_id, Candidate.face_id, Candidate.rank)
    ):
        near = found[row.item_id, row.face_id]
        near.append(
            CandidateView(
                rank=len(near) + 1,
                subject_id=row.id,
                subject_number=row.number,
                subject_name=row.name,
                gallery_id=row.gallery_id,
                distance=row.distance,
            )
        )
    return found


def _enrolled(session: Session, tenant_id: int, item_ids: Sequence[int]) -> set[tuple[int, int]]:
    """Pairs of item and face where the face is a template of the item's subject."""
    if not item_ids:
        return set()
    rows = session.execute(
        select(Item.id, Face.id)
        .join(Face, Face.extraction_id == Item.extraction_id)
        .join(Embedding, Embedding.face_id == Face.id)
        .join(
            Template,
            (Template.embedding_id == Embedding.id) & (Template.subject_id == Item.subject_id),
        )
        .where(
            *(one.tenant_id == tenant_id for one in (Item, Face, Embedding, Template)),
            _one_of(Item.id, item_ids),
        )
    )
    return {(item_id, face_id) for item_id, face_id in rows}


def _item_view(row: _Row, faces: tuple[FaceView, ...], *, left_out: int) -> ItemView:
    columns = {name: getattr(row, name) for name in _OF_VIEW}
    return ItemView(**columns, faces=faces, faces_left_out=left_out)


def _face_view(
    face: _Row, rules: _Rules, candidates: Sequence[CandidateView], *, enrolled: bool
) -> FaceView:
    flat = face.landmarks_px
    return FaceView(
        id=face.id,
        ordinal=face.ordinal,
        left_px=face.left_px,
        top_px=face.top_px,
        right_px=face.right_px,
        bottom_px=face.bottom_px,
        landmarks_px=tuple(zip(flat[::2], flat[1::2], strict=True)),
        score=face.score,
        quality=quality_of(face),
        candidates=tuple(candidates),
        decision=rules.decision(candidates),
        enrolled=enrolled,
    )
