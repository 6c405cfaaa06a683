"""Sources in a request become sources of a job, where the tenant may name them."""

import uuid
from collections.abc import Sequence

from db import jobs, sources
from db.session import Session, retried, transaction
from db.sources import NewArchive, NewSource
from db.states import SourceKind
from db.uploads import require_upload
from db.views import JobView, NewJob
from web.answers import keep_accepted
from web.schemas.sources import AnySourceIn, OtherJobIn, PrefixIn
from web.services import Services
from web.uploading import sent_file


def new_source(services: Services, wanted: AnySourceIn) -> NewSource:
    """What the client names, as the ledger takes it.

    Raises `SourceNotAllowedError`, `UploadNotFoundError` and `UploadIncompleteError`.
    """
    kind = SourceKind(wanted.kind)
    if isinstance(wanted, OtherJobIn):
        return NewSource(kind=kind, from_job_id=wanted.job)
    if not isinstance(wanted, PrefixIn) and wanted.upload is not None:
        return _uploaded(services, kind, wanted.upload)
    bucket = wanted.bucket or services.settings.s3_bucket
    key = wanted.prefix if isinstance(wanted, PrefixIn) else wanted.key or ""
    services.places.require(bucket, key)
    return NewSource(kind=kind, bucket=bucket, object_key=key)


def _uploaded(services: Services, kind: SourceKind, upload_id: uuid.UUID) -> NewSource:
    with transaction(services.database) as session:
        # Before the bucket is asked: it knows nothing of whose an upload is.
        require_upload(session, services.tenant_id, upload_id)
    file = sent_file(services, upload_id)
    if kind is SourceKind.MANIFEST:
        return NewSource(kind=kind, object_key=file.key, upload_id=upload_id)
    archive = NewArchive(object_key=file.key, size_bytes=file.size_bytes)
    return NewSource(kind=kind, archive=archive, upload_id=upload_id)


def submit_sources(services: Services, new: NewJob, found: Sequence[NewSource]) -> JobView:
    """Makes a job of the sources that takes nothing else; returns it once it is committed."""

    def work(session: Session) -> JobView:
        with services.quotas.kept(session, services.tenant_id):
            job_id = jobs.create_job(session, services.tenant_id, new)
            for one in found:
                sources.add_source(session, services.tenant_id, job_id, one)
        jobs.seal_job(session, services.tenant_id, job_id)
        return keep_accepted(session, jobs.get_job(session, services.tenant_id, job_id))

    return retried(services.database, work)
