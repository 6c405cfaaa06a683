"""Sends a batch of photos into an open job: what the server knows by its hash, the rest whole."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cli.calls import ApiError
from cli.client import Client, PhotoFile
from cli.scan import open_photo

SENT_AT_ONCE = 16
SENT_BYTES = 32_000_000
"""A request is closed once it has so many photos or bytes."""
UNREADABLE = "unreadable"
_OF_THE_JOB = frozenset({"job_sealed", "job_not_found"})
"""Codes that no single photo is to blame for."""


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

    def send(self, photos: Sequence[HashedPhoto]) -> Outcome:
        """Adds a batch of photos; of those that are the same, one is sent."""
        outcome = Outcome()
        missing = self._missing(photos)
        firsts = list({one.sha256: one for one in reversed(missing)}.values())[::-1]
        self._send_all(firsts, outcome)
        if copies := self._missing([one for one in missing if one not in firsts]):
            self._send_all(copies, outcome)
        outcome.known = len(photos) - outcome.sent - len(outcome.refused)
        return outcome

    def _missing(self, photos: Sequence[HashedPhoto]) -> list[HashedPhoto]:
        """Those whose bytes must be sent; the others are in the job."""
        if not photos:
            return []
        pairs = [(one.file.client_id, one.sha256) for one in photos]
        missing = self.client.add_known(self.job_id, pairs, subject_id=self.subject_id)
        return [one for one in photos if one.file.client_id in missing]

    def _send_all(self, photos: Iterable[HashedPhoto], outcome: Outcome) -> None:
        for group in _groups([one.file for one in photos]):
            self._send(group, outcome)

    def _send(self, group: Sequence[PhotoFile], outcome: Outcome) -> None:
        """Sends a group in one request, and where that is refused, each photo in its own."""
        try:
            self.client.add_photos(self.job_id, group, subject_id=self.subject_id)
        except (ApiError, OSError) as exc:
            if isinstance(exc, ApiError) and exc.code in _OF_THE_JOB:
                raise
            if len(group) > 1:
                for photo in group:
                    self._send([photo], outcome)
            else:
                outcome.refused[group[0].client_id] = (
                    Refusal(code=exc.code, reason=str(exc))
                    if isinstance(exc, ApiError)
                    else unreadable(exc)
                )
        else:
            outcome.sent += len(group)


def _groups(photos: Iterable[PhotoFile]) -> Iterator[list[PhotoFile]]:
    group: list[PhotoFile] = []
    size_bytes = 0
    for photo in photos:
        group.append(photo)
        size_bytes += _size_bytes(photo)
        if len(group) >= SENT_AT_ONCE or size_bytes >= SENT_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group


def _size_bytes(photo: PhotoFile) -> int:
    try:
        return photo.path.stat().st_size
    except OSError:
        return 0  # Sending it will say so.
