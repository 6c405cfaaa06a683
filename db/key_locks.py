"""Locks that a process holds while it works on something, and that go with it however it ends.

PostgreSQL keeps them for one connection, which everybody in the process shares: they hold nothing
of the pool, and no transaction is open meanwhile.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

import psycopg2

from db.errors import DatabaseUnavailableError

STATEMENT_MS = 5000


class KeyLocks:
    """The locks of one process. Its connection is made when the first is taken.

    Where that breaks, its locks are gone: whoever relies on them must notice by other means that
    two are at work.
    """

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._mutex = threading.Lock()
        self._held: set[int] = set()
        self._connection: psycopg2.extensions.connection | None = None

    @contextlib.contextmanager
    def held(self, number: int) -> Iterator[Callable[[], None] | None]:
        """A lock on a number of 64 bits, with which to let go before the end; None: it is held.

        Raises `DatabaseUnavailableError`.
        """
        if not self._take(number):
            yield None
            return
        with contextlib.ExitStack() as until:
            until.callback(self._let_go, number)
            yield until.close

    def close(self) -> None:
        """Ends the connection, and with it all locks."""
        with self._mutex:
            self._disconnect()

    def _take(self, number: int) -> bool:
        with self._mutex:
            # The server would give one connection its own lock a second time.
            if number in self._held or not self._asked("pg_try_advisory_lock", number):
                return False
            self._held.add(number)
            return True

    def _let_go(self, number: int) -> None:
        with self._mutex:
            self._held.discard(number)
            # With a connection that breaks go its locks.
            with contextlib.suppress(DatabaseUnavailableError):
                if self._connection is not None:
                    self._asked("pg_advisory_unlock", number)

    def _asked(self, function: str, number: int) -> bool:
        for connection in (self._connection, None):
            try:
                return self._called(connection or self._connected(), function, number)
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as exc:
                self._disconnect()
                cause = exc
                # One that lay idle may have died since; a new one has no such excuse.
                if connection is None:
                    break
        raise DatabaseUnavailableError("the database does not answer") from cause

    def _called(
        self, connection: "psycopg2.extensions.connection", function: str, number: int
    ) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(%s)", (number,))
            return bool(cursor.fetchone()[0])

    def _connected(self) -> "psycopg2.extensions.connection":
        connection = psycopg2.connect(
            self._database_url,
            connect_timeout=5,
            application_name="facebatch-locks",
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=4,
            options=f"-c statement_timeout={STATEMENT_MS}",
        )
        connection.autocommit = True
        self._connection = connection
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None
