"""Sends photos into an open job: those the server knows by their hash alone, the others whole."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from cli.client import ApiError, Client, PhotoFile
from cli.scan import open_photo

HASHED_AT_ONCE = 64
"""Photos whose hashes are asked for in one request."""
SENT_AT_ONCE = 16
SENT_BYTES = 32_000_000
"""A request is closed once it has so many photos or bytes."""
UNREADABLE = "unreadable"


@dataclass(slots=True)
class Submission:
    """What became of the photos that were to be sent."""

    client: Client
    job_id: str
    sent: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Error codes by client id, of photos that never made it into the job."""

    def add(
        self,
        photos: Iterable[PhotoFile],
        *,
        subject_id: str | None = None,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> None:
        """Adds all photos in order, batch by batch."""
        rest = iter(photos)
        while batch := list(islice(rest, HASHED_AT_ONCE)):
            self._add_batch(batch, subject_id)
            self.sent += len(batch)
            progress(self.sent)

    def _add_batch(self, batch: Sequence[PhotoFile], subject_id: str | None) -> None:
        hashes = []
        for photo in batch:
            try:
                hashes.append((photo.client_id, _sha256(photo.path)))
            except OSError:
                self.refused[photo.client_id] = UNREADABLE
        if not hashes:
            return
        missing = self.client.add_known(self.job_id, hashes, subject_id=subject_id)
        for group in _groups([photo for photo in batch if photo.client_id in missing]):
            self._send(group, subject_id)

    def _send(self, group: Sequence[PhotoFile], subject_id: str | None) -> None:
        """Sends a group in one request, and where that is refused, each photo in its own."""
        try:
            self.client.add_photos(self.job_id, group, subject_id=subject_id)
        except (ApiError, OSError) as exc:
            if len(group) > 1:
                for photo in group:
                    self._send([photo], subject_id)
            else:
                refused = exc.code if isinstance(exc, ApiError) else UNREADABLE
                self.refused[group[0].client_id] = refused


def _sha256(path: Path) -> str:
    with open_photo(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _groups(photos: Sequence[PhotoFile]) -> Iterator[list[PhotoFile]]:
    group: list[PhotoFile] = []
    size_bytes = 0
    for photo in photos:
        group.append(photo)
        size_bytes += _size_bytes(photo.path)
        if len(group) >= SENT_AT_ONCE or size_bytes >= SENT_BYTES:
            yield group
            group, size_bytes = [], 0
    if group:
        yield group


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # Sending it will say so.
