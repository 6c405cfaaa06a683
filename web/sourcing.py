"""Sources in a request become sources of a job, where the tenant may name them."""

from collections.abc import Sequence

from db import jobs, sources
from db.session import Session, retried
from db.sources import NewSource
from db.states import SourceKind
from db.views import JobView, NewJob
from web.schemas.sources import AnySourceIn, OtherJobIn, PrefixIn
from web.services import Services


def new_source(services: Services, wanted: AnySourceIn) -> NewSource:
    """What the client names, as the ledger takes it; raises `SourceNotAllowedError`."""
    kind = SourceKind(wanted.kind)
    if isinstance(wanted, OtherJobIn):
        return NewSource(kind=kind, from_job_id=wanted.job)
    bucket = wanted.bucket or services.settings.s3_bucket
    key = wanted.prefix if isinstance(wanted, PrefixIn) else wanted.key or ""
    services.places.require(bucket, key)
    return NewSource(kind=kind, bucket=bucket, object_key=key)


def submit_sources(services: Services, new: NewJob, found: Sequence[NewSource]) -> JobView:
    """Makes a job of the sources that takes nothing else; returns it once it is committed."""

    def work(session: Session) -> JobView:
        job_id = jobs.create_job(session, services.tenant_id, new)
        for one in found:
            sources.add_source(session, services.tenant_id, job_id, one)
        jobs.seal_job(session, services.tenant_id, job_id)
        return jobs.get_job(session, services.tenant_id, job_id)

    return retried(services.database, work)
