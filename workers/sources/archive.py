"""The photos in a zip, which is checked as a whole before the first of them is taken."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from db.page import ListedEntry, Page
from db.places import PhotoPlace
from pipeline.archives.entry import Position
from pipeline.archives.errors import ArchiveTooLargeError
from pipeline.archives.inspection import inspect
from pipeline.archives.limits import ArchiveLimits
from pipeline.archives.listing import ArchiveItem, items
from workers.sources.reading import Reading

PAGE_ITEMS = 1000


def pages(reading: Reading) -> Iterator[Page]:
    """Pages of up to 1,000 entries. The cursor is where in the directory the next one begins.

    Raises `ArchiveError` where the archive is refused.
    """
    settings = reading.context.settings
    limits = ArchiveLimits(
        max_entries=settings.max_archive_entries,
        max_total_bytes=settings.max_archive_bytes,
        max_photo_bytes=settings.max_upload_bytes,
    )
    head = reading.head()
    if head.size_bytes > limits.max_total_bytes:
        raise ArchiveTooLargeError(
            f"the archive has more than the {limits.max_total_bytes} bytes allowed; send its "
            "photos in several"
        )

    def read(offset: int, length: int) -> bytes:
        return reading.get(offset, length, etag=head.etag)

    inspection = inspect(head.size_bytes, read, limits)
    start = _position(reading.claim.cursor)
    # What was left out is told with the first page, which is there: an archive without is refused.
    n_skipped = inspection.left_out if start is None else 0
    found = items(inspection, read, limits, start)
    while some := list(islice(found, PAGE_ITEMS)):
        page = _page(reading, some, etag=head.etag)
        yield replace(page, n_skipped=n_skipped)
        n_skipped = 0


def _page(reading: Reading, some: list[ArchiveItem], *, etag: str) -> Page:
    after = some[-1].entry.after
    return Page(
        entries=[_entry(reading, one, etag=etag) for one in some],
        cursor=f"{after.offset} {after.index}",
        etag=etag,
        archive_id=reading.claim.archive_id,
    )


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    offset, index = map(int, cursor.split())
    return Position(offset=offset, index=index)


def _entry(reading: Reading, item: ArchiveItem, *, etag: str) -> ListedEntry:
    bucket = reading.claim.bucket
    entry = ListedEntry(
        name=item.label,
        client_id=item.label,
        source_key=None if bucket is None else reading.key,
        source_bucket=bucket,
    )
    if item.error is not None:
        return entry.failed(item.error.code, str(item.error), client_id=item.label)
    place = item.entry.place
    return replace(
        entry,
        photo=PhotoPlace(
            bucket=bucket,
            object_key=reading.key,
            etag=etag,
            size_bytes=place.size_bytes,
            entry=place,
        ),
    )
