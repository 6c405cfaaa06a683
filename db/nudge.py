"""Taps on the shoulder: work is due, a job has ended, there is an event to send.

Nothing depends on their arrival.
"""

import select
import uuid

import psycopg2
from sqlalchemy import ColumnElement, SQLColumnExpression, Text, cast, func, literal_column, text
from sqlalchemy.orm import Session

from db.errors import DatabaseUnavailableError
from db.roles import Role

DUE = "facebatch_due"
ENDED = "facebatch_ended"
EVENTS = "facebatch_events"
URGENT, CROP = "urgent", "crop"
"""The words with a nudge of work whose answer somebody waits for: photos, and faces to cut out."""
_NOTIFY = text("SELECT pg_notify(:channel, :word)")


def notify(session: Session, *, urgent: bool = False) -> None:
    """Wakes the dispatchers when the session's transaction commits."""
    session.execute(_NOTIFY, {"channel": DUE, "word": URGENT if urgent else ""})


def notify_crop(session: Session) -> None:
    """Likewise, of a face to be cut out."""
    session.execute(_NOTIFY, {"channel": DUE, "word": CROP})


def notify_ended(session: Session, job_id: uuid.UUID) -> None:
    """Wakes those who wait for the job's end when the session's transaction commits."""
    session.execute(_NOTIFY, {"channel": ENDED, "word": str(job_id)})


def notifying_ended(job_id: SQLColumnExpression[uuid.UUID]) -> ColumnElement[None]:
    """A column that wakes those who wait for the job's end, for each row of its statement."""
    return func.pg_notify(literal_column(f"'{ENDED}'"), cast(job_id, Text))


def notify_events(session: Session) -> None:
    """Wakes the couriers when the session's transaction commits."""
    session.execute(_NOTIFY, {"channel": EVENTS, "word": ""})


class Listener:
    """Waits for nudges on a connection of its own, which it makes again when it breaks."""

    def __init__(self, database_url: str, *channels: str) -> None:
        self._database_url = database_url
        self._channels = channels
        self._connection: psycopg2.extensions.connection | None = None

    def wait(self, timeout_s: float) -> list[str]:
        """The words that came with nudges, at the first of them or, with none, after `timeout_s`.

        Raises `DatabaseUnavailableError`.
        """
        try:
            connection = self._connect()
            connection.poll()
            if not connection.notifies:
                select.select([connection], [], [], timeout_s)
                connection.poll()
            words = [one.payload for one in connection.notifies]
            connection.notifies.clear()
        except (psycopg2.Error, OSError) as exc:
            self.close()
            raise DatabaseUnavailableError("the database does not answer") from exc
        return words

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
                # Whoever listens reads no table; under this role, and for nobody, none is open.
                cursor.execute(f"SET ROLE {Role.TENANT}")
                for channel in self._channels:
                    cursor.execute(f"LISTEN {channel}")
            self._connection = connection
        return self._connection
