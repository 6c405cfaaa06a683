"""The tables. What belongs to someone carries `tenant_id`, and its foreign keys carry it too."""

import datetime as dt
import uuid
from typing import ClassVar

from pgvector.sqlalchemy import Vector
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, REAL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.columns import NAMING, BigId, Created, TenantId, UuidId, belongs_to, one_of
from db.states import ItemState, JobKind, JobState, MultipleFaces


class Base(DeclarativeBase):
    """Root of the tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar = {
        dt.datetime: DateTime(timezone=True),
        str: Text(),
        int: BigInteger(),
        uuid.UUID: Uuid(),
        JobKind: one_of(JobKind, "kind"),
        JobState: one_of(JobState, "state"),
        ItemState: one_of(ItemState, "state"),
        MultipleFaces: one_of(MultipleFaces, "multiple_faces"),
    }


class Tenant(Base):
    """Whoever owns galleries, photos and jobs. The local stack has one, `local`."""

    __tablename__ = "tenant"

    id: Mapped[BigId]
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[Created]


class Model(Base):
    """An engine in one version: the thing that makes embeddings comparable."""

    __tablename__ = "model"
    __table_args__ = (UniqueConstraint("engine", "version"),)

    id: Mapped[int] = mapped_column(SmallInteger, Identity(), primary_key=True)
    engine: Mapped[str]
    version: Mapped[str]
    dimension: Mapped[int] = mapped_column(SmallInteger)


class Gallery(Base):
    """A searchable set of templates, bound to one model."""

    __tablename__ = "gallery"
    __table_args__ = (UniqueConstraint("tenant_id", "id"), UniqueConstraint("tenant_id", "name"))

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    name: Mapped[str]
    model_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("model.id"))
    created_at: Mapped[Created]


class Subject(Base):
    """A person in a gallery."""

    __tablename__ = "subject"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("gallery_id", "name"),
        UniqueConstraint("number"),
        belongs_to("gallery", "gallery_id", "CASCADE"),
    )

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    gallery_id: Mapped[uuid.UUID]
    number: Mapped[int] = mapped_column(Identity(always=True))
    """The integer by which the classic endpoints know the subject."""
    name: Mapped[str]
    created_at: Mapped[Created]


class Upload(Base):
    """A request that is sending objects below `<id>/`. The row goes when its photos are committed.

    One that stays behind tells the reconciler where orphaned objects lie.
    """

    __tablename__ = "upload"

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    created_at: Mapped[Created] = mapped_column(index=True)


class Photo(Base):
    """A submitted file, known by its SHA-256; the bytes lie in the bucket."""

    __tablename__ = "photo"
    __table_args__ = (UniqueConstraint("tenant_id", "id"), UniqueConstraint("tenant_id", "sha256"))

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    sha256: Mapped[bytes] = mapped_column(LargeBinary)
    size_bytes: Mapped[int]
    object_key: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[Created]


class DoomedObject(Base):
    """An object whose photo is gone; it is deleted from the bucket, then from here."""

    __tablename__ = "doomed_object"

    object_key: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]
    created_at: Mapped[Created]


class Extraction(Base):
    """That a photo was searched for faces by a model, once, and how large it is upright."""

    __tablename__ = "extraction"
    __table_args__ = (
        UniqueConstraint("photo_id", "model_id"),
        UniqueConstraint("tenant_id", "id"),
        belongs_to("photo", "photo_id", "CASCADE"),
        CheckConstraint("rotation IN (0, 90, 180, 270)", name="rotation"),
    )

    id: Mapped[BigId]
    tenant_id: Mapped[TenantId]
    photo_id: Mapped[uuid.UUID]
    model_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("model.id"))
    width_px: Mapped[int]
    height_px: Mapped[int]
    rotation: Mapped[int] = mapped_column(SmallInteger, default=0, server_default=text("0"))
    """Degrees clockwise by which the photo had to be turned for its faces to be found."""
    created_at: Mapped[Created]


class Face(Base):
    """A face that an extraction found; box and landmarks in pixels of the upright photo."""

    __tablename__ = "face"
    __table_args__ = (
        UniqueConstraint("extraction_id", "ordinal"),
        UniqueConstraint("tenant_id", "id"),
        belongs_to("extraction", "extraction_id", "CASCADE"),
        CheckConstraint(
            "num_nulls(quality, quality_limit, sharpness, width_px, yaw, pitch, roll) IN (0, 7)",
            name="quality",
        ),
    )

    id: Mapped[BigId]
    tenant_id: Mapped[TenantId]
    extraction_id: Mapped[int]
    ordinal: Mapped[int] = mapped_column(SmallInteger)
    left_px: Mapped[int]
    top_px: Mapped[int]
    right_px: Mapped[int]
    bottom_px: Mapped[int]
    landmarks_px: Mapped[list[float]] = mapped_column(ARRAY(REAL))
    """Five points, flattened: x, y, x, y …"""
    score: Mapped[float] = mapped_column(REAL)
    """How sure the detector is; its scale is the engine's own."""
    quality: Mapped[float | None] = mapped_column(REAL)
    """0 to 1. This and all that follows is null for faces of the time before it was kept."""
    quality_limit: Mapped[str | None]
    """What the quality comes from: a `pipeline.face_quality.QualityLimit`."""
    sharpness: Mapped[float | None] = mapped_column(REAL)
    width_px: Mapped[int | None]
    """Of the box before it was trimmed to the photo."""
    yaw: Mapped[float | None] = mapped_column(REAL)
    """In degrees, as `pitch` and `roll` are."""
    pitch: Mapped[float | None] = mapped_column(REAL)
    roll: Mapped[float | None] = mapped_column(REAL)


class Embedding(Base):
    """The vector of a face under a model. Models of different dimensions live side by side."""

    __tablename__ = "embedding"
    __table_args__ = (
        UniqueConstraint("face_id", "model_id"),
        UniqueConstraint("tenant_id", "id"),
        belongs_to("face", "face_id", "CASCADE"),
    )

    id: Mapped[BigId]
    tenant_id: Mapped[TenantId]
    face_id: Mapped[int]
    model_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("model.id"))
    # No dimension: an index on one model's vectors casts to that model's dimension.
    vector: Mapped[list[float]] = mapped_column(Vector())


class Template(Base):
    """An embedding enrolled for a subject: that of a photo's face, or one that was imported.

    It repeats the vector, so that searching a gallery reads one table and nothing else.
    """

    __tablename__ = "template"
    __table_args__ = (
        UniqueConstraint("subject_id", "embedding_id"),
        belongs_to("gallery", "gallery_id", "CASCADE"),
        belongs_to("subject", "subject_id", "CASCADE"),
        belongs_to("embedding", "embedding_id", "CASCADE"),
        Index(None, "gallery_id"),
        Index(None, "embedding_id"),
    )

    id: Mapped[BigId]
    tenant_id: Mapped[TenantId]
    gallery_id: Mapped[uuid.UUID]
    subject_id: Mapped[uuid.UUID]
    embedding_id: Mapped[int | None]
    """None where the template was imported: there is no photo of it."""
    vector: Mapped[list[float]] = mapped_column(Vector())
    created_at: Mapped[Created]


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
