"""The photos of a match on their way into an open job, batch by batch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from cli.sending import PhotoFile, Sender, hashed, unreadable
from facebatch.client import Client

HASHED_AT_ONCE = 64
"""Photos whose hashes are asked for in one request."""


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
        sender = Sender(client=self.client, job_id=self.job_id, subject_id=subject_id)
        rest = iter(photos)
        while batch := list(islice(rest, HASHED_AT_ONCE)):
            self._add_batch(sender, batch)
            self.sent += len(batch)
            progress(self.sent)

    def _add_batch(self, sender: Sender, batch: Sequence[PhotoFile]) -> None:
        readable = []
        for photo in batch:
            try:
                readable.append(hashed(photo))
            except OSError as exc:
                self.refused[photo.client_id] = unreadable(exc).code
        outcome = sender.add(readable)
        self.refused |= {name: one.code for name, one in outcome.refused.items()}
