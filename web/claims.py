"""The key that a request came with, for whoever does something in its name.

A route that makes or changes something hands its answer to `kept`, in the transaction that does it.
Where there is no key, that costs nothing.
"""

import hashlib
import hmac
import uuid
from collections.abc import Callable

from flask import Response, g

from db.derived_keys import Purpose, derived_key
from db.kept_answers import Kept, find_answer, keep_answer
from db.session import Session
from web.errors import IdempotencyKeyInFlightError
from web.fingerprint import Fingerprint
from web.sealed import sealed, unsealed
from web.services import Services

Resumed = Callable[[Services, uuid.UUID], Response]
_resumed: dict[str, Resumed] = {}


class Claim:
    """A request under its key, while it is under way."""

    def __init__(self, here: Services, key: str, *target: str) -> None:
        secret = derived_key(here.settings, Purpose.REQUESTS)
        named = f"{here.tenant_id} {key}".encode()
        self._tenant_id = here.tenant_id
        self._key_hash = hmac.digest(secret, b"key " + named, hashlib.sha256)
        self._seal_key = hmac.digest(secret, b"seal " + named, hashlib.sha256)
        self.fingerprint = Fingerprint(secret, *target)
        self.number = int.from_bytes(self._key_hash[:8], "big", signed=True)
        """What to lock while it is under way."""
        self.let_go: Callable[[], None] = lambda: None
        self.is_kept = False

    def find(self, session: Session) -> Kept | None:
        """What is known of an earlier request under this key."""
        return find_answer(session, self._tenant_id, self._key_hash)

    def keep(self, session: Session, response: Response | None, job_id: uuid.UUID | None) -> bool:
        """Keeps the answer. False where another request under this key was faster."""
        answer = None if response is None else sealed(response, self._seal_key)
        kept = Kept(fingerprint=self.fingerprint.digest(), answer=answer, job_id=job_id)
        self.is_kept = keep_answer(session, self._tenant_id, self._key_hash, kept)
        return self.is_kept

    def opened(self, answer: bytes) -> Response:
        """An answer that was kept."""
        return unsealed(answer, self._seal_key)


def kept(session: Session, response: Response, *, job_id: uuid.UUID | None = None) -> Response:
    """The response, which is kept where the request has a key.

    `job_id` is the job that it tells of, for a client that sends the request again and waits.
    """
    _keep(session, response, job_id)
    return response


def has_key() -> bool:
    """Whether the request has a key."""
    return _claim() is not None


def begun(session: Session, job_id: uuid.UUID) -> None:
    """Notes that the request has made a job, from which its answer is to come.

    Where this process dies before that, what stands under `resumes` makes the answer.
    """
    _keep(session, None, job_id)


def resumes(endpoint: str) -> Callable[[Resumed], Resumed]:
    """Marks what makes the answer of an endpoint from the job that was begun."""

    def mark(resumed: Resumed) -> Resumed:
        _resumed[endpoint] = resumed
        return resumed

    return mark


def resumed(endpoint: str) -> Resumed:
    """What makes the answer of this endpoint."""
    return _resumed[endpoint]


def done() -> None:
    """Says that the answer is committed: whoever sends the request again need not be kept out."""
    if (claim := _claim()) is not None:
        claim.let_go()


def _keep(session: Session, response: Response | None, job_id: uuid.UUID | None) -> None:
    claim = _claim()
    if claim is not None and not claim.keep(session, response, job_id):
        # Its lock was lost with its connection.
        raise IdempotencyKeyInFlightError(
            "another request with this key has just been done; send it again"
        )


def _claim() -> Claim | None:
    claim: Claim | None = g.get("claim")
    return claim
