"""Exports of a job's results, in and out."""

import datetime as dt
import uuid
from typing import Literal, Self

from pydantic import Field, model_validator

from db.exports.queue import ExportView
from db.states import ExportFormat, ExportState
from web.schemas.base import Incoming, JobPath, JsonBody, Outgoing
from web.schemas.results import ItemErrorOut

LINK_S = 3600
"""How long a link to an export in the bucket leads there."""


class ExportQuery(Incoming):
    """What a streamed export is written as."""

    format: Literal[
        ExportFormat.JSONL,
        ExportFormat.CSV,
        ExportFormat.SUBJECTS_JSONL,
        ExportFormat.SUBJECTS_CSV,
    ] = Field(
        description="`jsonl`: a photo a line, as in the results. `csv`: a face a line. "
        "`subjects.jsonl`, `subjects.csv`: a subject a line."
    )


class ExportIn(JsonBody):
    """An export to be written into the bucket."""

    format: ExportFormat = Field(
        description="One of the formats that can be streamed, or `parquet` (a face a row) or `xmp` "
        "(a zip of sidecar files with the faces as regions)."
    )
    unknown_faces: bool = Field(
        default=True,
        description="For `xmp`: whether faces that are taken for nobody get a region too.",
    )

    @model_validator(mode="after")
    def _fits_its_format(self) -> Self:
        if "unknown_faces" in self.model_fields_set and self.format is not ExportFormat.XMP:
            raise ValueError(f"{self.format.value} takes no unknown_faces; leave it out")
        return self


class ExportPath(JobPath):
    export_id: uuid.UUID


class ExportOut(Outgoing):
    """An export that is, or is being, written into the bucket."""

    id: uuid.UUID
    job: uuid.UUID
    format: ExportFormat
    unknown_faces: bool
    state: ExportState
    job_ended: bool | None = Field(
        description="Whether the job had ended when the writing began: if not, photos that were "
        "under way then stand in it as they were. Null before it has begun."
    )
    written: int = Field(description="Photos (or subjects) that have been written so far.")
    size_bytes: int | None
    sha256: str | None = Field(description="Of the file, in hex.")
    error: ItemErrorOut | None
    url: str | None = Field(description="From where to fetch it, without further authentication.")
    url_expires_at: dt.datetime | None = Field(description="Ask again for a new link after that.")
    created_at: dt.datetime
    finished_at: dt.datetime | None
    expires_at: dt.datetime = Field(description="When it is deleted.")

    @classmethod
    def of(cls, view: ExportView, *, url: str | None = None) -> Self:
        """From what the query returned, with a link that was made this moment."""
        error = ItemErrorOut(code=view.error_code, detail=view.error_detail or "") \
            if view.error_code else None  # fmt: skip
        valid = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=LINK_S)
        return cls(
            id=view.id,
            job=view.job_id,
            format=view.format,
            unknown_faces=view.unknown_faces,
            state=view.state,
            job_ended=view.job_ended,
            written=view.n_written,
            size_bytes=view.size_bytes,
            sha256=view.sha256.hex() if view.sha256 else None,
            error=error,
            url=url,
            url_expires_at=valid if url else None,
            created_at=view.created_at,
            finished_at=view.finished_at,
            expires_at=view.expires_at,
        )


class ExportsOut(Outgoing):
    """The exports of a job, the latest first."""

    exports: list[ExportOut]
