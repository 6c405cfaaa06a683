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
from db.states import (
    ItemState,
    JobKind,
    JobPriority,
    JobState,
    MultipleFaces,
    SourceKind,
    SourceState,
)


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
        Index(
            "ix_job_open",
            *("tenant_id", "priority", "id"),
            postgresql_where=text("state IN ('queued', 'running')"),
        ),
        Index(
            "ix_job_cancelling",
            "cancel_requested_at",
            postgresql_where=text(
                "cancel_requested_at IS NOT NULL AND state IN ('queued', 'running')"
            ),
        ),
        Index("ix_job_unsealed", "changed_at", postgresql_where=text("sealed_at IS NULL")),
        CheckConstraint("(kind = 'detect') = (gallery_id IS NULL)", name="gallery"),
        CheckConstraint("target_fmr IS NULL OR target_fpir IS NULL", name="target"),
        CheckConstraint("n_done + n_no_face + n_failed + n_cancelled <= n_items", name="counters"),
        CheckConstraint("priority BETWEEN 0 AND 2", name="priority"),
        CheckConstraint("n_sources_open >= 0", name="sources"),
        CheckConstraint("min_face_px >= 0 AND min_quality BETWEEN 0 AND 1", name="face_limits"),
    )

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    kind: Mapped[JobKind]
    state: Mapped[JobState] = mapped_column(default=JobState.QUEUED)
    priority: Mapped[int] = mapped_column(
        SmallInteger, default=JobPriority.NORMAL, server_default=text("1")
    )
    """A `JobPriority`."""
    model_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("model.id"))
    gallery_id: Mapped[uuid.UUID | None]
    """The gallery; those that an identification searches beside it are in `job_gallery`."""
    subject_id: Mapped[uuid.UUID | None]
    """The subject to verify against, or the one to enrol for where an item names none."""
    threshold_distance: Mapped[float]
    """What decides. It was set when the job was made, and does not change with its gallery."""
    target_fmr: Mapped[float | None]
    target_fpir: Mapped[float | None]
    gallery_subjects: Mapped[int | None]
    """An identification's: the subjects of its galleries when the threshold was set."""
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
    paused_at: Mapped[dt.datetime | None]
    """Since when no photo of it has been begun."""
    cancel_requested_at: Mapped[dt.datetime | None]
    """Since when it is being cancelled: nothing of it is begun, and it ends when its items have."""
    finished_at: Mapped[dt.datetime | None]
    delete_after: Mapped[dt.datetime | None]
    """When the reconciler deletes the job with its photos, if whoever made it has not."""
    round: Mapped[int] = mapped_column(Integer, default=1, server_default=text("1"))
    """Counts how often it was begun: failed photos can be tried again after its end."""
    n_sources_open: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    """Sources that are not listed to their end; before that the job cannot end."""
    mark_at: Mapped[dt.datetime | None]
    """When the latest sample of its progress was taken, for its rate."""
    mark_ended: Mapped[int | None]
    """How many photos had ended then."""
    before_at: Mapped[dt.datetime | None]
    """When the sample before that was taken."""
    before_ended: Mapped[int | None]
    callback_url: Mapped[str | None]
    """Where its owner wants to be told of its end, beside the webhooks."""
    is_quiet: Mapped[bool] = mapped_column(default=False, server_default=text("false"))
    """Whether nobody is told of it: it goes as soon as the request that made it is answered."""
    n_items: Mapped[int] = mapped_column(default=0)
    n_done: Mapped[int] = mapped_column(default=0)
    n_no_face: Mapped[int] = mapped_column(default=0)
    n_failed: Mapped[int] = mapped_column(default=0)
    n_cancelled: Mapped[int] = mapped_column(default=0)


class JobGallery(Base):
    """A further gallery that an identification searches."""

    __tablename__ = "job_gallery"
    __table_args__ = (
        belongs_to("job", "job_id", "CASCADE"),
        belongs_to("gallery", "gallery_id", "CASCADE"),
        Index(None, "gallery_id"),
    )

    job_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    gallery_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]


class Source(Base):
    """Many photos at once, and how far they have been listed: each becomes an item."""

    __tablename__ = "source"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        belongs_to("job", "job_id", "CASCADE"),
        belongs_to("archive", "archive_id", "NO ACTION"),
        belongs_to("job", "from_job_id", "SET NULL"),
        Index(None, "job_id"),
        Index(None, "archive_id", postgresql_where=text("archive_id IS NOT NULL")),
        Index(None, "from_job_id", postgresql_where=text("from_job_id IS NOT NULL")),
        Index("ix_source_open", "due_at", postgresql_where=text("state IN ('queued', 'running')")),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="lease"),
        CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="error"),
    )

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    job_id: Mapped[uuid.UUID]
    kind: Mapped[SourceKind]
    bucket: Mapped[str | None]
    """Of the objects; None: ours, for an archive or a manifest that was sent to us."""
    object_key: Mapped[str | None]
    """The zip's or the manifest's key, or the prefix; None for another job's photos."""
    etag: Mapped[str | None]
    """The zip's or the manifest's, when it was first read."""
    archive_id: Mapped[uuid.UUID | None]
    from_job_id: Mapped[uuid.UUID | None]
    """The other job, for its photos."""
    state: Mapped[SourceState] = mapped_column(default=SourceState.QUEUED)
    cursor: Mapped[str | None]
    """How far it is listed, as its kind notes it down; None: not at all."""
    n_items: Mapped[int] = mapped_column(default=0)
    """Items that were made of it."""
    n_skipped: Mapped[int] = mapped_column(default=0)
    """Entries that are no photos."""
    fence: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(SmallInteger, default=0)
    due_at: Mapped[Created]
    dispatched_at: Mapped[dt.datetime | None]
    lease_until: Mapped[dt.datetime | None]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    created_at: Mapped[Created]
    finished_at: Mapped[dt.datetime | None]


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
        belongs_to("source", "source_id", "SET NULL"),
        Index(None, "source_id", postgresql_where=text("source_id IS NOT NULL")),
        Index(None, "job_id", "id"),
        Index(None, "photo_id"),
        Index(None, "subject_id", postgresql_where=text("subject_id IS NOT NULL")),
        Index(None, "extraction_id"),
        Index(
            "ix_item_due",
            *("job_id", "due_at", "id"),
            postgresql_where=text("state = 'queued' AND dispatched_at IS NULL"),
        ),
        Index(
            "ix_item_sent",
            "dispatched_at",
            postgresql_where=text("state = 'queued' AND dispatched_at IS NOT NULL"),
        ),
        Index("ix_item_running", "job_id", postgresql_where=text("state = 'running'")),
        Index("ix_item_failed", *("job_id", "id"), postgresql_where=text("state = 'failed'")),
        Index("ix_item_lease", "lease_until", postgresql_where=text("state = 'running'")),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="lease"),
        CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="error"),
    )

    id: Mapped[BigId]
    tenant_id: Mapped[TenantId]
    job_id: Mapped[uuid.UUID]
    photo_id: Mapped[uuid.UUID | None]
    source_id: Mapped[uuid.UUID | None]
    source_key: Mapped[str | None]
    """The key of the object that the source named; None where it named none."""
    source_bucket: Mapped[str | None]
    """Its bucket: with the key it tells whether a source that is listed again names the same."""
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
    last_fault: Mapped[str | None]
    """What ended the worker that had it last, where one was lost over it."""
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
