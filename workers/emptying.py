"""Archives that must go with a photo in them: the others move out, to objects of their own."""

from collections.abc import Sequence

from db.archives import Survivor, move_out, survivors
from db.errors import ObjectMissingError
from db.session import Database, transaction
from db.storage import ObjectStore
from db.uploads import abandon_upload, begin_upload, end_upload
from pipeline.archives.errors import ArchiveEntryError
from pipeline.archives.reading import unpack

MOST_AT_ONCE = 200
"""Photos that are moved in one look of the reconciler, which has leases to look at too."""


def move_survivors(database: Database, store: ObjectStore) -> int:
    """Moves some photos out of archives that are doomed; returns how many.

    A death on the way leaves an upload that is swept, or a photo that is moved next time.
    """
    with transaction(database) as session:
        found = survivors(session, limit=MOST_AT_ONCE)
    return sum(_move(database, store, one) for one in found)


def _move(database: Database, store: ObjectStore, survivor: Survivor) -> bool:
    with transaction(database) as session:
        upload_id = begin_upload(session, survivor.tenant_id)
    key = f"{upload_id}/0"
    for data in _data(store, survivor):
        store.put(key, [data])
    with transaction(database) as session:
        moved = move_out(session, survivor.photo_id, key)
        if moved:
            end_upload(session, upload_id)
        else:
            abandon_upload(session, survivor.tenant_id, upload_id, [key])
    return moved


def _data(store: ObjectStore, survivor: Survivor) -> Sequence[bytes]:
    """The photo's bytes; none where they cannot be read, as its item will have been told.

    Then the photo keeps its results, and a key under which there is nothing.
    """

    def read(offset: int, length: int) -> bytes:
        return store.get(survivor.archive_key, span=(offset, length))

    try:
        return [unpack(survivor.entry, b"", read)]
    except (ArchiveEntryError, ObjectMissingError):
        return []
