"""Exports go with their objects: when they expire, and with whatever they tell of."""

import uuid

from sqlalchemy import ColumnElement, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import ExportNotFoundError
from db.models import DoomedObject, Export, Job, JobGallery


def delete_export(
    session: Session, tenant_id: int, job_id: uuid.UUID, export_id: uuid.UUID
) -> None:
    """Deletes one export; a worker that is writing it gives up. Raises `ExportNotFoundError`."""
    mine = (Export.tenant_id == tenant_id, Export.job_id == job_id, Export.id == export_id)
    if not _drop(session, *mine):
        raise ExportNotFoundError("there is no such export; it may have expired")


def drop_exports_of_job(session: Session, job_id: uuid.UUID) -> None:
    """Deletes the exports of a job that is about to be deleted, and keeps others from being made.

    The caller deletes the job in the same transaction.
    """
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update())
    _drop(session, Export.job_id == job_id)


def drop_exports_of_gallery(session: Session, gallery_id: uuid.UUID) -> None:
    """Deletes the exports of all jobs that use the gallery: they may name who is being deleted."""
    further = select(JobGallery.job_id).where(JobGallery.gallery_id == gallery_id)
    jobs = select(Job.id).where(or_(Job.gallery_id == gallery_id, Job.id.in_(further)))
    _drop(session, Export.job_id.in_(jobs))


def drop_expired_exports(session: Session) -> int:
    """Deletes exports whose time is over; returns how many."""
    return _drop(session, Export.expires_at < func.now())


def _drop(session: Session, *which: ColumnElement[bool]) -> int:
    """Deletes rows and dooms what lies in the bucket for them.

    The object at once; the folder later, for a worker that does not know yet may still write.
    """
    dropped = session.execute(
        delete(Export).where(*which).returning(Export.tenant_id, Export.id, Export.object_key)
    ).all()
    keys = [(row.tenant_id, f"{row.id}/") for row in dropped]
    keys += [(row.tenant_id, row.object_key) for row in dropped if row.object_key is not None]
    if keys:
        rows = [{"tenant_id": tenant_id, "object_key": key} for tenant_id, key in keys]
        session.execute(insert(DoomedObject).on_conflict_do_nothing(), rows)
    return len(dropped)
