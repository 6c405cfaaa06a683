"""Tenants, and the galleries of their subjects."""

import uuid

from pgvector.sqlalchemy import Vector
from sqlalchemy import ForeignKey, Identity, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import BigId, Created, TenantId, UuidId, belongs_to
from db.models.base import Base


class Tenant(Base):
    """Whoever owns galleries, photos and jobs. The local stack has one, `local`."""

    __tablename__ = "tenant"

    id: Mapped[BigId]
    name: Mapped[str] = mapped_column(unique=True)
    event_sequence: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    """The number of its latest event. Whoever gives events out counts on, and nobody else."""
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


class SubjectTally(Base):
    """By how many a statement has changed the number of a gallery's subjects: see `db.tallies`.

    No foreign key leads to the gallery: who deletes a subject would have to wait for its lock.
    """

    __tablename__ = "subject_tally"
    __table_args__ = (Index(None, "gallery_id"),)

    id: Mapped[BigId]
    tenant_id: Mapped[TenantId]
    gallery_id: Mapped[uuid.UUID]
    change: Mapped[int]


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
        Index("ix_template_gallery_id_written_by", "gallery_id", "written_by"),
        Index(None, "embedding_id"),
    )

    id: Mapped[BigId]
    tenant_id: Mapped[TenantId]
    gallery_id: Mapped[uuid.UUID]
    subject_id: Mapped[uuid.UUID]
    embedding_id: Mapped[int | None]
    """None where the template was imported: there is no photo of it."""
    vector: Mapped[list[float]] = mapped_column(Vector())
    written_by: Mapped[int] = mapped_column(
        server_default=text("pg_current_xact_id()::text::bigint")
    )
    """The transaction that wrote it: see `db.snapshots.reading`. A change writes it anew."""
    created_at: Mapped[Created]
