"""The lease on a chunk, lengthened as photos get done: progress is the sign of life."""

import time
from collections.abc import Sequence

from db.errors import UnavailableError
from db.ledger import Claim, extend
from db.session import Database, transaction


class Lease:
    """Keeps claims alive between photos. A worker that hangs in a photo lets them run out."""

    def __init__(self, database: Database, claims: Sequence[Claim], *, lease_s: float) -> None:
        self._database = database
        self._claims = claims
        self._lease_s = lease_s
        self._extended_at = time.monotonic()

    def keep(self) -> None:
        """Lengthens the lease where a quarter of it has passed; a failure waits for the next call.

        Items that were lost meanwhile are noticed when they are recorded.
        """
        now = time.monotonic()
        if now - self._extended_at < self._lease_s / 4:
            return
        try:
            with transaction(self._database) as session:
                extend(session, self._claims, lease_s=self._lease_s)
        except UnavailableError:
            return
        self._extended_at = now
