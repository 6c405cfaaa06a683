"""How much a tenant may have, and how many bytes it has."""

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from db.columns import BigId, TenantId, one_of
from db.models.base import Base
from db.states import QuotaKind


class Quota(Base):
    """How much of something a tenant may have. Tenants read it, and the system alone sets it."""

    __tablename__ = "quota"
    __table_args__ = (CheckConstraint("allowed >= 0", name="allowed"),)

    tenant_id: Mapped[TenantId] = mapped_column(primary_key=True)
    kind: Mapped[QuotaKind] = mapped_column(one_of(QuotaKind, "kind"), primary_key=True)
    allowed: Mapped[int | None]
    """None: as much as it likes, where a tenant without this row has what the settings say."""


class StorageTally(Base):
    """By how much something has changed a tenant's bytes with us: see `db.tallies`."""

    __tablename__ = "storage_tally"
    __table_args__ = (Index(None, "tenant_id"),)

    id: Mapped[BigId]
    tenant_id: Mapped[TenantId]
    change: Mapped[int]
