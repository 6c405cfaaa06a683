"""Sends a batch of photos into an open job: what the server knows by its hash, the rest whole."""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.scan import open_photo
from facebatch.client import Client, Photo
from facebatch.client.photos import groups, size_bytes
from facebatch.errors import ApiError

UNREADABLE = "unreadable"
_OF_THE_JOB = frozenset({"job_sealed", "job_not_found"})
"""Codes that no single photo is to blame for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFile:
    """A photo to send, and the id under which its result will come back."""

    client_id: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a photo did not make it into the job."""

    code: str
    reason: str


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a batch."""

    sent: int = 0
    known: int = 0
    """Those that went in without being sent."""
    refused: dict[str, Refusal] = field(default_factory=dict)
    """By client id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedPhoto:
    """A photo, and the SHA-256 that its file had, in hex."""

    file: PhotoFile
    sha256: str


def hashed(photo: PhotoFile) -> HashedPhoto:
    """The photo with the hash of its file; raises `OSError`."""
    with open_photo(photo.path) as file:
        return HashedPhoto(file=photo, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def unreadable(exc: OSError) -> Refusal:
    """Of a file that the system does not let us read."""
    return Refusal(code=UNREADABLE, reason=exc.strerror or str(exc))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Adds photos to one job. Raises `ApiError` where the job is to blame."""

    client: Client
    job_id: str
    subject_id: str | None = None

    def add(self, photos: Sequence[HashedPhoto]) -> Outcome:
        """Adds a batch of photos; of those that are the same, one is sent."""
        outcome = Outcome()
        missing = self.missing(photos)
        firsts, copies = parted(missing, set())
        for some in (firsts, self.missing(copies)):
            for group in in_requests(some):
                sent = self.send(group)
                outcome.sent += sent.sent
                outcome.refused |= sent.refused
        outcome.known = len(photos) - outcome.sent - len(outcome.refused)
        return outcome

    def missing(self, photos: Sequence[HashedPhoto]) -> list[HashedPhoto]:
        """Those whose bytes must be sent; the others are in the job."""
        if not photos:
            return []
        pairs = [(one.file.client_id, one.sha256) for one in photos]
        added = self.client.jobs.add_known(self.job_id, pairs, subject=self.subject_id)
        missing = set(added.missing)
        return [one for one in photos if one.file.client_id in missing]

    def send(self, group: Sequence[HashedPhoto]) -> Outcome:
        """Sends a group in one request, and where that is refused, each photo in its own."""
        photos = [Photo(name=one.file.client_id, source=one.file.path) for one in group]
        try:
            self.client.jobs.add_photos(self.job_id, photos, subject=self.subject_id)
        except (ApiError, OSError) as exc:
            if isinstance(exc, ApiError) and exc.code in _OF_THE_JOB:
                raise
            if len(group) > 1:
                return self._one_by_one(group)
            return Outcome(refused={photos[0].name: _refusal(exc)})
        return Outcome(sent=len(group))

    def _one_by_one(self, group: Sequence[HashedPhoto]) -> Outcome:
        outcome = Outcome()
        for photo in group:
            one = self.send([photo])
            outcome.sent += one.sent
            outcome.refused |= one.refused
        return outcome


def parted(
    photos: Iterable[HashedPhoto], elsewhere: Collection[str]
) -> tuple[list[HashedPhoto], list[HashedPhoto]]:
    """The first photo of each hash, and its copies; those of hashes `elsewhere` are copies too."""
    firsts: list[HashedPhoto] = []
    copies: list[HashedPhoto] = []
    seen = set(elsewhere)
    for photo in photos:
        (copies if photo.sha256 in seen else firsts).append(photo)
        seen.add(photo.sha256)
    return firsts, copies


def in_requests(photos: Iterable[HashedPhoto]) -> Iterator[list[HashedPhoto]]:
    """The photos, so many together as go into a request."""
    return groups(photos, lambda one: size_bytes(one.file.path))


def _refusal(exc: ApiError | OSError) -> Refusal:
    return Refusal(code=exc.code, reason=str(exc)) if isinstance(exc, ApiError) else unreadable(exc)
