"""The ledger of exports: made by requests, claimed under a lease by workers, ended once."""

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from db import nudge
from db.errors import ExportLostError, ExportNotFoundError, TooManyExportsError
from db.exports.formats import Wanted, file_name
from db.ids import new_id
from db.jobs import get_job, lock_job
from db.models import Export
from db.states import ExportFormat, ExportState
from db.writing import StoredObject

MAX_EXPORTS = 20
"""Of one job, at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportView:
    """An export as its owner sees it."""

    id: uuid.UUID
    job_id: uuid.UUID
    format: ExportFormat
    unknown_faces: bool
    state: ExportState
    job_ended: bool | None
    n_written: int
    object_key: str | None
    size_bytes: int | None
    sha256: bytes | None
    error_code: str | None
    error_detail: str | None
    created_at: dt.datetime
    finished_at: dt.datetime | None
    expires_at: dt.datetime

    @property
    def file_name(self) -> str:
        """What a browser calls the file."""
        return file_name(self.job_id, self.format)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportClaim:
    """An export that a worker holds."""

    id: uuid.UUID
    fence: int
    wanted: Wanted

    @property
    def folder(self) -> str:
        """Where the export's objects lie, whoever writes them."""
        return f"{self.id}/"

    @property
    def object_key(self) -> str:
        """A key for this claim alone: one that was lost writes to another."""
        return f"{self.folder}{self.fence}/{self.wanted.file_name}"


class LostExportError(RuntimeError):
    """The export was deleted, or another worker holds it now."""


def create_export(session: Session, wanted: Wanted, *, keep_for: dt.timedelta) -> ExportView:
    """Asks for an export. Raises `JobNotFoundError`, `TooManyExportsError`."""
    # Whoever deletes the job locks it too, and sees the export.
    lock_job(session, wanted.tenant_id, wanted.job_id)
    count = select(func.count()).where(Export.job_id == wanted.job_id)
    if session.scalars(count).one() >= MAX_EXPORTS:
        raise TooManyExportsError(
            f"the job has {MAX_EXPORTS} exports; delete some, or wait for them to expire"
        )
    export = Export(
        id=new_id(),
        tenant_id=wanted.tenant_id,
        job_id=wanted.job_id,
        format=wanted.format,
        unknown_faces=wanted.unknown_faces,
        expires_at=func.now() + keep_for,
    )
    session.add(export)
    session.flush()
    nudge.notify(session)
    return get_export(session, wanted.tenant_id, wanted.job_id, export.id)


def get_export(
    session: Session, tenant_id: int, job_id: uuid.UUID, export_id: uuid.UUID
) -> ExportView:
    """Where the export stands; raises `JobNotFoundError`, `ExportNotFoundError`."""
    found = [one for one in list_exports(session, tenant_id, job_id) if one.id == export_id]
    if not found:
        raise ExportNotFoundError("there is no such export; it may have expired")
    return found[0]


def list_exports(session: Session, tenant_id: int, job_id: uuid.UUID) -> list[ExportView]:
    """The job's exports, the latest first; raises `JobNotFoundError`."""
    get_job(session, tenant_id, job_id)
    columns: list[Any] = [getattr(Export, name) for name in ExportView.__dataclass_fields__]
    rows = session.execute(
        select(*columns)
        .where(
            Export.tenant_id == tenant_id, Export.job_id == job_id, Export.expires_at > func.now()
        )
        .order_by(Export.id.desc())
    )
    return [ExportView(**row._mapping) for row in rows]


_HELD = "id = :id AND fence = :fence AND state = 'running'"
_LEASE = "now() + make_interval(secs => :lease_s)"
_CLAIM = text(f"""
    UPDATE export
    SET state = 'running', fence = export.fence + 1, attempt = export.attempt + 1,
        lease_until = {_LEASE}, n_written = 0, job_ended = job.finished_at IS NOT NULL
    FROM job
    WHERE export.id = :id AND job.id = export.job_id AND export.attempt < :max_attempts
      AND (export.state = 'queued' OR (export.state = 'running' AND export.lease_until < now()))
    RETURNING export.tenant_id, export.job_id, export.format, export.unknown_faces, export.fence
""")  # noqa: S608 - put together from constants.
_KEEP = text(f"UPDATE export SET lease_until = {_LEASE}, n_written = :n_written WHERE {_HELD}")  # noqa: S608 - likewise.
# Done already: the connection broke after the commit, and nobody knew.
_FINISH = text("""
    UPDATE export
    SET state = 'done', lease_until = NULL, finished_at = now(), n_written = :n_written,
        object_key = :object_key, size_bytes = :size_bytes, sha256 = :sha256
    WHERE id = :id AND fence = :fence
      AND (state = 'running' OR (state = 'done' AND object_key = :object_key))
""")
_RELEASE = text(f"""
    UPDATE export
    SET state = 'queued', lease_until = NULL, dispatched_at = NULL, attempt = attempt - 1,
        due_at = now() + make_interval(secs => :delay_s)
    WHERE {_HELD}
""")  # noqa: S608 - likewise.


def claim_export(
    session: Session, export_id: uuid.UUID, *, lease_s: float, max_attempts: int
) -> ExportClaim | None:
    """Takes the export, where nobody holds it; None where somebody does, or it is gone or done."""
    values = {"id": export_id, "lease_s": lease_s, "max_attempts": max_attempts}
    row = session.execute(_CLAIM, values).one_or_none()
    if row is None:
        return None
    wanted = Wanted(
        tenant_id=row.tenant_id,
        job_id=row.job_id,
        format=ExportFormat(row.format),
        unknown_faces=row.unknown_faces,
    )
    return ExportClaim(id=export_id, fence=row.fence, wanted=wanted)


def keep_export(session: Session, claim: ExportClaim, *, lease_s: float, n_written: int) -> None:
    """Holds the export for another lease; raises `LostExportError`."""
    _must_hold(session, _KEEP, claim, lease_s=lease_s, n_written=n_written)


def finish_export(
    session: Session, claim: ExportClaim, stored: StoredObject, *, n_written: int
) -> None:
    """Says that the export lies in the bucket; may be said twice. Raises `LostExportError`."""
    _must_hold(
        session,
        _FINISH,
        claim,
        n_written=n_written,
        object_key=stored.key,
        size_bytes=stored.size_bytes,
        sha256=stored.sha256,
    )


def release_export(session: Session, claim: ExportClaim, *, delay_s: float) -> None:
    """Hands the export back, uncounted; raises `LostExportError`."""
    _must_hold(session, _RELEASE, claim, delay_s=delay_s)


def _must_hold(session: Session, statement: Any, claim: ExportClaim, **values: object) -> None:
    held: Any = session.execute(statement, {"id": claim.id, "fence": claim.fence, **values})
    if held.rowcount != 1:
        raise LostExportError(f"the export {claim.id} is no longer held")


_SENT = "state = 'queued' AND dispatched_at IS NOT NULL"
_RESEND = text(f"""
    UPDATE export SET dispatched_at = NULL
    WHERE {_SENT} AND dispatched_at < now() - make_interval(secs => :after_s)
""")  # noqa: S608 - likewise.
_REQUEUE_EXPIRED = text("""
    UPDATE export SET state = 'queued', lease_until = NULL, dispatched_at = NULL, due_at = now()
    WHERE state = 'running' AND lease_until < now() AND attempt < :max_attempts
""")
_SET_ASIDE = text("""
    UPDATE export
    SET state = 'failed', lease_until = NULL, finished_at = now(), error_code = :code,
        error_detail = 'the worker that wrote it died too often; ask for it again'
    WHERE state = 'running' AND lease_until < now() AND attempt >= :max_attempts
""")


def resend_stale_exports(session: Session, *, after_s: float) -> int:
    """Makes exports due again that were sent `after_s` ago and never claimed; how many."""
    return _count(session, _RESEND, after_s=after_s)


def requeue_expired_exports(session: Session, *, max_attempts: int) -> int:
    """Queues exports whose lease has run out; returns how many."""
    return _count(session, _REQUEUE_EXPIRED, max_attempts=max_attempts)


def set_aside_exports(session: Session, *, max_attempts: int) -> int:
    """Fails exports that took their worker down `max_attempts` times; returns how many."""
    code = ExportLostError.code
    return _count(session, _SET_ASIDE, max_attempts=max_attempts, code=code)


def _count(session: Session, statement: Any, **values: float | str) -> int:
    done: Any = session.execute(statement, values)
    return int(done.rowcount)
