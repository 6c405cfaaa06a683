"""The objects of a bucket below a prefix, as if they were the files of a folder."""

from collections.abc import Iterator

from db.page import Page
from db.places import PhotoPlace
from db.storage import ListedObject
from workers.sources.naming import entry_of, is_photo
from workers.sources.reading import Reading


def pages(reading: Reading) -> Iterator[Page]:
    """Pages of up to 1,000 objects. The cursor is the last key of a page."""
    after = reading.claim.cursor or ""
    while objects := reading.objects(after=after):
        after = objects[-1].key
        yield _page(reading, objects)


def _page(reading: Reading, objects: list[ListedObject]) -> Page:
    bucket = reading.bucket or reading.places.own_bucket
    # A prefix that ends within a name leaves the name whole.
    folder_chars = reading.key.rfind("/") + 1
    taken = [
        one
        for one in objects
        if is_photo(one.key[folder_chars:]) and reading.places.hold(bucket, one.key)
    ]
    entries = [
        entry_of(
            one.key[folder_chars:],
            PhotoPlace(
                bucket=bucket,
                object_key=one.key,
                etag=one.etag,
                size_bytes=one.size_bytes,
                entry=None,
            ),
            max_bytes=reading.context.settings.max_upload_bytes,
        )
        for one in taken
    ]
    return Page(entries=entries, cursor=objects[-1].key, n_skipped=len(objects) - len(taken))
