"""Answers that are kept for a day, so that a request which is sent again happens once.

The row is written in the transaction that does what was asked for. Its key alone decides: whatever
becomes of locks, of two transactions under one key one is committed.
"""

import datetime as dt
import uuid
from dataclasses import dataclass

from sqlalchemy import delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import Job, KeptAnswer

KEPT_FOR = dt.timedelta(hours=24)
FORGOTTEN_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is known of an earlier request under a key."""

    fingerprint: bytes
    answer: bytes | None
    """Sealed; None where its process died before it knew the answer, and the job is still there."""
    job_id: uuid.UUID | None


def find_answer(session: Session, tenant_id: int, key_hash: bytes) -> Kept | None:
    """What is kept under the key; None too where its job is gone, and with it the answer."""
    row = session.execute(
        select(KeptAnswer.fingerprint, KeptAnswer.answer, KeptAnswer.job_id).where(
            KeptAnswer.tenant_id == tenant_id,
            KeptAnswer.key_hash == key_hash,
            or_(
                KeptAnswer.answer.is_not(None),
                exists().where(Job.tenant_id == tenant_id, Job.id == KeptAnswer.job_id),
            ),
        )
    ).one_or_none()
    return None if row is None else Kept(**row._mapping)


def keep_answer(session: Session, tenant_id: int, key_hash: bytes, kept: Kept) -> bool:
    """Keeps an answer, or that there will be one. False where another was faster."""
    values = {"fingerprint": kept.fingerprint, "answer": kept.answer, "job_id": kept.job_id}
    made = session.execute(
        insert(KeptAnswer)
        .values(tenant_id=tenant_id, key_hash=key_hash, **values)
        .on_conflict_do_update(
            index_elements=["tenant_id", "key_hash"],
            set_=values | {"created_at": func.now()},
            # One without an answer is ours, or of a process that died.
            where=KeptAnswer.answer.is_(None),
        )
        .returning(KeptAnswer.tenant_id)
    ).all()
    return bool(made)


def forget_answers(session: Session) -> int:
    """Deletes answers that were kept long enough; returns how many."""
    old = (
        select(KeptAnswer.tenant_id, KeptAnswer.key_hash)
        .where(KeptAnswer.created_at < func.now() - KEPT_FOR)
        .limit(FORGOTTEN_AT_ONCE)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    gone = session.execute(
        delete(KeptAnswer)
        .where(KeptAnswer.tenant_id == old.c.tenant_id, KeptAnswer.key_hash == old.c.key_hash)
        .returning(KeptAnswer.tenant_id)
    ).all()
    return len(gone)
