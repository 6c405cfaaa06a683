"""Photos, the objects in which they lie, and what was found in them."""

import datetime as dt
import uuid

from pgvector.sqlalchemy import Vector
from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, REAL
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import BigId, Created, TenantId, UuidId, belongs_to
from db.models.base import Base


class Upload(Base):
    """Objects on their way to us, below `<id>/`. The row goes when no more of them come.

    One that stays behind tells the reconciler where orphaned objects may lie.
    """

    __tablename__ = "upload"

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    created_at: Mapped[Created] = mapped_column(index=True)
    expires_at: Mapped[dt.datetime | None]
    """When it is given up; None: when it is so old that no request takes so long."""
    expected_bytes: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    """Of files that may be sent past us, and that no photo or archive is made of yet."""


class Archive(Base):
    """An object of ours that holds many photos. It goes when the last of them and its source go."""

    __tablename__ = "archive"
    __table_args__ = (UniqueConstraint("tenant_id", "id"),)

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    object_key: Mapped[str] = mapped_column(unique=True)
    size_bytes: Mapped[int]
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    """None where it was sent past us."""
    created_at: Mapped[Created]


class ArchiveCopy(Base):
    """That an archive holds the bytes of a photo which lies elsewhere as well.

    Where the photo is erased, so are those.
    """

    __tablename__ = "archive_copy"
    __table_args__ = (
        belongs_to("archive", "archive_id", "CASCADE"),
        belongs_to("photo", "photo_id", "CASCADE"),
        Index(None, "archive_id"),
    )

    photo_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    archive_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    tenant_id: Mapped[TenantId]


class Photo(Base):
    """A submitted file, known by its SHA-256, and where in which object its bytes lie.

    An object of ours holds it alone, or is an `archive`. One in a bucket with a name stays its
    owner's: we read it and never delete it.
    """

    __tablename__ = "photo"
    __table_args__ = (
        UniqueConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "sha256"),
        belongs_to("archive", "archive_id", "NO ACTION"),
        Index(None, "archive_id", postgresql_where=text("archive_id IS NOT NULL")),
        Index(
            "uq_photo_own_object",
            "object_key",
            unique=True,
            postgresql_where=text("bucket IS NULL AND archive_id IS NULL"),
        ),
        Index(
            "ix_photo_foreign_object",
            *("tenant_id", "bucket", "object_key"),
            postgresql_where=text("bucket IS NOT NULL AND entry_offset IS NULL"),
        ),
        CheckConstraint("bucket IS NULL OR archive_id IS NULL", name="owner"),
        CheckConstraint("archive_id IS NULL OR entry_offset IS NOT NULL", name="archive"),
        CheckConstraint(
            "num_nulls(entry_offset, entry_packed_bytes, entry_method, entry_crc32, entry_name) "
            "IN (0, 5)",
            name="entry",
        ),
    )

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    sha256: Mapped[bytes | None] = mapped_column(LargeBinary)
    """None until somebody has read it: what is listed and not sent to us has no hash yet."""
    size_bytes: Mapped[int]
    bucket: Mapped[str | None]
    """None: ours. Its objects under such a name are their owner's, even where it is ours."""
    object_key: Mapped[str]
    etag: Mapped[str | None]
    """Of an object that is not ours: with another one, it is another photo."""
    archive_id: Mapped[uuid.UUID | None]
    entry_offset: Mapped[int | None]
    """Where in a zip its local header begins; this and what follows is null where it is none."""
    entry_packed_bytes: Mapped[int | None]
    entry_method: Mapped[int | None] = mapped_column(SmallInteger)
    entry_crc32: Mapped[int | None]
    entry_name: Mapped[str | None]
    """The path in the zip, which its local header has as well."""
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
        CheckConstraint("orientation BETWEEN 1 AND 8", name="orientation"),
    )

    id: Mapped[BigId]
    tenant_id: Mapped[TenantId]
    photo_id: Mapped[uuid.UUID]
    model_id: Mapped[int] = mapped_column(SmallInteger, ForeignKey("model.id"))
    width_px: Mapped[int]
    height_px: Mapped[int]
    taken_at: Mapped[str | None]
    """When the photo was taken, as its camera wrote it: ISO 8601, mostly without a zone."""
    orientation: Mapped[int] = mapped_column(SmallInteger, default=1, server_default=text("1"))
    """How the stored pixels lie: the file's EXIF orientation, 1 (upright) to 8."""
    rotation: Mapped[int] = mapped_column(SmallInteger, default=0, server_default=text("0"))
    """Degrees clockwise by which the photo had to be turned for its faces to be found."""
    created_at: Mapped[Created]


class Extracting(Base):
    """That a worker searches a photo's bytes for faces now, while its item's lease holds."""

    __tablename__ = "extracting"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    model_id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    sha256: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    item_id: Mapped[int]
    fence: Mapped[int]


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
