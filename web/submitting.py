"""Submissions: received photos become a job in one transaction."""

from db import accept, jobs
from db.session import Session, retried
from db.states import JobPriority
from db.views import JobView, NewJob
from pipeline.thresholds import WantedThreshold
from web.accepting import Received
from web.schemas.base import PreferHeader
from web.schemas.jobs import JobIn
from web.services import Services
from web.waiting import preferred_wait_s

INTERACTIVE_PHOTOS = 8


def submit(services: Services, new: NewJob, arrived: Received) -> JobView:
    """Makes a job of the photos that takes no others; returns it once it is committed."""

    def work(session: Session) -> JobView:
        accept.hold_known_photos(session, services.tenant_id, arrived.photos)
        job_id = jobs.create_job(session, services.tenant_id, new)
        accept.add_items(session, services.tenant_id, job_id, arrived.photos)
        jobs.seal_job(session, services.tenant_id, job_id)
        arrived.settle(session)
        return jobs.get_job(session, services.tenant_id, job_id)

    return retried(services.database, work)


def priority_of(header: PreferHeader, photos: int) -> JobPriority:
    """Of a submission that says nothing of it: somebody who waits for few photos goes first."""
    waits = preferred_wait_s(header.prefer) > 0
    return JobPriority.INTERACTIVE if waits and photos <= INTERACTIVE_PHOTOS else JobPriority.NORMAL


def new_job(wanted: JobIn, default: JobPriority = JobPriority.NORMAL) -> NewJob:
    """What the client asked for, as the ledger takes it; with no priority, the `default`."""
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
    )
