"""Deletion of jobs however large, batch by batch, each in a transaction of its own.

From the first on the job is gone for its owner: reading it, its results or anything of it says so.
What its other batches have not come to yet is in the tables, and nobody works on it.
"""

import uuid

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from db.control import begin_cancel
from db.erase import delete_unused_photos
from db.exports.removal import drop_exports_of_job
from db.models import Item, Job
from db.webhooks.events import forget_matches

BATCH_ITEMS = 500
"""Items of a large job that one transaction deletes, with their photos and faces."""


def begin_delete(session: Session, tenant_id: int, job_id: uuid.UUID) -> None:
    """Makes the job unseen for its owner, and lets nothing further of it begin.

    Its rows and photos go with `delete_some`. Raises `JobNotFoundError`.
    """
    begin_cancel(session, tenant_id, job_id)
    drop_exports_of_job(session, job_id)
    forget_matches(session, job_id)
    session.execute(
        update(Job)
        .where(Job.id == job_id)
        .values(delete_after=func.now())
        .execution_options(synchronize_session=False)
    )


def delete_some(session: Session, job_id: uuid.UUID) -> int | None:
    """Deletes some items of a job that nobody sees, with photos that nothing else refers to.

    Returns None when the job itself has gone with the last of them. Meanwhile its counters count
    what is gone as well.
    """
    tenant_id = session.scalars(select(Job.tenant_id).where(Job.id == job_id)).one_or_none()
    if tenant_id is None:
        return None
    some = select(Item.id, Item.photo_id).where(Item.job_id == job_id).order_by(Item.id)
    rows = session.execute(some.limit(BATCH_ITEMS).with_for_update()).all()
    if not rows:
        return _delete_emptied(session, job_id)
    session.execute(delete(Item).where(Item.id.in_([row.id for row in rows])))
    photos = {row.photo_id for row in rows if row.photo_id is not None}
    delete_unused_photos(session, tenant_id, photos)
    return len(rows)


def _delete_emptied(session: Session, job_id: uuid.UUID) -> int | None:
    """Deletes the job's row, unless its listing has just added items."""
    drop_exports_of_job(session, job_id)
    added = session.scalars(select(Item.id).where(Item.job_id == job_id).limit(1)).all()
    if added:
        return len(added)
    forget_matches(session, job_id)
    session.execute(delete(Job).where(Job.id == job_id))
    return None


def overdue_jobs(session: Session, *, limit: int = 100) -> list[uuid.UUID]:
    """Jobs that are to be deleted by now, the longest overdue first."""
    query = select(Job.id).where(Job.delete_after <= func.now()).order_by(Job.delete_after)
    return list(session.scalars(query.limit(limit)))
