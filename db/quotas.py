"""How much a tenant may have: bytes with us, photos and jobs under way. What it has, and may not.

Whoever adds something does so within the tenant's quotas. Where it has none, that costs nobody a
lock. Where it has, those who add something for it do so one after the other: so each sees what the
others have added, and together they add no more than what is allowed, to the last byte.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.errors import QuotaExceededError
from db.models import Quota
from db.settings import Settings
from db.states import QuotaKind

LOCKS = 0x71756F74
"""The first half of the locks' numbers; it says "quot"."""
NAMES = {
    QuotaKind.BYTES: "bytes stored",
    QuotaKind.OPEN_PHOTOS: "photos under way",
    QuotaKind.OPEN_JOBS: "jobs under way",
}
Allowed = Mapping[QuotaKind, int]
"""So much of each kind; of one that is not in it, as much as anybody likes."""
NO_DEFAULTS: Allowed = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How much of one kind a tenant has, and may have."""

    kind: QuotaKind
    used: int
    allowed: int | None
    """None: as much as it likes."""


def default_quotas(settings: Settings) -> Allowed:
    """What tenants may have of which nothing else is said."""
    named = {
        QuotaKind.BYTES: settings.quota_bytes,
        QuotaKind.OPEN_PHOTOS: settings.quota_open_photos,
        QuotaKind.OPEN_JOBS: settings.quota_open_jobs,
    }
    return {kind: allowed for kind, allowed in named.items() if allowed is not None}


def quotas_of(session: Session, tenant_id: int, defaults: Allowed) -> Allowed:
    """What the tenant may have."""
    query = select(Quota.kind, Quota.allowed).where(Quota.tenant_id == tenant_id)
    own = {row.kind: row.allowed for row in session.execute(query)}
    together: dict[QuotaKind, int | None] = {**defaults, **own}
    return {kind: allowed for kind, allowed in together.items() if allowed is not None}


def set_quotas(session: Session, tenant_id: int, wanted: Mapping[QuotaKind, int | None]) -> None:
    """Says how much the tenant may have of these kinds; None: as much as it likes.

    It holds for whatever begins from the commit on. What the tenant has stays.
    """
    for kind, allowed in wanted.items():
        values = {"tenant_id": tenant_id, "kind": kind, "allowed": allowed}
        statement = insert(Quota).values(values)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["tenant_id", "kind"], set_={"allowed": allowed}
            )
        )


def reset_quotas(session: Session, tenant_id: int, *kinds: QuotaKind) -> None:
    """Of these kinds the tenant may have what the settings say."""
    session.execute(delete(Quota).where(Quota.tenant_id == tenant_id, Quota.kind.in_(kinds)))


_USED = text("""
    SELECT (SELECT coalesce(sum(change), 0)::bigint FROM storage_tally
            WHERE tenant_id = :tenant_id) AS bytes,
           coalesce(sum(n_items - n_done - n_no_face - n_failed - n_cancelled), 0)::bigint
               AS open_photos,
           count(*) AS open_jobs
    FROM job WHERE tenant_id = :tenant_id AND state IN ('queued', 'running')
""")
_LOCK = text("SELECT pg_advisory_xact_lock(:locks, (:tenant_id % 2147483648)::integer)")


def used_by(session: Session, tenant_id: int) -> dict[QuotaKind, int]:
    """How much of each kind the tenant has, as this transaction sees it."""
    row = session.execute(_USED, {"tenant_id": tenant_id}).one()
    return {kind: getattr(row, kind.value) for kind in QuotaKind}


def usage_of(session: Session, tenant_id: int, defaults: Allowed) -> list[Usage]:
    """How much of each kind the tenant has, and may have."""
    allowed = quotas_of(session, tenant_id, defaults)
    used = used_by(session, tenant_id)
    return [Usage(kind=one, used=used[one], allowed=allowed.get(one)) for one in QuotaKind]


def hold_quotas(session: Session, tenant_id: int, defaults: Allowed) -> Allowed:
    """What the tenant may have. Where there is a limit, nobody else adds before the commit.

    To be called before anything else is locked: whoever waits here holds nothing.
    """
    allowed = quotas_of(session, tenant_id, defaults)
    if allowed:
        session.execute(_LOCK, {"locks": LOCKS, "tenant_id": tenant_id})
    return allowed


@contextlib.contextmanager
def within_quotas(session: Session, tenant_id: int, defaults: Allowed) -> Iterator[bool]:
    """What is added inside the context is within the tenant's quotas; yields whether it has any.

    Raises `QuotaExceededError`, with which the transaction is to be rolled back, where the tenant
    would have more of something than it had and may have.
    """
    allowed = hold_quotas(session, tenant_id, defaults)
    if not allowed:
        yield False
        return
    # A statement of its own, so that it sees what those have committed who held the lock.
    before = used_by(session, tenant_id)
    yield True
    after = used_by(session, tenant_id)
    for kind, most in allowed.items():
        if after[kind] > max(most, before[kind]):
            raise exceeded(kind, used=before[kind], allowed=most, more=after[kind] - before[kind])


def require_room(session: Session, tenant_id: int, defaults: Allowed, *kinds: QuotaKind) -> None:
    """Raises `QuotaExceededError` where nothing more of one of the kinds would be taken.

    For a look beforehand, before something large is read; it holds nothing.
    """
    for one in usage_of(session, tenant_id, defaults):
        if one.kind in kinds and one.allowed is not None and one.used >= one.allowed:
            raise exceeded(one.kind, used=one.used, allowed=one.allowed, more=1)


def exceeded(kind: QuotaKind, *, used: int, allowed: int, more: int) -> QuotaExceededError:
    """The error that so many more are too many."""
    helps = "delete what is not needed" if kind is QuotaKind.BYTES else "wait until some have ended"
    return QuotaExceededError(
        f"there are {used} {NAMES[kind]} of the {allowed} allowed, and {more} more would be too "
        f"many: {helps}, or have the quota raised",
        quota=kind,
        used=used,
        allowed=allowed,
    )
