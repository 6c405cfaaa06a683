"""The ways in which photos get into a job. Each journals what was accepted before it goes on.

Further ways are further functions in `WAYS`.
"""

import functools
import io
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.soak.journal import Journal
from bench.soak.photos import SoakPhoto, hashes
from db.allowed import SOURCES_FOLDER
from db.retry import retrying
from db.tenants import LOCAL_TENANT
from facebatch.client import Client, Photo
from facebatch.client.fields import SourceFields
from facebatch.client.models.jobs import Job

AT_ONCE = 6
"""Photos in one of several requests."""
PUT_PATIENCE_S = 900.0
"""As the clients wait for the API, so for the bucket: no fault lasts a tenth of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitting:
    """A job on its way in."""

    client: Client
    journal: Journal
    way: str
    wanted: Mapping[str, Any]
    """What the job is to do, as the API takes it."""
    photos: Sequence[SoakPhoto]
    put: Callable[[str, bytes], object]
    """Writes an object into the bucket; raises `UnavailableError`."""

    def accepted(self, job_id: str, photos: Sequence[SoakPhoto]) -> None:
        """Notes photos that the server has said that it has."""
        self.journal.accepted(job_id, self.wanted["kind"], self.way, photos)

    def seal(self, job_id: str) -> None:
        """Says that no further photos come."""
        self.client.jobs.seal(job_id)
        self.journal.sealed(job_id)


def in_one_request(one: Submitting) -> None:
    """Job and photos at once."""
    job_id = _id(one.client.jobs.create(photos=_named(one.photos), **one.wanted))
    one.accepted(job_id, one.photos)
    one.journal.sealed(job_id)


def bit_by_bit(one: Submitting) -> None:
    """An open job, which gets its photos in several requests."""
    job_id = _id(one.client.jobs.open(**one.wanted))
    for some in _portions(one.photos):
        _send(one, job_id, some)
    one.seal(job_id)


def by_hash(one: Submitting) -> None:
    """An open job, which is sent only those photos that the server does not know."""
    job_id = _id(one.client.jobs.open(**one.wanted))
    missing = one.client.jobs.add_known(job_id, hashes(one.photos)).missing
    one.accepted(job_id, [photo for photo in one.photos if photo.name not in missing])
    for some in _portions([photo for photo in one.photos if photo.name in missing]):
        _send(one, job_id, some)
    one.seal(job_id)


def as_a_zip(one: Submitting) -> None:
    """An archive, which is listed when the answer is long there."""
    job_id = _id(one.client.jobs.create(archives=[packed(one.photos)], **one.wanted))
    one.accepted(job_id, one.photos)
    one.journal.sealed(job_id)


def packed(photos: Sequence[SoakPhoto]) -> bytes:
    """A zip of the photos."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for photo in photos:
            archive.write(photo.path, photo.name)
    return file.getvalue()


def from_a_prefix(one: Submitting) -> None:
    """Objects that lie in the bucket already."""
    prefix = _put_all(one)
    _of_a_source(one, {"kind": "prefix", "prefix": prefix})


def from_a_manifest(one: Submitting) -> None:
    """Objects that lie in the bucket already, and a file there that names them."""
    prefix = _put_all(one)
    lines = [{"key": prefix + photo.name, "id": photo.name} for photo in one.photos]
    manifest = "".join(json.dumps(line) + "\n" for line in lines)
    _put(one, f"{prefix}manifest.ndjson", manifest.encode())
    _of_a_source(one, {"kind": "manifest", "key": f"{prefix}manifest.ndjson"})


WAYS: dict[str, Callable[[Submitting], None]] = {
    "in one request": in_one_request,
    "bit by bit": bit_by_bit,
    "by hash": by_hash,
    "as a zip": as_a_zip,
    "from a prefix": from_a_prefix,
    "from a manifest": from_a_manifest,
}


def _put_all(one: Submitting) -> str:
    """Writes the photos into the bucket, below a prefix of their own, which it returns."""
    prefix = f"{SOURCES_FOLDER}/{LOCAL_TENANT}/{uuid.uuid4()}/"
    for photo in one.photos:
        _put(one, prefix + photo.name, photo.path.read_bytes())
    return prefix


def _put(one: Submitting, key: str, data: bytes) -> None:
    retrying(functools.partial(one.put, key, data), for_s=PUT_PATIENCE_S)


def _of_a_source(one: Submitting, source: SourceFields) -> None:
    job_id = _id(one.client.jobs.create(**one.wanted, sources=[source]))
    one.accepted(job_id, one.photos)
    one.journal.sealed(job_id)


def _send(one: Submitting, job_id: str, photos: Sequence[SoakPhoto]) -> None:
    one.client.jobs.add_photos(job_id, _named(photos))
    one.accepted(job_id, photos)


def _named(photos: Sequence[SoakPhoto]) -> list[Photo]:
    return [Photo(name=photo.name, source=photo.path) for photo in photos]


def _id(job: Job) -> str:
    return str(job.id)


def _portions(photos: Sequence[SoakPhoto]) -> Iterator[Sequence[SoakPhoto]]:
    for start in range(0, len(photos), AT_ONCE):
        yield photos[start : start + AT_ONCE]
