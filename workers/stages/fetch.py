"""Fetching: the bytes of a few photos at once, and which of them are known already.

It runs in a thread of its own, ahead of who computes, so a bucket far away costs no time.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace

from db.errors import (
    ObjectChangedError,
    ObjectDeniedError,
    ObjectMissingError,
    ObjectRefusedError,
    ObjectUnreadableError,
)
from db.extracting import begin_extracting
from db.extractions import load_extractions
from db.hashes import ReadPhoto, known_extractions
from db.ledger import Claim
from db.places import EntryPlace, PhotoPlace
from db.retry import retrying
from db.session import transaction
from pipeline.archives.ranges import EntryRange, plan_ranges
from pipeline.archives.reading import read_entries
from pipeline.errors import EmptyFileError, FaceBatchError, FileTooLargeError, PhotoError
from pipeline.faces import PhotoFaces
from workers.asking import asked
from workers.context import WorkerContext

AT_ONCE = 4
"""Requests for photos, each for one, that are under way together."""
FIRST_GROUP = 2
"""The first photos that are fetched together: nobody computes before they are there."""
GROUP = 8
"""Photos that are fetched and looked up together, where each is an object of its own."""
GROUP_BYTES = 16_000_000
"""What photos that are fetched together have, at the most, where it is more than one."""
UNTOLD_BYTES = GROUP_BYTES // 4
"""What a photo counts for whose size its listing did not tell."""

_CANNOT_BE_READ = (
    PhotoError,
    ObjectMissingError,
    ObjectChangedError,
    ObjectDeniedError,
    ObjectRefusedError,
    ObjectUnreadableError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A photo's bytes, or why there are none, or what is known of them already."""

    claim: Claim
    data: bytes | FaceBatchError
    read: ReadPhoto | None
    """Its hash, where nobody knew it before."""
    known: PhotoFaces | None = None


def groups(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """The claims in their order, a few at a time: those that are fetched together.

    Entries of one zip are as many as their bytes allow: neighbours cost one request.
    """
    group: list[Claim] = []
    size_bytes, is_first = 0, True
    for claim in claims:
        more_bytes = (claim.place.size_bytes if claim.place else 0) or UNTOLD_BYTES
        most = GROUP if _object_of(claim) is None else len(claims)
        if group and (
            _object_of(claim) != _object_of(group[0])
            or len(group) == (FIRST_GROUP if is_first else most)
            or size_bytes + more_bytes > GROUP_BYTES
        ):
            yield group
            group, size_bytes, is_first = [], 0, False
        group.append(claim)
        size_bytes += more_bytes
    if group:
        yield group


def _object_of(claim: Claim) -> PhotoPlace | None:
    """The zip in which the claim's photo lies; None for a photo that is an object itself."""
    place = claim.place
    return (
        None if place is None or place.entry is None else replace(place, size_bytes=0, entry=None)
    )


def fetching() -> ThreadPoolExecutor:
    """The threads of `fetch`, for whoever calls it again and again."""
    return ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="fetch")


def fetch(
    context: WorkerContext, pool: Executor, group: Sequence[Claim], *, mine: Collection[int]
) -> list[Fetched]:
    """Reads the photos of the claims, and looks up what is known of their bytes.

    Those are missing that another worker searches for faces at this moment, for an item of its own:
    later they are known. The claims are one tenant's, and of one model; `mine` are the ids of all
    items that this worker holds; `pool` is `fetching()`. Raises `UnavailableError` where a store
    stays away.
    """
    small = [claim for claim in group if not _is_too_large(context, claim)]
    archive = _object_of(group[0])
    if archive is None:
        fetched = [*pool.map(lambda claim: _fetched(context, claim), small)]
    else:
        fetched = _entries(context, archive, small)
    fetched += [_too_large(context, claim) for claim in group if claim not in small]
    return _looked_up(context, fetched, mine)


def _is_too_large(context: WorkerContext, claim: Claim) -> bool:
    assert claim.place is not None  # noqa: S101 - whoever has none is not fetched.
    return claim.place.size_bytes > context.settings.max_upload_bytes


def _too_large(context: WorkerContext, claim: Claim) -> Fetched:
    return _failed(claim, _too_many_bytes(context))


def _too_many_bytes(context: WorkerContext) -> FileTooLargeError:
    most = context.settings.max_upload_bytes
    return FileTooLargeError(f"the file has more than the {most} bytes allowed")


def photo_bytes(context: WorkerContext, place: PhotoPlace, sha256: bytes | None) -> bytes:
    """The bytes of one photo, for whoever wants it alone.

    Raises `PhotoError`, `UnavailableError` where a store stays away, and what else a bucket says
    of an object that it does not give.
    """
    if place.entry is None:
        return _whole(context, place, sha256)
    archive = replace(place, size_bytes=0, entry=None)
    (planned,) = plan_ranges([place.entry])
    ((_, found),) = _unpacked(context, archive, planned)
    if isinstance(found, FaceBatchError):
        raise found
    return found


def _fetched(context: WorkerContext, claim: Claim) -> Fetched:
    """A photo that is an object itself."""
    assert claim.place is not None  # noqa: S101 - whoever has none is not fetched.
    try:
        return _read(claim, _whole(context, claim.place, claim.sha256))
    except _CANNOT_BE_READ as exc:
        return _failed(claim, exc)


def _whole(context: WorkerContext, place: PhotoPlace, sha256: bytes | None) -> bytes:
    """An object that is a photo; raises one of `_CANNOT_BE_READ` where it gives none."""
    most = context.settings.max_upload_bytes
    # What was told of the size is not true any more where the object was replaced.
    data = _span(context, place, (0, most + 1))
    if _is_another(place, sha256, data):
        raise ObjectChangedError("the object has changed since it was first read")
    if not data:
        # Without a hash, as wherever the size is told beforehand.
        raise EmptyFileError("the file is empty; send the photo's bytes")
    if len(data) > most:
        raise _too_many_bytes(context)
    return data


def _is_another(place: PhotoPlace, sha256: bytes | None, data: bytes) -> bool:
    """Whether a foreign object, of which nothing but the hash is known, has other bytes by now."""
    if place.bucket is None or place.etag is not None or sha256 is None:
        return False
    return hashlib.sha256(data).digest() != sha256


def _entries(context: WorkerContext, archive: PhotoPlace, claims: Sequence[Claim]) -> list[Fetched]:
    """Photos that are entries of one zip."""
    by_offset: dict[int, list[Claim]] = defaultdict(list)
    places: dict[int, EntryPlace] = {}
    for claim in claims:
        if claim.place is not None and claim.place.entry is not None:
            places[claim.place.entry.header_offset] = claim.place.entry
            by_offset[claim.place.entry.header_offset].append(claim)
    fetched: list[Fetched] = []
    for planned in plan_ranges(places.values()):
        fetched += [
            _failed(claim, found) if isinstance(found, FaceBatchError) else _read(claim, found)
            for place, found in _unpacked(context, archive, planned)
            for claim in by_offset[place.header_offset]
        ]
    return fetched


def _unpacked(
    context: WorkerContext, archive: PhotoPlace, planned: EntryRange
) -> Sequence[tuple[EntryPlace, bytes | FaceBatchError]]:
    """The photos of a range of a zip, each or why it is none."""

    def read(offset: int, length: int) -> bytes:
        return _span(context, archive, (offset, length))

    try:
        return [*read_entries(planned, read(planned.offset, planned.length), read)]
    except _CANNOT_BE_READ as exc:
        return [(place, exc) for place in planned.places]


def _span(context: WorkerContext, place: PhotoPlace, span: tuple[int, int]) -> bytes:
    """A part of an object; raises what `asked` raises."""
    return asked(
        context,
        place.bucket,
        lambda: context.store.get(
            place.object_key, bucket=place.bucket, etag=place.etag, span=span
        ),
    )


def _read(claim: Claim, data: bytes) -> Fetched:
    read = None
    if claim.sha256 is None:
        read = ReadPhoto(sha256=hashlib.sha256(data).digest(), size_bytes=len(data))
    return Fetched(claim=claim, data=data, read=read)


def _failed(claim: Claim, error: FaceBatchError) -> Fetched:
    return Fetched(claim=claim, data=error, read=None)


def _looked_up(
    context: WorkerContext, fetched: Sequence[Fetched], mine: Collection[int]
) -> list[Fetched]:
    """With what earlier jobs have found in photos of these bytes, but for those to be left out."""
    claims: dict[bytes, Claim] = {}
    for one in fetched:
        if isinstance(one.data, bytes):
            claims.setdefault(_sha256(one), one.claim)
    if not claims:
        return [*fetched]
    first = fetched[0].claim

    def look_up() -> tuple[set[bytes], Mapping[bytes, PhotoFaces]]:
        with transaction(context.database) as session:
            # First of all: whoever lets go of a photo has recorded what it shows.
            granted = begin_extracting(session, claims, mine=mine)
            ids = known_extractions(session, first.tenant_id, first.model_id, sorted(claims))
            found = load_extractions(session, ids.values()) if ids else {}
        return granted, {sha256: found[one] for sha256, one in ids.items() if one in found}

    granted, known = retrying(look_up, for_s=context.settings.lease_s / 4)
    return [
        one if isinstance(one.data, FaceBatchError) else replace(one, known=known.get(_sha256(one)))
        for one in fetched
        if isinstance(one.data, FaceBatchError) or _sha256(one) in (granted | known.keys())
    ]


def _sha256(fetched: Fetched) -> bytes:
    sha256 = fetched.read.sha256 if fetched.read else fetched.claim.sha256
    assert sha256 is not None  # noqa: S101 - whoever has none was read.
    return sha256
