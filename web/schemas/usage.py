"""How much a tenant has, and may have, out."""

from collections.abc import Sequence
from typing import Self

from pydantic import Field

from db.quotas import Usage
from db.states import QuotaKind
from web.schemas.base import Outgoing


class UsedOut(Outgoing):
    """How much of something there is."""

    used: int
    allowed: int | None = Field(description="How much may be; null: as much as you like.")


class UsageOut(Outgoing):
    """How much there is of everything that has a quota."""

    bytes: UsedOut = Field(description="Stored in objects of ours.")
    open_photos: UsedOut = Field(description="Photos that have not ended.")
    open_jobs: UsedOut = Field(description="Jobs that have not ended.")

    @classmethod
    def of(cls, found: Sequence[Usage]) -> Self:
        """The same, as a client sees it."""
        told = {one.kind: UsedOut(used=one.used, allowed=one.allowed) for one in found}
        return cls(
            bytes=told[QuotaKind.BYTES],
            open_photos=told[QuotaKind.OPEN_PHOTOS],
            open_jobs=told[QuotaKind.OPEN_JOBS],
        )
