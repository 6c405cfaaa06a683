"""Fetching: the bytes of a few photos at once, and which of them are known already.

It runs in a thread of its own, ahead of who computes, so a bucket far away costs no time.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from db.errors import ObjectChangedError, ObjectDeniedError, ObjectMissingError
from db.extractions import load_extractions
from db.hashes import ReadPhoto, known_extractions
from db.ledger import Claim
from db.places import PhotoPlace
from db.retry import retrying
from db.session import transaction
from pipeline.errors import FaceBatchError, FileTooLargeError, PhotoError
from pipeline.faces import PhotoFaces
from workers.context import WorkerContext

AT_ONCE = 4
"""Photos that are fetched together, each by a request of its own."""
AT_ONCE_BYTES = 16_000_000
"""What they have together, at the most, where it is more than one."""

_CANNOT_BE_READ = (PhotoError, ObjectMissingError, ObjectChangedError, ObjectDeniedError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A photo's bytes, or why there are none, or what is known of them already."""

    claim: Claim
    data: bytes | FaceBatchError
    read: ReadPhoto | None
    """Its hash, where nobody knew it before."""
    known: PhotoFaces | None = None


def groups(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """The claims in their order, a few at a time: those that are fetched together."""
    group: list[Claim] = []
    size_bytes = 0
    for claim in claims:
        more_bytes = claim.place.size_bytes if claim.place else 0
        if group and (len(group) == AT_ONCE or size_bytes + more_bytes > AT_ONCE_BYTES):
            yield group
            group, size_bytes = [], 0
        group.append(claim)
        size_bytes += more_bytes
    if group:
        yield group


def fetch(context: WorkerContext, group: Sequence[Claim]) -> list[Fetched]:
    """Reads the photos of the claims, and looks up those that nobody had read.

    The claims are one tenant's, and of one model.

    Raises `UnavailableError` where a store stays away.
    """
    with ThreadPoolExecutor(max_workers=len(group), thread_name_prefix="fetch") as pool:
        fetched = [*pool.map(lambda claim: _fetched(context, claim), group)]
    known = _known(context, fetched)
    if not known:
        return fetched
    return [
        Fetched(claim=one.claim, data=one.data, read=one.read, known=known.get(one.read.sha256))
        if one.read
        else one
        for one in fetched
    ]


def _fetched(context: WorkerContext, claim: Claim) -> Fetched:
    try:
        data = _data(context, claim)
    except _CANNOT_BE_READ as exc:
        return Fetched(claim=claim, data=exc, read=None)
    read = None
    if claim.sha256 is None:
        read = ReadPhoto(sha256=hashlib.sha256(data).digest(), size_bytes=len(data))
    return Fetched(claim=claim, data=data, read=read)


def _data(context: WorkerContext, claim: Claim) -> bytes:
    place = claim.place
    assert place is not None  # noqa: S101 - whoever has none is not fetched.
    most = context.settings.max_upload_bytes
    if place.size_bytes > most:
        raise FileTooLargeError(f"the file has more than the {most} bytes allowed")
    # A bucket that hangs fails at its own pace: with one more try the lease would be gone.
    return retrying(lambda: _object(context, place), for_s=context.settings.lease_s / 4)


def _object(context: WorkerContext, place: PhotoPlace) -> bytes:
    return context.store.get(place.object_key, bucket=place.bucket, etag=place.etag)


def _known(context: WorkerContext, fetched: Sequence[Fetched]) -> Mapping[bytes, PhotoFaces]:
    """What earlier jobs have found in photos of these bytes, by their hash."""
    hashes = [one.read.sha256 for one in fetched if one.read]
    if not hashes:
        return {}
    claim = fetched[0].claim

    def look_up() -> Mapping[bytes, PhotoFaces]:
        with transaction(context.database) as session:
            ids = known_extractions(session, claim.tenant_id, claim.model_id, hashes)
            found = load_extractions(session, ids.values()) if ids else {}
        return {sha256: found[one] for sha256, one in ids.items() if one in found}

    return retrying(look_up, for_s=context.settings.lease_s / 4)
