"""Sources and uploads of photos, and exports of results."""

import datetime as dt
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from facebatch.client.models.base import OPEN, Answer, Error, Page

SourceKind = Annotated[Literal["archive", "prefix", "manifest", "job"], OPEN]
SourceState = Annotated[Literal["queued", "running", "done", "failed", "cancelled"], OPEN]
UploadKind = Annotated[Literal["photos", "archive", "manifest"], OPEN]
FileKind = Literal["archive", "manifest"]
"""Files that hold or name photos: what an upload and a source have in common."""
ExportState = Annotated[Literal["queued", "running", "done", "failed"], OPEN]
StreamedFormat = Annotated[Literal["jsonl", "csv", "subjects.jsonl", "subjects.csv"], OPEN]
ExportFormat = Annotated[
    Literal["jsonl", "csv", "parquet", "xmp", "subjects.jsonl", "subjects.csv"], OPEN
]


class Source(Answer):
    """Where a job's photos are, and how far they are listed."""

    id: UUID
    kind: SourceKind
    state: SourceState
    bucket: str | None
    key: str | None
    prefix: str | None
    job: UUID | None
    photos: int
    skipped: int
    error: Error | None
    created_at: dt.datetime
    finished_at: dt.datetime | None


class Sources(Page[Source]):
    """A page of a job's sources."""

    FIELD: ClassVar = "sources"

    sources: tuple[Source, ...]


class UploadForm(Answer):
    """How to send a file: whoever has this may."""

    part: int
    url: str = Field(repr=False)
    fields: dict[str, str] = Field(repr=False)


class Upload(Answer):
    """Files that go to the bucket, past the API."""

    id: UUID
    forms_expire_at: dt.datetime
    expires_at: dt.datetime
    files: tuple[UploadForm, ...]


class Export(Answer):
    """A file of a job's results in the bucket."""

    id: UUID
    job: UUID
    format: ExportFormat
    unknown_faces: bool
    state: ExportState
    job_ended: bool | None
    written: int
    size_bytes: int | None
    sha256: str | None
    error: Error | None
    url: str | None = Field(repr=False)
    """From where to fetch it: whoever has this may."""
    url_expires_at: dt.datetime | None
    created_at: dt.datetime
    finished_at: dt.datetime | None
    expires_at: dt.datetime


class Exports(Answer):
    """The exports of a job, the latest first."""

    exports: tuple[Export, ...]
