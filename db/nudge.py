"""A tap on the dispatcher's shoulder: work is due. Nothing depends on its arrival."""

import select

import psycopg2
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.errors import DatabaseUnavailableError

CHANNEL = "facebatch_due"


def notify(session: Session) -> None:
    """Wakes the dispatchers when the session's transaction commits."""
    session.execute(text(f"NOTIFY {CHANNEL}"))


class Listener:
    """Waits for nudges on a connection of its own, which it makes again when it breaks."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._connection: psycopg2.extensions.connection | None = None

    def wait(self, timeout_s: float) -> None:
        """Returns at a nudge, or after `timeout_s`; raises `DatabaseUnavailableError`."""
        try:
            connection = self._connect()
            connection.poll()
            if not connection.notifies:
                select.select([connection], [], [], timeout_s)
                connection.poll()
            connection.notifies.clear()
        except (psycopg2.Error, OSError) as exc:
            self.close()
            raise DatabaseUnavailableError("the database does not answer") from exc

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> "psycopg2.extensions.connection":
        if self._connection is None:
            connection = psycopg2.connect(
                self._database_url, connect_timeout=5, application_name="facebatch-nudge"
            )
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            self._connection = connection
        return self._connection
