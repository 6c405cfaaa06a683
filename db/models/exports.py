"""Exports: results of jobs, written into the bucket as files."""

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import Created, TenantId, UuidId, belongs_to
from db.models.base import Base
from db.states import ExportFormat, ExportState


class Export(Base):
    """A file of a job's results that a worker writes below `<id>/`, once, under its lease."""

    __tablename__ = "export"
    __table_args__ = (
        belongs_to("job", "job_id", "CASCADE"),
        Index(None, "job_id", "id"),
        Index(None, "expires_at"),
        Index("ix_export_open", "due_at", postgresql_where=text("state IN ('queued', 'running')")),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="lease"),
        CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="error"),
        CheckConstraint("(state = 'done') = (object_key IS NOT NULL)", name="object"),
    )

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    job_id: Mapped[uuid.UUID]
    format: Mapped[ExportFormat]
    unknown_faces: Mapped[bool] = mapped_column(server_default=text("true"))
    """Whether sidecars have regions of faces that were taken for nobody."""
    state: Mapped[ExportState] = mapped_column(default=ExportState.QUEUED)
    fence: Mapped[int] = mapped_column(default=0)
    """Counts claims. Only the holder of the latest may finish it, and each has its own key."""
    attempt: Mapped[int] = mapped_column(SmallInteger, default=0)
    due_at: Mapped[Created]
    dispatched_at: Mapped[dt.datetime | None]
    lease_until: Mapped[dt.datetime | None]
    job_ended: Mapped[bool | None]
    """Whether the job had ended when the writing began: else photos may be missing."""
    n_written: Mapped[int] = mapped_column(default=0)
    """Photos, or subjects, that have been written."""
    object_key: Mapped[str | None]
    size_bytes: Mapped[int | None]
    sha256: Mapped[bytes | None]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    created_at: Mapped[Created]
    finished_at: Mapped[dt.datetime | None]
    expires_at: Mapped[dt.datetime]
    """When it is deleted with its object."""
