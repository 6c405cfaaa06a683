"""The lease on a chunk, lengthened as photos get done: progress is the sign of life."""

import time
from collections.abc import Sequence

from db.errors import UnavailableError
from db.ledger import Claim, extend
from db.session import transaction
from workers.context import WorkerContext


class Lease:
    """Keeps claims alive between photos. A worker that hangs in a photo lets them run out."""

    def __init__(self, context: WorkerContext, claims: Sequence[Claim]) -> None:
        self._database = context.database
        self._slot = context.slot
        self._claims = claims
        self._lease_s = context.settings.lease_s
        self._extended_at = time.monotonic()

    def keep(self) -> bool:
        """To be called before the first photo and after each: what follows is a photo's work.

        Lengthens the lease where a quarter of it has passed; a failure waits for the next call.
        Items that were lost meanwhile are noticed when they are recorded.

        False where this worker is to stop. Then no further photo is begun; those that are done are
        recorded, and the others handed back.
        """
        self._lengthen()
        # From now on the process has the time of one lease until the next call, or is ended.
        self._slot.progress()
        return not self._slot.stopping

    def rest(self) -> None:
        """To be called after the last photo: what follows waits for stores, not for pixels."""
        self._lengthen()

    def _lengthen(self) -> None:
        self._slot.rest()
        now = time.monotonic()
        if now - self._extended_at < self._lease_s / 4:
            return
        try:
            with transaction(self._database) as session:
                extend(session, self._claims, lease_s=self._lease_s)
        except UnavailableError:
            return
        self._extended_at = now
