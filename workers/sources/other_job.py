"""The photos of another job, in its order: the same photos, of which nothing is read again."""

from collections.abc import Iterator

from db.errors import SourceMissingError
from db.listing import photos_of_job
from db.page import ListedEntry, Page
from db.session import transaction
from workers.sources.reading import Reading

PAGE_ITEMS = 1000


def pages(reading: Reading) -> Iterator[Page]:
    """Pages of up to 1,000 photos. The cursor is the id of a page's last item."""
    if reading.claim.from_job_id is None:
        raise SourceMissingError("the other job was deleted before its photos were listed")
    after = int(reading.claim.cursor or 0)
    while found := _found(reading, after):
        after = found[-1][0]
        yield Page(entries=[entry for _, entry in found], cursor=str(after))


def _found(reading: Reading, after: int) -> list[tuple[int, ListedEntry]]:
    def read() -> list[tuple[int, ListedEntry]]:
        with transaction(reading.context.database) as session:
            return photos_of_job(session, reading.claim, after=after, limit=PAGE_ITEMS)

    return reading.asked(read)
