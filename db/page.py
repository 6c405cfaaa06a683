"""A page of a source: what was listed becomes photos and items, all at once."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, BigInteger, Text, Uuid, bindparam, func, select, text, update
from sqlalchemy.orm import Session

from db import nudge
from db.errors import DuplicateItemError
from db.ids import new_id
from db.models import Item, Job, Photo
from db.places import PhotoPlace
from db.states import JobPriority


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedEntry:
    """One photo of a source, or why it is none. One of `photo`, `photo_id` and `error_code`."""

    name: str
    client_id: str | None
    source_key: str | None = None
    source_bucket: str | None = None
    """Of the object that has this key; None where the source is ours."""
    photo: PhotoPlace | None = None
    """Where it lies; nobody has read it yet."""
    photo_id: uuid.UUID | None = None
    """That the tenant has already."""
    sha256: bytes | None = None
    """As the client tells it: where the tenant has these bytes, they are not read again."""
    error_code: str | None = None
    error_detail: str | None = None

    def failed(self, code: str, detail: str, *, client_id: str | None) -> "ListedEntry":
        """The entry as an item that failed."""
        return ListedEntry(
            name=self.name,
            client_id=client_id,
            source_key=self.source_key,
            source_bucket=self.source_bucket,
            error_code=code,
            error_detail=detail,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """So many entries of a source, and where the listing goes on behind them."""

    entries: Sequence[ListedEntry]
    cursor: str
    """Another one for each page."""
    n_skipped: int = 0
    """What was passed over because it is no photo."""
    etag: str | None = None
    """Of the archive or the manifest: with another one, nothing further is taken from it."""
    archive_id: uuid.UUID | None = None
    """The archive of ours in which all of the photos lie."""


def insert_page(
    session: Session,
    job: Job,
    page: Page,
    *,
    source_id: uuid.UUID | None = None,
    subject_id: uuid.UUID | None = None,
) -> int:
    """Makes items of the entries that the job does not have; returns how many of all it has now.

    The job is locked, and so is the source. The items' subject is the job's where none is given.
    """
    entries = _linked(session, job.tenant_id, page.entries)
    new = _new_entries(session, job.id, entries)
    photo_ids = [new_id() if one.photo else one.photo_id for one in new]
    _insert_photos(session, job.tenant_id, page.archive_id, new, photo_ids)
    ids = {"source_id": source_id, "subject_id": subject_id or job.subject_id}
    _insert_items(session, job, ids, new, photo_ids)
    failed = sum(one.error_code is not None for one in new)
    session.execute(
        update(Job)
        .where(Job.id == job.id)
        .values(
            n_items=Job.n_items + len(new),
            n_failed=Job.n_failed + failed,
            changed_at=func.now(),
        )
    )
    nudge.notify(session, urgent=job.priority == JobPriority.INTERACTIVE)
    return len(entries)


def _linked(session: Session, tenant_id: int, entries: Sequence[ListedEntry]) -> list[ListedEntry]:
    """The entries, with the photos that the tenant has: held, so that none is deleted meanwhile.

    One that is to have a photo which is deleted by now is left out.
    """
    by_object = _photos_by_object(session, tenant_id, entries)
    by_hash = _photos_by_hash(session, tenant_id, entries)
    wanted = {one.photo_id for one in entries if one.photo_id is not None}
    held = _hold(session, tenant_id, {*by_object.values(), *by_hash.values(), *wanted})
    linked = []
    for one in entries:
        found = one.photo_id or by_hash.get(one.sha256 or b"") or by_object.get(_object_of(one))
        if found in held:
            linked.append(replace(one, photo=None, photo_id=found))
        elif one.photo_id is None:
            linked.append(one)
    return linked


def _hold(session: Session, tenant_id: int, photo_ids: Iterable[uuid.UUID]) -> set[uuid.UUID]:
    """Those of the photos that are there; none of them is deleted before the commit."""
    # In order, as whoever deletes them locks them.
    query = select(Photo.id).where(Photo.tenant_id == tenant_id, Photo.id.in_(list(photo_ids)))
    locked = query.order_by(Photo.id).with_for_update(read=True, key_share=True)
    return set(session.scalars(locked))


_Object = tuple[str | None, str, str | None]


def _object_of(entry: ListedEntry) -> _Object:
    """Bucket, key and version of an object that is a photo and not ours."""
    photo = entry.photo
    if photo is None or photo.bucket is None or photo.etag is None or photo.entry is not None:
        return None, "", None
    return photo.bucket, photo.object_key, photo.etag


_BY_OBJECT = text("""
    SELECT photo.bucket, photo.object_key, photo.etag, photo.id
    FROM unnest(:buckets, :keys, :etags) AS listed (bucket, object_key, etag)
    JOIN photo ON photo.tenant_id = :tenant_id AND photo.bucket = listed.bucket
        AND photo.object_key = listed.object_key AND photo.etag = listed.etag
        AND photo.entry_offset IS NULL
    ORDER BY photo.id
""").bindparams(*(bindparam(name, type_=ARRAY(Text)) for name in ("buckets", "keys", "etags")))


def _photos_by_object(
    session: Session, tenant_id: int, entries: Sequence[ListedEntry]
) -> dict[_Object, uuid.UUID]:
    """Photos of objects that were listed before and have not changed since."""
    objects = [_object_of(one) for one in entries]
    objects = [one for one in objects if one[0] is not None]
    if not objects:
        return {}
    buckets, keys, etags = (list(column) for column in zip(*objects, strict=True))
    wanted = {"tenant_id": tenant_id, "buckets": buckets, "keys": keys, "etags": etags}
    rows = session.execute(_BY_OBJECT, wanted)
    return {(row.bucket, row.object_key, row.etag): row.id for row in rows}


def _photos_by_hash(
    session: Session, tenant_id: int, entries: Sequence[ListedEntry]
) -> dict[bytes, uuid.UUID]:
    hashes = {one.sha256 for one in entries if one.sha256 is not None}
    if not hashes:
        return {}
    query = select(Photo.sha256, Photo.id).where(
        Photo.tenant_id == tenant_id, Photo.sha256.in_(hashes)
    )
    return {row.sha256: row.id for row in session.execute(query) if row.sha256 is not None}


class _Taken(NamedTuple):
    """What the job has under a client's id."""

    photo_id: uuid.UUID | None
    source_bucket: str | None
    source_key: str | None


def _new_entries(
    session: Session, job_id: uuid.UUID, entries: Sequence[ListedEntry]
) -> list[ListedEntry]:
    """The entries that the job does not have. Under an id that it has, another photo fails."""
    taken = _taken(session, job_id, entries)
    new = []
    for one in entries:
        if one.client_id is None or one.client_id not in taken:
            new.append(one)
        elif not _same(one, taken[one.client_id]):
            new.append(_without_id(one))
        if one.client_id is not None:
            now = _Taken(one.photo_id, one.source_bucket, one.source_key)
            taken.setdefault(one.client_id, now)
    return new


def _taken(
    session: Session, job_id: uuid.UUID, entries: Sequence[ListedEntry]
) -> dict[str, _Taken]:
    """What the job has under the entries' ids; it is locked, so nobody adds any meanwhile."""
    wanted = [one.client_id for one in entries if one.client_id is not None]
    rows = session.execute(
        select(Item.client_id, Item.photo_id, Item.source_bucket, Item.source_key).where(
            Item.job_id == job_id, Item.client_id.in_(wanted)
        )
    )
    return {
        row.client_id: _Taken(row.photo_id, row.source_bucket, row.source_key)
        for row in rows
        if row.client_id is not None
    }


def _same(entry: ListedEntry, taken: _Taken) -> bool:
    """Whether what the job has is this very photo: the source was named twice."""
    if entry.photo_id is not None and entry.photo_id == taken.photo_id:
        return True
    return entry.source_bucket is not None and (entry.source_bucket, entry.source_key) == taken[1:]


def _without_id(entry: ListedEntry) -> ListedEntry:
    """The entry as one that failed, under no id."""
    if entry.error_code is not None:
        return replace(entry, client_id=None)
    detail = "the job has another photo under this id; give each photo an id of its own"
    return entry.failed(DuplicateItemError.code, detail, client_id=None)


def _arrays(*names: str, kind: Any) -> Iterable[Any]:
    return (bindparam(name, type_=ARRAY(kind)) for name in names)


_INSERT_PHOTOS = text("""
    INSERT INTO photo (id, tenant_id, size_bytes, bucket, object_key, etag, archive_id,
                       entry_offset, entry_packed_bytes, entry_method, entry_crc32, entry_name)
    SELECT id, :tenant_id, size_bytes, bucket, object_key, etag, :archive_id,
           entry_offset, packed_bytes, method, crc32, name
    FROM unnest(CAST(:ids AS uuid[]), :sizes, :buckets, :keys, :etags,
                :offsets, :packed, :methods, :crcs, :names)
         AS listed (id, size_bytes, bucket, object_key, etag,
                    entry_offset, packed_bytes, method, crc32, name)
""").bindparams(
    bindparam("archive_id", type_=Uuid),
    *_arrays("ids", "buckets", "keys", "etags", "names", kind=Text),
    *_arrays("sizes", "offsets", "packed", "methods", "crcs", kind=BigInteger),
)


def _insert_photos(
    session: Session,
    tenant_id: int,
    archive_id: uuid.UUID | None,
    entries: Sequence[ListedEntry],
    photo_ids: Sequence[uuid.UUID | None],
) -> None:
    made = [(id_, one.photo) for id_, one in zip(photo_ids, entries, strict=True) if one.photo]
    if not made:
        return
    photos = [photo for _, photo in made]
    entry_places = [photo.entry for photo in photos]
    columns = {
        "ids": [str(id_) for id_, _ in made],
        "sizes": [photo.size_bytes for photo in photos],
        "buckets": [photo.bucket for photo in photos],
        "keys": [photo.object_key for photo in photos],
        "etags": [photo.etag for photo in photos],
        "offsets": [one and one.header_offset for one in entry_places],
        "packed": [one and one.packed_bytes for one in entry_places],
        "methods": [one and one.method for one in entry_places],
        "crcs": [one and one.crc32 for one in entry_places],
        "names": [one and one.name for one in entry_places],
    }
    ids = {"tenant_id": tenant_id, "archive_id": archive_id}
    session.execute(_INSERT_PHOTOS, {**ids, **columns})


_INSERT_ITEMS = text("""
    INSERT INTO item (tenant_id, job_id, source_id, subject_id, photo_id, name, client_id,
                      source_key, source_bucket, error_code, error_detail, state, finished_at,
                      fence, attempt)
    SELECT :tenant_id, :job_id, :source_id, :subject_id, photo_id, name, client_id,
           source_key, source_bucket, error_code, error_detail,
           CASE WHEN error_code IS NULL THEN 'queued' ELSE 'failed' END,
           CASE WHEN error_code IS NULL THEN NULL ELSE now() END, 0, 0
    FROM unnest(CAST(:photos AS uuid[]), :names, :client_ids, :keys, :buckets, :codes, :details)
         WITH ORDINALITY AS listed (photo_id, name, client_id, source_key, source_bucket,
                                    error_code, error_detail, n)
    ORDER BY n
""").bindparams(
    bindparam("source_id", type_=Uuid),
    bindparam("subject_id", type_=Uuid),
    *_arrays("photos", "names", "client_ids", "keys", "buckets", "codes", "details", kind=Text),
)


def _insert_items(
    session: Session,
    job: Job,
    ids: Mapping[str, uuid.UUID | None],
    entries: Sequence[ListedEntry],
    photo_ids: Sequence[uuid.UUID | None],
) -> None:
    if not entries:
        return
    columns = {
        "photos": [id_ and str(id_) for id_ in photo_ids],
        "names": [one.name for one in entries],
        "client_ids": [one.client_id for one in entries],
        "keys": [one.source_key for one in entries],
        "buckets": [one.source_bucket for one in entries],
        "codes": [one.error_code for one in entries],
        "details": [one.error_detail for one in entries],
    }
    of_job = {"tenant_id": job.tenant_id, "job_id": job.id}
    session.execute(_INSERT_ITEMS, {**of_job, **ids, **columns})
