"""Faces that are cut out of their photos, for as long as somebody looks at them."""

import datetime as dt

from sqlalchemy import CheckConstraint, Index, LargeBinary, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import Created, TenantId, UuidId, belongs_to
from db.models.base import Base
from db.states import CropState


class Crop(Base):
    """A face as a small picture that a worker makes, once, under its lease.

    It goes with its face in one statement, wherever that is deleted, and soon by itself. The table
    is not logged: pictures are in no archive of the server's log, and after a crash made anew.
    """

    __tablename__ = "crop"
    __table_args__ = (
        UniqueConstraint("face_id", "margin_percent", "size_px"),
        belongs_to("face", "face_id", "CASCADE"),
        Index(None, "tenant_id", "expires_at"),
        Index("ix_crop_open", "due_at", postgresql_where=text("state IN ('queued', 'running')")),
        CheckConstraint("(state = 'running') = (lease_until IS NOT NULL)", name="lease"),
        CheckConstraint("(state = 'failed') = (error_code IS NOT NULL)", name="error"),
        CheckConstraint("(state = 'done') = (data IS NOT NULL)", name="data"),
        {"prefixes": ["UNLOGGED"]},
    )

    id: Mapped[UuidId]
    tenant_id: Mapped[TenantId]
    face_id: Mapped[int]
    margin_percent: Mapped[int] = mapped_column(SmallInteger)
    """What is added on each side, in hundredths of the box."""
    size_px: Mapped[int] = mapped_column(SmallInteger)
    """The longest side, at the most."""
    state: Mapped[CropState] = mapped_column(default=CropState.QUEUED)
    fence: Mapped[int] = mapped_column(default=0)
    """Counts claims. Only the holder of the latest may finish it."""
    attempt: Mapped[int] = mapped_column(SmallInteger, default=0)
    due_at: Mapped[Created]
    dispatched_at: Mapped[dt.datetime | None]
    lease_until: Mapped[dt.datetime | None]
    data: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The JPEG."""
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]
    expires_at: Mapped[dt.datetime]
    """When it is deleted."""
