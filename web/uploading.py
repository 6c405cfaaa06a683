"""Uploads that go to the bucket past us: forms for a client's files, and what came of them."""

import time
import uuid
from collections.abc import Collection, Iterable, Iterator

from db.errors import ObjectMissingError, UploadIncompleteError
from db.places import PhotoPlace
from db.session import transaction
from db.settings import Settings
from db.storage import ListedObject, UploadForm
from db.uploaded import going
from db.uploads import FORMS_AGE, prolong_upload
from pipeline.archives.errors import ArchiveTooLargeError
from pipeline.errors import FaceBatchError, FileTooLargeError
from web.schemas.uploads import UploadFileIn, UploadIn, UploadKind
from web.services import Services

MAX_FORM_BYTES = 5 * 1024**3
"""S3 takes no more in one request."""
MAX_MANIFEST_BYTES = 1_000_000_000
PROLONGED_EVERY_S = 300.0


def check_sizes(settings: Settings, wanted: UploadIn) -> None:
    """Raises `FileTooLargeError` or `ArchiveTooLargeError` where a file would not be taken."""
    most_bytes = min(_most_bytes(settings, wanted.kind), MAX_FORM_BYTES)
    largest = max(one.size_bytes for one in wanted.files)
    if largest > most_bytes:
        text = f"a file has {largest} bytes; an upload takes at most {most_bytes} of this kind"
        raise _too_large(wanted.kind, text)


def _most_bytes(settings: Settings, kind: UploadKind) -> int:
    return {
        UploadKind.PHOTOS: settings.max_upload_bytes,
        UploadKind.ARCHIVE: settings.max_archive_bytes,
        UploadKind.MANIFEST: MAX_MANIFEST_BYTES,
    }[kind]


def _too_large(kind: UploadKind, text: str) -> FaceBatchError:
    return ArchiveTooLargeError(text) if kind is UploadKind.ARCHIVE else FileTooLargeError(text)


def form(services: Services, upload_id: uuid.UUID, part: int, wanted: UploadFileIn) -> UploadForm:
    """What a client sends one file of an upload with."""
    return services.store.upload_form(
        part_key(upload_id, part),
        size_bytes=wanted.size_bytes,
        sha256=bytes.fromhex(wanted.sha256) if wanted.sha256 else None,
        for_s=int(FORMS_AGE.total_seconds()),
    )


def part_key(upload_id: uuid.UUID, part: int) -> str:
    """The key of one file of an upload."""
    return f"{upload_id}/{part}"


def archive_chunks(
    services: Services, upload_id: uuid.UUID, chunks: Iterable[bytes]
) -> Iterator[bytes]:
    """The chunks of a zip on its way through us, whose upload lives as long as they come.

    Raises `ArchiveTooLargeError`, and `UploadExpiredError` where it was given up all the same.
    """
    most_bytes = services.settings.max_archive_bytes
    size_bytes, prolonged_at = 0, time.monotonic()
    for chunk in chunks:
        size_bytes += len(chunk)
        if size_bytes > most_bytes:
            raise ArchiveTooLargeError(
                f"the archive has more bytes than the {most_bytes} allowed; send several"
            )
        if time.monotonic() - prolonged_at > PROLONGED_EVERY_S:
            with transaction(services.database) as session:
                prolong_upload(session, upload_id)
            prolonged_at = time.monotonic()
        yield chunk


def sent_photos(
    services: Services, upload_id: uuid.UUID, keys: Collection[str]
) -> dict[str, PhotoPlace]:
    """The upload's files of these keys that are in the bucket, and stay, by key, as they are now.

    Which of them go is asked first: an object that is listed may be gone when that is known.
    """
    with transaction(services.database) as session:
        wanted = {*keys} - going(session, keys)
    sent = _in_bucket(services, upload_id)
    return {key: place for key, place in sent.items() if key in wanted}


def _in_bucket(services: Services, upload_id: uuid.UUID) -> dict[str, PhotoPlace]:
    sent: dict[str, PhotoPlace] = {}
    page_size, after = 1000, ""
    while True:
        found = services.store.page(f"{upload_id}/", after=after, limit=page_size)
        for one in found:
            sent[one.key] = PhotoPlace(
                bucket=None,
                object_key=one.key,
                etag=one.etag,
                size_bytes=one.size_bytes,
                entry=None,
            )
        if len(found) < page_size:
            return sent
        after = found[-1].key


def sent_file(services: Services, upload_id: uuid.UUID) -> ListedObject:
    """The one file of an upload; raises `UploadIncompleteError`."""
    try:
        return services.store.head(part_key(upload_id, 0))
    except ObjectMissingError as exc:
        raise UploadIncompleteError(
            "the upload's file is not there; send it, and then name the upload"
        ) from exc
