"""What tests of two who meet share: the second of them."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from ledger_kit import Kit
from sqlalchemy import text

from db.session import Session, transaction


class Second:
    """Does something in a transaction of its own, which is to wait for the test's."""

    def __init__(self, kit: Kit, pool: ThreadPoolExecutor) -> None:
        self._kit = kit
        self._pool = pool

    def begin(self, call: Callable[[Session], object]) -> Future[object]:
        def run() -> object:
            with transaction(self._kit.database) as session:
                return call(session)

        future = self._pool.submit(run)
        while not self._waits() and not future.done():
            time.sleep(0.01)
        return future

    def _waits(self) -> bool:
        with transaction(self._kit.database) as session:
            query = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"
            return bool(session.scalar(text(query)))
