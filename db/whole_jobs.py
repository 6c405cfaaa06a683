"""Whole jobs: one that comes with all its photos, made and sealed in one statement.

Most submissions are of this kind, and many are of one photo. What `db.jobs` and `db.accept` do step
by step, for jobs that get their photos bit by bit, would cost several times as much.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from db import nudge
from db.accept import check_who
from db.errors import ConflictingChangesError
from db.ids import new_id
from db.jobs import engine_of, threshold_of
from db.prepared import Prepared
from db.states import JobPriority, JobState
from db.subjects import require_subjects
from db.views import JobView, NewItem, NewJob
from db.webhooks.endpoints import require_signable
from pipeline.specs import EngineSpec
from pipeline.thresholds import Threshold

# The photos come first, as workers lock them before galleries and subjects. No job is made where
# the tenant has one of them already, where the upload was given up, or where the tenant has quotas
# that nobody looks at.
_MAKE = Prepared(
    "facebatch_whole_job",
    """
    WITH held AS (
        SELECT id FROM upload WHERE tenant_id = :tenant_id AND id = :upload_id FOR KEY SHARE
    ), fresh AS (
        INSERT INTO photo (id, tenant_id, sha256, size_bytes, object_key)
        SELECT sent.id, :tenant_id, sent.sha256, sent.size_bytes, sent.object_key
        FROM unnest(:photos, :hashes, :sizes, :keys) AS sent (id, sha256, size_bytes, object_key)
        ORDER BY sent.sha256
        ON CONFLICT (tenant_id, sha256) DO NOTHING
        RETURNING id
    ), made AS (
        INSERT INTO job (
            id, tenant_id, kind, state, priority, model_id, gallery_id, subject_id,
            threshold_distance, target_fmr, target_fpir, gallery_subjects, top_k, multiple_faces,
            min_face_px, min_quality, delete_after, is_quiet, callback_url, sealed_at,
            n_items, n_done, n_no_face, n_failed, n_cancelled
        )
        SELECT :job_id, :tenant_id, :kind, :state, :priority, model.id, :gallery_id, :subject_id,
               :threshold_distance, :target_fmr, :target_fpir, :gallery_subjects, :top_k,
               :multiple_faces, :min_face_px, :min_quality, now() + :keep_for,
               :keep_for IS NOT NULL, :callback_url, now(),
               cardinality(:photos), 0, 0, 0, 0
        FROM held
        JOIN model ON model.id = :model_id
            OR (:model_id IS NULL AND model.engine = :engine AND model.version = :engine_version)
        WHERE (SELECT count(*) FROM fresh) = cardinality(:photos)
          AND (:quotas_held OR NOT EXISTS (SELECT FROM quota WHERE quota.tenant_id = :tenant_id))
        RETURNING id, tenant_id, model_id, subject_id, created_at
    ), searched AS (
        INSERT INTO job_gallery (job_id, gallery_id, tenant_id)
        SELECT made.id, further.id, made.tenant_id
        FROM made, unnest(:further) AS further (id)
    ), added AS (
        INSERT INTO item (
            tenant_id, job_id, photo_id, name, subject_id, new_subject, state, fence, attempt
        )
        SELECT made.tenant_id, made.id, sent.photo_id, sent.name,
               CASE WHEN sent.new_subject IS NULL THEN made.subject_id END, sent.new_subject,
               'queued', 0, 0
        FROM made, unnest(:photos, :names, :new_subjects) WITH ORDINALITY
            AS sent (photo_id, name, new_subject, n)
        ORDER BY sent.n
    )
    SELECT made.created_at, model.version, pg_notify(:channel, :word)
    FROM made JOIN model ON model.id = made.model_id
    """,
    {
        "tenant_id": "bigint",
        "upload_id": "uuid",
        "photos": "uuid[]",
        "hashes": "bytea[]",
        "sizes": "bigint[]",
        "keys": "text[]",
        "names": "text[]",
        "new_subjects": "text[]",
        "job_id": "uuid",
        "kind": "text",
        "state": "text",
        "priority": "smallint",
        "model_id": "smallint",
        "engine": "text",
        "engine_version": "text",
        "gallery_id": "uuid",
        "further": "uuid[]",
        "subject_id": "uuid",
        "threshold_distance": "float8",
        "target_fmr": "float8",
        "target_fpir": "float8",
        "gallery_subjects": "bigint",
        "top_k": "smallint",
        "multiple_faces": "text",
        "min_face_px": "integer",
        "min_quality": "float8",
        "keep_for": "interval",
        "callback_url": "text",
        "channel": "text",
        "word": "text",
        "quotas_held": "boolean",
    },
)


class NotFreshError(ConflictingChangesError):
    """The tenant has one of the photos already, or quotas: the job must be made step by step."""


def is_whole(items: Sequence[NewItem]) -> bool:
    """Whether a job of these photos can be made so, as far as that can be told beforehand."""
    hashes = {item.sha256 for item in items if item.object_key and not item.client_id}
    return len(hashes) == len(items) and None not in hashes


def create_whole_job(
    session: Session,
    tenant_id: int,
    new: NewJob,
    items: Sequence[NewItem],
    upload_id: uuid.UUID,
    *,
    quotas_held: bool = False,
) -> JobView:
    """Makes a sealed job of the photos, which lie in the bucket below the upload.

    `quotas_held` says that this is done within the tenant's quotas: else it must have none.

    Raises what `jobs.create_job` raises, `SubjectRequiredError`, and `NotFreshError` where the
    transaction must be rolled back and the job made step by step.
    """
    check_who(new, (one.subject_id for one in items if one.new_subject is None))
    require_signable(session, tenant_id, new.callback_url)
    model_id, spec = engine_of(session, tenant_id, new)
    if new.subject_id is not None:
        require_subjects(session, tenant_id, new.gallery_id, {new.subject_id})
    threshold = threshold_of(session, tenant_id, new, spec)
    job_id = new_id()
    urgent = new.priority == JobPriority.INTERACTIVE
    made = _MAKE.execute(
        session,
        {
            "tenant_id": tenant_id,
            "upload_id": upload_id,
            "photos": [new_id() for _ in items],
            "hashes": [item.sha256 for item in items],
            "sizes": [item.size_bytes for item in items],
            "keys": [item.object_key for item in items],
            "names": [item.name for item in items],
            "new_subjects": [item.new_subject for item in items],
            "job_id": job_id,
            "kind": new.kind.value,
            "state": JobState.QUEUED.value,
            "priority": int(new.priority),
            "model_id": model_id,
            "engine": spec.name,
            "engine_version": spec.version,
            "gallery_id": new.gallery_id,
            "further": [*new.further_gallery_ids],
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
            "callback_url": new.callback_url,
            "channel": nudge.DUE,
            "word": nudge.URGENT if urgent else "",
            "quotas_held": quotas_held,
        },
    ).one_or_none()
    if made is None:
        raise NotFreshError("the job cannot be made in one step")
    return _as_made(job_id, new, spec, threshold, made, n_items=len(items))


def _as_made(
    job_id: uuid.UUID,
    new: NewJob,
    spec: EngineSpec,
    threshold: Threshold,
    made: Row[*tuple[Any, ...]],
    *,
    n_items: int,
) -> JobView:
    """The job as whoever reads it now would find it."""
    return JobView(
        id=job_id,
        kind=new.kind,
        state=JobState.QUEUED,
        priority=new.priority,
        paused_at=None,
        cancel_requested_at=None,
        round=1,
        engine=spec.name,
        engine_version=made.version,
        gallery_id=new.gallery_id,
        further_gallery_ids=tuple(sorted(new.further_gallery_ids)),
        subject_id=new.subject_id,
        threshold_distance=threshold.distance,
        target_fmr=threshold.target_fmr,
        target_fpir=threshold.target_fpir,
        gallery_subjects=threshold.subjects,
        top_k=new.top_k,
        multiple_faces=new.multiple_faces,
        min_face_px=new.limits.min_face_px,
        min_quality=new.limits.min_quality,
        created_at=made.created_at,
        sealed_at=made.created_at,
        started_at=None,
        finished_at=None,
        callback_url=new.callback_url,
        n_sources_open=0,
        source_error=None,
        read_at=made.created_at,
        before_at=None,
        before_ended=None,
        n_items=n_items,
        n_queued=n_items,
        n_running=0,
        n_done=0,
        n_no_face=0,
        n_failed=0,
        n_cancelled=0,
    )
