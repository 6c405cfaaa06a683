"""How the listing of sources ends, be it by itself or with its job."""

import uuid

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import DoomedObject, Job, Source
from db.states import OPEN_SOURCE_STATES, SourceKind, SourceState
from pipeline.errors import FaceBatchError


def end_source(
    session: Session, source_id: uuid.UUID, state: SourceState, error: FaceBatchError | None = None
) -> bool:
    """Ends a source that is open; False where it had ended. The caller has locked its job.

    A manifest that was sent to us goes with it. The caller sees whether the job ends with it.
    """
    ended = session.execute(
        update(Source)
        .where(Source.id == source_id, Source.state.in_(OPEN_SOURCE_STATES))
        .values(
            state=state,
            lease_until=None,
            finished_at=func.now(),
            error_code=None if error is None else error.code,
            error_detail=None if error is None else str(error),
        )
        .returning(Source.job_id, Source.tenant_id, Source.kind, Source.bucket, Source.object_key)
    ).one_or_none()
    if ended is None:
        return False
    if ended.kind is SourceKind.MANIFEST and ended.bucket is None:
        session.execute(
            insert(DoomedObject)
            .values(object_key=ended.object_key, tenant_id=ended.tenant_id)
            .on_conflict_do_nothing()
        )
    session.execute(
        update(Job)
        .where(Job.id == ended.job_id)
        .values(n_sources_open=Job.n_sources_open - 1, changed_at=func.now())
    )
    return True


def end_sources(
    session: Session, job_id: uuid.UUID, state: SourceState, error: FaceBatchError | None = None
) -> None:
    """Ends what is still to be listed of a job; its row is locked."""
    query = select(Source.id).where(Source.job_id == job_id, Source.state.in_(OPEN_SOURCE_STATES))
    for source_id in session.scalars(query.order_by(Source.id)).all():
        end_source(session, source_id, state, error)
