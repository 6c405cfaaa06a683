"""Answers that are kept for whoever sends the same request again."""

import uuid

from sqlalchemy import CheckConstraint, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import Created, TenantId
from db.models.base import Base


class KeptAnswer(Base):
    """What was answered to a request that came with a key of its client's.

    It is sealed with that key, which is not kept: nobody else can read it.
    """

    __tablename__ = "kept_answer"
    __table_args__ = (CheckConstraint("num_nonnulls(answer, job_id) > 0", name="begun"),)

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    key_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    """Of the request; another one under the same key is none of its repetitions."""
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
    """None while nobody knows it: it is what comes of the job."""
    job_id: Mapped[uuid.UUID | None]
    """The job that the request made or was about; it may be gone."""
    created_at: Mapped[Created] = mapped_column(index=True)
