"""What tests of sources share: buckets with photos in them, and a worker that lists."""

import io
import uuid
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ledger_kit import MAX_ATTEMPTS, Kit
from sqlalchemy import select, text

from db import jobs, listing, sources
from db.errands import dispatch_errands
from db.models import Item, Photo
from db.session import transaction
from db.settings import Settings
from db.sources import NewSource, SourceView
from db.states import SourceKind
from db.storage import ObjectStore
from workers.context import WorkerContext
from workers.stages.listing import list_source

FOLDER = "sources/owner/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lister:
    """The owner's jobs with sources, and the worker that lists them."""

    kit: Kit
    settings: Settings
    store: ObjectStore

    @property
    def context(self) -> WorkerContext:
        return WorkerContext(settings=self.settings, database=self.kit.database, store=self.store)

    def file(self, data: bytes) -> str:
        """The key of a file of its own where the owner's sources may lie."""
        return self.store.put(f"{self.folder()}file", [data]).key

    def folder(self) -> str:
        """A place of its own where the owner's sources may lie."""
        return f"{FOLDER}{uuid.uuid4().hex}/"

    def opened(self, key: str) -> io.BytesIO:
        return io.BytesIO(self.store.get(key))

    def with_settings(self, **update: object) -> "Lister":
        return replace(self, settings=self.settings.model_copy(update=update))

    def fill(self, folder: str, *names: str, data: bytes = b"x") -> None:
        for name in names:
            self.store.put(folder + name, [data])

    def job(self, *new: NewSource, seal: bool = True, **wanted: object) -> uuid.UUID:
        job_id = self.kit.job(seal=False, **wanted)
        for one in new:
            self.add(job_id, one)
        if seal:
            self.seal(job_id)
        return job_id

    def add(self, job_id: uuid.UUID, new: NewSource) -> uuid.UUID:
        with transaction(self.kit.database) as session:
            return sources.add_source(session, self.kit.tenant_id, job_id, new)

    def seal(self, job_id: uuid.UUID) -> None:
        with transaction(self.kit.database) as session:
            jobs.seal_job(session, self.kit.tenant_id, job_id)

    def due(self) -> list[uuid.UUID]:
        with transaction(self.kit.database) as session:
            return [one.id for one in dispatch_errands(session, in_flight=100)]

    def claim(self, source_id: uuid.UUID, lease_s: float = 60) -> listing.SourceClaim | None:
        with transaction(self.kit.database) as session:
            return listing.claim_source(
                session, source_id, lease_s=lease_s, max_attempts=MAX_ATTEMPTS
            )

    def list_all(self) -> None:
        """Lists until nothing is due."""
        while found := self.due():
            for source_id in found:
                list_source(self.context, source_id)

    def views(self, job_id: uuid.UUID) -> list[SourceView]:
        with transaction(self.kit.database) as session:
            return sources.list_sources(session, self.kit.tenant_id, job_id)

    def items(self, job_id: uuid.UUID) -> list[Item]:
        with transaction(self.kit.database) as session:
            return list(
                session.scalars(select(Item).where(Item.job_id == job_id).order_by(Item.id))
            )

    def ids(self, job_id: uuid.UUID) -> list[str | None]:
        return [one.client_id for one in self.items(job_id)]

    def photos(self) -> Mapping[uuid.UUID, Photo]:
        with transaction(self.kit.database) as session:
            return {one.id: one for one in session.scalars(select(Photo))}

    def execute(self, statement: str) -> None:
        with transaction(self.kit.database) as session:
            session.execute(text(statement))


def prefix(key: str, bucket: str = "facebatch") -> NewSource:
    return NewSource(kind=SourceKind.PREFIX, bucket=bucket, object_key=key)


def at_key(kind: SourceKind, key: str) -> NewSource:
    return NewSource(kind=kind, bucket="facebatch", object_key=key)


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of the files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()
