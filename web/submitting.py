"""Submissions: received photos become a job in one transaction."""

import contextlib
import uuid
from collections.abc import Callable, Sequence

from db import accept, jobs, sources
from db.errors import ConflictingChangesError
from db.failpoints import Failpoint, reached
from db.session import Session, retried, transaction
from db.sources import NewSource
from db.states import JobPriority, SourceKind
from db.views import JobView, NewItem, NewJob
from db.whole_jobs import create_whole_job, is_whole
from pipeline.thresholds import WantedThreshold
from web.accepting import Received
from web.answers import keep_accepted
from web.schemas.base import PreferHeader
from web.schemas.jobs import JobIn
from web.services import Services
from web.services import services as current_services
from web.waiting import preferred_wait_s

Noted = Callable[[Session, JobView], object]
INTERACTIVE_PHOTOS = 8


def submit(
    services: Services,
    new: NewJob,
    arrived: Received,
    *,
    noted: Noted = keep_accepted,
) -> JobView:
    """Makes a job of the photos that takes no others; returns it once it is committed.

    `noted` is called with it in the transaction: it keeps the answer.
    """
    if not arrived.archives and is_whole(arrived.photos):
        # Where others are at the same photos, or had them before, it takes more than a step; so it
        # does where the tenant has quotas that nobody knew of.
        with contextlib.suppress(ConflictingChangesError):
            return _at_once(services, new, arrived, noted)

    def by_steps(session: Session) -> JobView:
        with services.quotas.kept(session, services.tenant_id):
            job = _by_steps(session, services, new, arrived)
        noted(session, job)
        return job

    return retried(services.database, by_steps)


def _at_once(services: Services, new: NewJob, arrived: Received, noted: Noted) -> JobView:
    photos, upload_id, tenant_id = arrived.photos, arrived.upload_id, services.tenant_id
    limited = services.quotas.are_known(tenant_id)
    with transaction(services.database) as session:
        with services.quotas.kept(session, tenant_id) if limited else contextlib.nullcontext():
            job = create_whole_job(session, tenant_id, new, photos, upload_id, quotas_held=limited)
        noted(session, job)
        reached(Failpoint.ACCEPT_UNCOMMITTED)
        return job


def _by_steps(session: Session, services: Services, new: NewJob, arrived: Received) -> JobView:
    accept.hold_known_photos(session, services.tenant_id, arrived.photos)
    job_id = jobs.create_job(session, services.tenant_id, new)
    add_arrived(session, services, job_id, arrived, arrived.photos)
    jobs.seal_job(session, services.tenant_id, job_id)
    arrived.settle(session)
    return jobs.get_job(session, services.tenant_id, job_id)


def add_arrived(
    session: Session,
    services: Services,
    job_id: uuid.UUID,
    arrived: Received,
    photos: Sequence[NewItem],
    *,
    subject_id: uuid.UUID | None = None,
) -> None:
    """Adds what a request has brought to a job: its `photos`, and its archives as sources.

    `subject_id` is whom the request itself names.
    """
    if photos:
        accept.add_items(session, services.tenant_id, job_id, photos)
    for archive in arrived.archives:
        new = NewSource(kind=SourceKind.ARCHIVE, archive=archive)
        sources.add_source(session, services.tenant_id, job_id, new, subject_id=subject_id)


def priority_of(header: PreferHeader, arrived: Received) -> JobPriority:
    """Of a submission that says nothing of it: somebody who waits for few photos goes first."""
    waits = preferred_wait_s(header.prefer) > 0
    few = len(arrived.photos) <= INTERACTIVE_PHOTOS and not arrived.archives
    return JobPriority.INTERACTIVE if waits and few else JobPriority.NORMAL


def new_job(wanted: JobIn, default: JobPriority = JobPriority.NORMAL) -> NewJob:
    """What the client asked for, as the ledger takes it; with no priority, the `default`.

    Raises `TargetRefusedError` where its callback may not go where it should.
    """
    if wanted.callback_url is not None:
        current_services().webhook_targets.check_url(wanted.callback_url)
    first, *further = wanted.gallery_ids or (None,)
    return NewJob(
        kind=wanted.kind,
        gallery_id=first,
        further_gallery_ids=tuple(filter(None, further)),
        priority=JobPriority[wanted.priority.name] if wanted.priority else default,
        subject_id=wanted.subject,
        threshold=WantedThreshold(
            distance=wanted.threshold,
            target_fmr=wanted.target_fmr,
            target_fpir=wanted.target_fpir,
        ),
        top_k=wanted.top_k,
        multiple_faces=wanted.multiple_faces,
        limits=wanted.limits,
        engine=wanted.engine,
        callback_url=wanted.callback_url,
    )
