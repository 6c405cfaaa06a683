"""How fast the clients may go: there is to be work at every fault, and some left for the last."""

import threading

FIRST_JOBS = 2
STEADY_SHARE = 0.5
"""Of the jobs, so many come as the faults go by; the others when a fault asks for work."""


class Pace:
    """Counts what has happened; says how many of the planned jobs may have begun."""

    def __init__(self, *, jobs: int, faults: int) -> None:
        self._jobs = jobs
        self._faults = max(faults, 1)
        self._done = 0
        self._wanted = 0
        self._lock = threading.Lock()
        self._over = False

    def fault_done(self) -> None:
        """One more fault is over, or found nothing to strike."""
        with self._lock:
            self._done += 1

    def want_work(self) -> None:
        """A fault waits for something to be under way."""
        with self._lock:
            self._wanted += 1

    def finish(self) -> None:
        """No further fault comes; all jobs may."""
        self._over = True

    @property
    def allowed(self) -> int:
        """So many of the planned jobs may have begun."""
        if self._over:
            return self._jobs
        steady = int(STEADY_SHARE * self._jobs * self._done / self._faults)
        return FIRST_JOBS + steady + self._wanted
