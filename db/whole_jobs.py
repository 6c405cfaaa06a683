"""Whole jobs: one that comes with all its photos, made and sealed in two statements.

Most submissions are of this kind, and many of one photo. What `db.jobs` and `db.accept` do step by
step for jobs that get their photos bit by bit would cost five times as much.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ARRAY, Row, Text, bindparam, text
from sqlalchemy.orm import Session

from db import nudge
from db.accept import check_who, photo_ids, photo_of
from db.ids import new_id
from db.jobs import get_job, model_of, threshold_of
from db.progress import finish_if_complete
from db.states import ItemState, JobPriority, JobState
from db.subjects import require_subjects
from db.uploads import expired_upload
from db.views import JobView, NewItem, NewJob
from pipeline.specs import EngineSpec

_MAKE = text("""
    WITH ended AS (
        DELETE FROM upload WHERE tenant_id = :tenant_id AND id = :upload_id RETURNING id
    ), made AS (
        INSERT INTO job (
            id, tenant_id, kind, state, priority, model_id, gallery_id, subject_id,
            threshold_distance, target_fmr, target_fpir, gallery_subjects, top_k, multiple_faces,
            min_face_px, min_quality, delete_after, sealed_at,
            n_items, n_done, n_no_face, n_failed, n_cancelled
        )
        SELECT :job_id, :tenant_id, :kind, :state, :priority, :model_id, :gallery_id, :subject_id,
               :threshold_distance, :target_fmr, :target_fpir, :gallery_subjects, :top_k,
               :multiple_faces, :min_face_px, :min_quality,
               now() + CAST(:keep_for AS interval), now(), :n_items, 0, 0, :n_failed, 0
        FROM ended
        RETURNING *
    ), searched AS (
        INSERT INTO job_gallery (job_id, gallery_id, tenant_id)
        SELECT made.id, CAST(further.id AS uuid), made.tenant_id
        FROM made, unnest(:further) AS further (id)
    ), added AS (
        INSERT INTO item (
            tenant_id, job_id, photo_id, name, subject_id, new_subject, state,
            error_code, error_detail, finished_at, fence, attempt
        )
        SELECT made.tenant_id, made.id, CAST(sent.photo_id AS uuid), sent.name,
               CASE WHEN sent.new_subject IS NULL THEN made.subject_id END, sent.new_subject,
               sent.state, sent.error_code, sent.error_detail,
               CASE WHEN sent.error_code IS NOT NULL THEN now() END, 0, 0
        FROM made, unnest(:photos, :names, :new_subjects, :states, :codes, :details)
            WITH ORDINALITY
            AS sent (photo_id, name, new_subject, state, error_code, error_detail, n)
        ORDER BY sent.n
    )
    SELECT made.*, now() AS read_at, pg_notify(:channel, :word) FROM made
""").bindparams(
    *(
        bindparam(name, type_=ARRAY(Text))
        for name in ("further", "photos", "names", "new_subjects", "states", "codes", "details")
    )
)
_AS_THEY_ARE = {one.name for one in fields(JobView)} - {
    *("engine", "engine_version", "further_gallery_ids", "source_error", "n_queued", "n_running"),
    *("kind", "state", "priority", "multiple_faces"),
}
"""The members of a job's view that its row has as they are."""


def create_whole_job(
    session: Session, tenant_id: int, new: NewJob, items: Sequence[NewItem], upload_id: uuid.UUID
) -> JobView:
    """Makes a sealed job of the photos, which lie in the bucket, and ends their upload.

    Raises what `jobs.create_job` and `accept.add_items` raise, and `UploadExpiredError`.
    """
    check_who(new, (one.subject_id for one in items if one.new_subject is None))
    # Photos before galleries and subjects, as workers lock them when they record.
    photos = photo_ids(session, tenant_id, items)
    model_id, spec = model_of(session, tenant_id, new)
    if new.subject_id is not None:
        require_subjects(session, tenant_id, new.gallery_id, {new.subject_id})
    threshold = threshold_of(session, tenant_id, new, spec)
    failed = sum(item.error_code is not None for item in items)
    urgent = new.priority == JobPriority.INTERACTIVE
    row = session.execute(
        _MAKE,
        {
            "tenant_id": tenant_id,
            "upload_id": upload_id,
            "job_id": new_id(),
            "kind": new.kind.value,
            "state": JobState.QUEUED.value,
            "priority": int(new.priority),
            "model_id": model_id,
            "gallery_id": new.gallery_id,
            "subject_id": new.subject_id,
            "threshold_distance": threshold.distance,
            "target_fmr": threshold.target_fmr,
            "target_fpir": threshold.target_fpir,
            "gallery_subjects": threshold.subjects,
            "top_k": new.top_k,
            "multiple_faces": new.multiple_faces.value,
            "min_face_px": new.limits.min_face_px,
            "min_quality": new.limits.min_quality,
            "keep_for": new.keep_for,
            "n_items": len(items),
            "n_failed": failed,
            "further": [str(one) for one in new.further_gallery_ids],
            "channel": nudge.DUE,
            "word": nudge.URGENT if urgent else "",
            **_columns(items, photos),
        },
    ).one_or_none()
    if row is None:
        raise expired_upload()
    if failed == len(items):
        finish_if_complete(session, [row.id])
        return get_job(session, tenant_id, row.id)
    return _view(row, new, spec)


def _columns(
    items: Sequence[NewItem], photos: Mapping[bytes, uuid.UUID]
) -> dict[str, list[str | None]]:
    """The items' rows, column by column."""
    photo_ids = [photo_of(item, photos) for item in items]
    return {
        "photos": [None if photo_id is None else str(photo_id) for photo_id in photo_ids],
        "names": [item.name for item in items],
        "new_subjects": [item.new_subject for item in items],
        "states": [
            (ItemState.FAILED if item.error_code else ItemState.QUEUED).value for item in items
        ],
        "codes": [item.error_code for item in items],
        "details": [item.error_detail for item in items],
    }


def _view(row: Row[*tuple[Any, ...]], new: NewJob, spec: EngineSpec) -> JobView:
    """The job as it was made: of its photos nothing has begun."""
    return JobView(
        **{name: getattr(row, name) for name in _AS_THEY_ARE},
        kind=new.kind,
        state=JobState.QUEUED,
        priority=new.priority,
        multiple_faces=new.multiple_faces,
        engine=spec.name,
        engine_version=spec.version,
        further_gallery_ids=tuple(sorted(new.further_gallery_ids)),
        source_error=None,
        n_queued=row.n_items - row.n_failed,
        n_running=0,
    )
