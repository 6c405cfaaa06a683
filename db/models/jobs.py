"""Jobs, their items, and what came of them."""

import datetime as dt
import uuid

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import BigId, Created, TenantId, UuidId, belongs_to
from db.models.base import Base
from db.states import ItemState, JobKind, JobState, MultipleFaces


class Job(Base):
    """One submission. The counters equal the rows of `item` at every commit."""

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        belongs_to("gallery", "gallery_id", "CASCADE"),
        belongs_to("subject", "subject_id", "SET NULL"),
        Index(None, "gallery_id"),
        Index(None, "subject_id"),
        Index(None, "delete_after", postgresql_where=text("delete_after IS NOT NULL")),
        Index("ix_job_unsealed", "changed_at", postgresql_where=text("sealed_at IS NULL")),
        CheckConstraint("(kind = 'detect') = (gallery_id IS NULL)", name="gallery"),
        CheckConstraint("target_fmr IS NULL OR target_fpir IS NULL", name="target"),
        CheckConstraint("n_done + n_no_face + n_failed + n_cancelled <= n_items", name="counters"),
        CheckConstraint("min_face_px >= 0 AND min_quality BETWEEN 0 AND 1", name="face_limits"),
    )

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    kind: Mapped[JobKind]
    state: Mapped[JobState] = mapped_column(default=JobState.QUEUED)
    model_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("model.id"))
    gallery_id: Mapped[uuid.UUID | None]
    subject_id: Mapped[uuid.UUID | None]
    """The subject to verify against, or the one to enrol for where an item names none."""
    threshold_distance: Mapped[float]
    """What decides. It was set when the job was made, and does not change with its gallery."""
    target_fmr: Mapped[float | None]
    target_fpir: Mapped[float | None]
    gallery_subjects: Mapped[int | None]
    """An identification's: the gallery's subjects when the threshold was set."""
    top_k: Mapped[int] = mapped_column(SmallInteger)
    multiple_faces: Mapped[MultipleFaces] = mapped_column(default=MultipleFaces.REFUSE)
    min_face_px: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    """Faces below this or `min_quality` count as not found: see `pipeline.face_limits`."""
    min_quality: Mapped[float] = mapped_column(default=0.0, server_default=text("0"))
    created_at: Mapped[Created]
    changed_at: Mapped[Created]
    """When photos were last added."""
    sealed_at: Mapped[dt.datetime | None]
    """When the client said that no further photos come; only then can the job end."""
    started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
    delete_after: Mapped[dt.datetime | None]
    """When the reconciler deletes the job with its photos, if whoever made it has not."""
    n_items: Mapped[int] = mapped_column(default=0)
    n_done: Mapped[int] = mapped_column(default=0)
    n_no_face: Mapped[int] = mapped_column(default=0)
    n_failed: Mapped[int] = mapped_column(default=0)
    n_cancelled: Mapped[int] = mapped_column(default=0)


class Item(Base):
    """One photo's row in a job: the ledger."""

    __tablename__ = "item"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("job_id", "client_id"),
        belongs_to("job", "job_id", "CASCADE"),
        belongs_to("photo", "photo_id", "SET NULL"),
        belongs_to("subject", "subject_id", "SET NULL"),
        belongs_to("extraction", "extraction_id", "SET NULL"),
        Index(None, "job_id", "id"),
        Index(None, "photo_id"),
        Index(None, "subject_id", postgresql_where=text("subject_id IS NOT NULL")),
        Index(None, "extraction_id"),
        Index(
            "ix_item_due",
            "due_at",
            "id",
            postgresql_where=text("state = 'queued' AND dispatched_at IS NULL"),
        ),
        Index(
            "ix_item_sent",
            "dispatched_at",
            postgresql_where=text("state = 'queued' AND dispatched_at IS NOT NULL"),
        ),
        Index("ix_item_lease", "lease_until", postgresql_where=text("state = 'running'")),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="lease"),
        CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="error"),
    )

    id: Mapped[BigId]
    tenant_id: Mapped[TenantId]
    job_id: Mapped[uuid.UUID]
    photo_id: Mapped[uuid.UUID | None]
    name: Mapped[str]
    """The file's name as the client gave it."""
    client_id: Mapped[str | None]
    """The client's own id, unique in the job: sending it again adds nothing."""
    subject_id: Mapped[uuid.UUID | None]
    """Enrolment: for whom."""
    new_subject: Mapped[str | None]
    """Enrolment: the name of a subject to create together with its first template."""
    state: Mapped[ItemState] = mapped_column(default=ItemState.QUEUED)
    fence: Mapped[int] = mapped_column(default=0)
    """Counts claims. Only the holder of the latest may record."""
    attempt: Mapped[int] = mapped_column(SmallInteger, default=0)
    """Counts claims that did not end through a fault of our own stores."""
    due_at: Mapped[Created]
    dispatched_at: Mapped[dt.datetime | None]
    lease_until: Mapped[dt.datetime | None]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    extraction_id: Mapped[int | None]
    finished_at: Mapped[dt.datetime | None]


class Candidate(Base):
    """A subject near a face of an item, by the nearest of its templates."""

    __tablename__ = "candidate"
    __table_args__ = (
        belongs_to("item", "item_id", "CASCADE"),
        belongs_to("face", "face_id", "CASCADE"),
        belongs_to("subject", "subject_id", "CASCADE"),
        Index(None, "subject_id"),
        Index(None, "face_id"),
    )

    item_id: Mapped[int] = mapped_column(primary_key=True)
    face_id: Mapped[int] = mapped_column(primary_key=True)
    rank: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    tenant_id: Mapped[TenantId]
    subject_id: Mapped[uuid.UUID]
    distance: Mapped[float]


class Event(Base):
    """Something that happened to a job, written in the transaction that caused it, once."""

    __tablename__ = "event"
    __table_args__ = (
        UniqueConstraint("job_id", "type"),
        belongs_to("job", "job_id", "CASCADE"),
    )

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    job_id: Mapped[uuid.UUID]
    type: Mapped[str]
    created_at: Mapped[Created]
