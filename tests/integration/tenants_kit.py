"""What tests of tenants share: somebody who has rows in each table, and looking at tables."""

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterator

from ledger_kit import Kit, item, photo_of
from sqlalchemy import Table, select, text

from db import erase
from db.api_keys import NewKey, create_key
from db.crops.asking import WantedCrop, ask_for_crop
from db.exports.formats import Wanted
from db.exports.queue import create_export
from db.extracting import begin_extracting
from db.kept_answers import Kept, keep_answer
from db.models import Base, Subject
from db.quotas import set_quotas
from db.results import job_items
from db.scopes import Scope
from db.session import Session, transaction
from db.sources import NewArchive, NewSource, add_source
from db.states import EventType, ExportFormat, JobKind, QuotaKind, SourceKind
from db.uploads import begin_upload
from db.webhooks import endpoints
from db.webhooks.deliveries import Attempted, Room, claim_deliveries, record_attempt
from db.webhooks.endpoints import NewEndpoint
from db.webhooks.events import give_out
from db.webhooks.secrets import Safe

_COPY_OF = text("""
    INSERT INTO archive_copy (tenant_id, archive_id, photo_id)
    SELECT tenant_id, archive.id, photo.id FROM archive JOIN photo USING (tenant_id)
    WHERE tenant_id = :tenant_id
""")


def of_tenants() -> Iterator[Table]:
    """Tables whose rows belong to somebody."""
    return (one for one in Base.metadata.sorted_tables if "tenant_id" in one.columns)


def fill(kit: Kit) -> None:
    """Gives the tenant at least one row in each table; there is a test that none was forgotten."""
    people, others = kit.gallery("people"), kit.gallery("others")
    kit.enrol(people, "Ada", 1)
    searched = kit.job(
        item("crowd"), kind=JobKind.IDENTIFY, gallery_id=people, further_gallery_ids=(others,)
    )
    (claimed,) = kit.claim_all()
    kit.record(kit.searched(claimed, photo_of(1, 2)))
    _begin_work(kit, searched)
    _tell(kit)
    with transaction(kit.database) as session:
        set_quotas(session, kit.tenant_id, {QuotaKind.OPEN_JOBS: None})
        create_key(session, kit.tenant_id, NewKey(name="a", scopes=[Scope.READ]), b"k" * 32)


def _tell(kit: Kit) -> None:
    """A webhook that watches somebody, and an event on its way to it after a first attempt."""
    safe = Safe(b"k" * 32)
    with transaction(kit.database) as session:
        (ada,) = session.scalars(select(Subject.id).where(Subject.tenant_id == kit.tenant_id))
        new = NewEndpoint(
            url="https://example.com/",
            event_types=(EventType.MATCH_FOUND,),
            subject_ids=frozenset([ada]),
        )
        endpoint, _ = endpoints.create_endpoint(session, kit.tenant_id, new, safe)
        endpoints.rotate_callback_secret(session, kit.tenant_id, safe, overlap=dt.timedelta(0))
        endpoints.test_endpoint(session, kit.tenant_id, endpoint.id)
        give_out(session)
        room = Room(free=10, lane=10, tenant=10)
        for sending in claim_deliveries(session, room, lease_s=60):
            attempted = Attempted(
                began_at=dt.datetime.now(dt.UTC), latency_ms=1, error_code="timed_out"
            )
            record_attempt(session, sending, attempted)


def _begin_work(kit: Kit, searched: uuid.UUID) -> None:
    """A photo in a worker's hands, a zip, an export and an upload under way; and a deletion."""
    goes, stays = kit.job(item("goes")), kit.job(item("stays"), seal=False)
    claims = {hashlib.sha256(b"stays").digest(): kit.claim_all()[-1]}
    archive = NewArchive(object_key=f"{uuid.uuid4()}/0", size_bytes=1)
    wanted = Wanted(tenant_id=kit.tenant_id, job_id=searched, format=ExportFormat.JSONL)
    with transaction(kit.database) as session:
        begin_extracting(session, claims, mine=())
        new = NewSource(kind=SourceKind.ARCHIVE, archive=archive)
        add_source(session, kit.tenant_id, stays, new)
        session.execute(_COPY_OF, {"tenant_id": kit.tenant_id})
        create_export(session, wanted, keep_for=dt.timedelta(days=1))
        begin_upload(session, kit.tenant_id)
        keep_answer(session, kit.tenant_id, b"key", Kept(fingerprint=b"", answer=b"", job_id=None))
        (shown, *_) = job_items(session, kit.tenant_id, searched)
        face = WantedCrop(face_id=shown.faces[0].id, margin_percent=25, size_px=256)
        ask_for_crop(session, kit.tenant_id, face)
        erase.delete_job(session, kit.tenant_id, goes)


def rows_of(session: Session, table: str, key: str = "tenant_id") -> dict[int, str]:
    """What each tenant has in a table, as one hash."""
    query = f"SELECT {key}, md5(string_agg(one::text, '' ORDER BY one::text)) FROM {table} AS one"
    return {row[0]: row[1] for row in session.execute(text(f"{query} GROUP BY 1"))}
