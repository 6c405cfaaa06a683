"""Which format is written how, and who can write it."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from db.exports.jsonl import jsonl_chunks
from db.exports.pages import Lines, photo_pages, subject_pages
from db.exports.tables import csv_chunks, subjects_csv_chunks
from db.exports.zip_file import xmp_chunks
from db.session import Database, Session
from db.states import ExportFormat

STREAMED = (
    ExportFormat.JSONL,
    ExportFormat.CSV,
    ExportFormat.SUBJECTS_JSONL,
    ExportFormat.SUBJECTS_CSV,
)
"""Formats that the web server writes as it answers; workers write all of them."""
OF_SUBJECTS = (ExportFormat.SUBJECTS_JSONL, ExportFormat.SUBJECTS_CSV)
MEDIA_TYPES = {
    ExportFormat.JSONL: "application/x-ndjson",
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
    ExportFormat.XMP: "application/zip",
    ExportFormat.SUBJECTS_JSONL: "application/x-ndjson",
    ExportFormat.SUBJECTS_CSV: "text/csv; charset=utf-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be written."""

    tenant_id: int
    job_id: uuid.UUID
    format: ExportFormat
    unknown_faces: bool = True
    """Of sidecars alone: whether they have regions of faces that were taken for nobody."""

    @property
    def file_name(self) -> str:
        """What a browser calls the file."""
        return file_name(self.job_id, self.format)


def file_name(job_id: uuid.UUID, export_format: ExportFormat) -> str:
    """What a browser calls the file."""
    suffix = "xmp.zip" if export_format is ExportFormat.XMP else export_format.value
    return f"{job_id}.{suffix}"


def export_chunks(
    database: Database,
    wanted: Wanted,
    *,
    at_page: Callable[[Session], None] = lambda _session: None,
    count: Callable[[int], None] = lambda _count: None,
) -> Iterator[bytes]:
    """The file, in pieces, read from the database page by page; see `photo_pages`.

    `count` is told how many photos or subjects have been read, page by page.
    """
    pages = subject_pages if wanted.format in OF_SUBJECTS else photo_pages
    found = pages(database, wanted.tenant_id, wanted.job_id, at_page=at_page)
    return chunks_of(wanted.format, _counted(found, count), unknown_faces=wanted.unknown_faces)


def chunks_of(
    export_format: ExportFormat, pages: Lines, *, unknown_faces: bool = True
) -> Iterator[bytes]:
    """Pages of lines in a format."""
    if export_format is ExportFormat.PARQUET:
        # Imported where it is needed: the web server has no pyarrow, and never gets here.
        from db.exports.parquet_file import parquet_chunks

        return parquet_chunks(pages)
    if export_format is ExportFormat.XMP:
        return xmp_chunks(pages, unknown_faces=unknown_faces)
    if export_format is ExportFormat.CSV:
        return csv_chunks(pages)
    if export_format is ExportFormat.SUBJECTS_CSV:
        return subjects_csv_chunks(pages)
    return jsonl_chunks(pages)


def _counted(pages: Lines, count: Callable[[int], None]) -> Lines:
    total = 0
    for page in pages:
        total += len(page)
        count(total)
        yield page
