"""The ledger's moves of a listing: claim a source, add its pages, end it or hand it back."""

import datetime as dt
import uuid
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Update, func, select, text, update
from sqlalchemy.orm import Session

from db import nudge
from db.errors import JobNotFoundError, SourceEmptyError, SourceMissingError
from db.failpoints import Failpoint, reached
from db.jobs import is_kept, lock_job
from db.models import Item, Job, Source
from db.page import ListedEntry, Page, insert_page
from db.progress import finish_if_complete
from db.quotas import NO_DEFAULTS, Allowed, hold_quotas, quotas_of, used_by
from db.source_ends import end_source
from db.states import OPEN_JOB_STATES, QuotaKind, SourceKind, SourceState
from pipeline.errors import FaceBatchError

ROOM_DELAY_S = 5.0
"""A source whose tenant has too many photos under way is looked at again after this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceClaim:
    """A source that this worker lists, and where it is to go on."""

    source_id: uuid.UUID
    fence: int
    tenant_id: int
    tenant_name: str
    job_id: uuid.UUID
    kind: SourceKind
    bucket: str | None
    object_key: str | None
    etag: str | None
    archive_id: uuid.UUID | None
    archive_key: str | None
    from_job_id: uuid.UUID | None
    cursor: str | None


_CLAIM = text("""
    WITH free AS (
        SELECT source.id
        FROM source
        JOIN job ON job.id = source.job_id
        WHERE source.id = :id
          AND (source.state = 'queued' OR (source.state = 'running' AND lease_until < now()))
          AND source.attempt < :max_attempts
          AND job.state IN ('queued', 'running')
          AND job.paused_at IS NULL AND job.cancel_requested_at IS NULL
        FOR UPDATE OF source SKIP LOCKED
    ), claimed AS (
        UPDATE source
        SET state = 'running', fence = fence + 1, attempt = attempt + 1,
            lease_until = clock_timestamp() + make_interval(secs => :lease_s)
        FROM free
        WHERE source.id = free.id
        RETURNING source.*
    )
    SELECT c.id AS source_id, c.fence, c.tenant_id, t.name AS tenant_name, c.job_id, c.kind,
           c.bucket, c.object_key, c.etag, c.archive_id, a.object_key AS archive_key,
           c.from_job_id, c.cursor
    FROM claimed c
    JOIN tenant t ON t.id = c.tenant_id
    LEFT JOIN archive a ON a.id = c.archive_id
""")
# So that it is sent at once when its job goes on.
_UNSEND_PAUSED = text("""
    UPDATE source SET dispatched_at = NULL
    FROM job
    WHERE source.id = :id AND source.state = 'queued'
      AND job.id = source.job_id AND job.paused_at IS NOT NULL
""")


def claim_source(
    session: Session, source_id: uuid.UUID, *, lease_s: float, max_attempts: int
) -> SourceClaim | None:
    """Takes the source where it is queued or its lease has run out, and its job goes on.

    Gives it a new fence, one more attempt and a lease. None: somebody else has it, or nobody may.
    """
    wanted = {"id": source_id, "lease_s": lease_s, "max_attempts": max_attempts}
    row = session.execute(_CLAIM, wanted).one_or_none()
    if row is None:
        session.execute(_UNSEND_PAUSED, {"id": source_id})
        return None
    return SourceClaim(**{**row._mapping, "kind": SourceKind(row.kind)})


def extend_source(session: Session, claim: SourceClaim, *, lease_s: float) -> bool:
    """Lengthens the lease; False where the source is somebody else's by now."""
    lengthened = session.execute(
        _mine(claim).values(lease_until=_in_seconds(lease_s)).returning(Source.id)
    )
    return lengthened.one_or_none() is not None


def waits_for_room(session: Session, claim: SourceClaim, defaults: Allowed) -> bool:
    """Hands the source back where the tenant has as many photos under way as it may."""
    allowed = quotas_of(session, claim.tenant_id, defaults).get(QuotaKind.OPEN_PHOTOS)
    if allowed is None or used_by(session, claim.tenant_id)[QuotaKind.OPEN_PHOTOS] < allowed:
        return False
    release_source(session, claim, delay_s=ROOM_DELAY_S)
    return True


def add_page(
    session: Session,
    claim: SourceClaim,
    page: Page,
    *,
    lease_s: float,
    defaults: Allowed = NO_DEFAULTS,
) -> bool:
    """Adds a page of the source to its job and moves the cursor; whether to go on.

    Where the tenant has as many photos under way as it may, be it by the settings' `defaults`, the
    source waits. A page is added whole, so there may be more of them by less than a page.

    Not where the source is somebody else's by now, or its job is gone, cancelled or paused; a
    paused job's source is handed back. A page that was added shows that the source can be listed,
    so the attempts begin anew. The items of the page come in its order. One that was added before,
    by a commit of which nobody knew whether it happened, is not added again.
    """
    allowed = hold_quotas(session, claim.tenant_id, defaults)
    job = _lock(session, claim)
    if job is None:
        return False
    if QuotaKind.OPEN_PHOTOS in allowed and waits_for_room(session, claim, defaults):
        return False
    cursor = session.scalars(select(Source.cursor).where(Source.id == claim.source_id)).one()
    if cursor == page.cursor:
        return True
    n_listed = insert_page(session, job, page, source_id=claim.source_id)
    session.execute(
        _mine(claim).values(
            cursor=page.cursor,
            etag=page.etag,
            n_items=Source.n_items + n_listed,
            n_skipped=Source.n_skipped + page.n_skipped,
            attempt=0,
            lease_until=_in_seconds(lease_s),
        )
    )
    if job.paused_at is not None:
        release_source(session, claim, delay_s=0)
    reached(Failpoint.PAGE_UNCOMMITTED)
    return job.paused_at is None


def photos_of_job(
    session: Session, claim: SourceClaim, *, after: int, limit: int
) -> list[tuple[int, ListedEntry]]:
    """Photos of the source's other job, those of items behind `after`, with the items' ids.

    An item whose photo was deleted is left out. Raises `SourceMissingError` where the other job is
    deleted, or about to be.
    """
    query = (
        select(
            Item.id, Item.photo_id, Item.name, Item.client_id, Item.source_key, Item.source_bucket
        )
        .where(
            Item.tenant_id == claim.tenant_id,
            Item.job_id == claim.from_job_id,
            Item.id > after,
            Item.photo_id.is_not(None),
        )
        .order_by(Item.id)
        .limit(limit)
    )
    rows = session.execute(query).all()
    # Asked last: a job that is kept now had all of its items when they were read.
    kept = select(Job.id).where(Job.id == claim.from_job_id, is_kept())
    if session.scalars(kept).one_or_none() is None:
        raise SourceMissingError("the other job was deleted before all of its photos were listed")
    return [
        (
            row.id,
            ListedEntry(
                name=row.name,
                client_id=row.client_id,
                source_key=row.source_key,
                source_bucket=row.source_bucket,
                photo_id=row.photo_id,
            ),
        )
        for row in rows
    ]


def finish_source(session: Session, claim: SourceClaim) -> None:
    """Ends a source that is listed to its end; one without any photo has failed."""
    if (job := _lock(session, claim)) is None:
        return
    found = session.scalars(select(Source.n_items).where(Source.id == claim.source_id)).one()
    error = None if found else SourceEmptyError("there is no photo in the source")
    _end(session, claim, job, error)


def fail_source(session: Session, claim: SourceClaim, error: FaceBatchError) -> None:
    """Ends a source that cannot be listed further; what was listed of it stays."""
    if (job := _lock(session, claim)) is not None:
        _end(session, claim, job, error)


def put_off_source(
    session: Session, claim: SourceClaim, error: FaceBatchError, *, delay_s: float, attempts: int
) -> None:
    """Hands the source back, due again after `delay_s`, or ends it with its last attempt.

    The attempt counts, of which a page begins anew.
    """
    if (job := _lock(session, claim)) is None:
        return
    attempt = session.scalars(select(Source.attempt).where(Source.id == claim.source_id)).one()
    if attempt >= attempts:
        _end(session, claim, job, error)
    else:
        _queue(session, claim, attempt=attempt, delay_s=delay_s)


def release_source(session: Session, claim: SourceClaim, *, delay_s: float) -> None:
    """Hands the source back without counting the attempt; it is due again after `delay_s`."""
    _queue(session, claim, attempt=func.greatest(Source.attempt - 1, 0), delay_s=delay_s)


def _queue(
    session: Session, claim: SourceClaim, *, attempt: int | ColumnElement[int], delay_s: float
) -> None:
    session.execute(
        _mine(claim).values(
            state=SourceState.QUEUED,
            attempt=attempt,
            lease_until=None,
            dispatched_at=None,
            due_at=_in_seconds(delay_s),
        )
    )
    nudge.notify(session)


def _lock(session: Session, claim: SourceClaim) -> Job | None:
    """The source's job, both locked; None where the listing ends here.

    The job before its source, as whoever deletes a job locks them.
    """
    try:
        job = lock_job(session, claim.tenant_id, claim.job_id)
    except JobNotFoundError:
        return None
    held = select(Source.id).where(
        Source.id == claim.source_id,
        Source.fence == claim.fence,
        Source.state == SourceState.RUNNING,
    )
    if session.scalars(held.with_for_update()).one_or_none() is None:
        return None  # Another worker has it by now.
    if job.state in OPEN_JOB_STATES and job.cancel_requested_at is None:
        return job
    end_source(session, claim.source_id, SourceState.CANCELLED)
    finish_if_complete(session, [job.id])
    return None


def _end(session: Session, claim: SourceClaim, job: Job, error: FaceBatchError | None) -> None:
    state = SourceState.DONE if error is None else SourceState.FAILED
    end_source(session, claim.source_id, state, error)
    finish_if_complete(session, [job.id])


def _mine(claim: SourceClaim) -> Update:
    return update(Source).where(
        Source.id == claim.source_id,
        Source.fence == claim.fence,
        Source.state == SourceState.RUNNING,
    )


def _in_seconds(delay_s: float) -> ColumnElement[dt.datetime]:
    return func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, delay_s)
