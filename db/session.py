"""Connections and transactions."""

import contextlib
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from db.errors import DatabaseUnavailableError

__all__ = ["Database", "Session", "make_database", "ping", "transaction"]

Database = Engine
"""A pool of connections to one database."""


def make_database(database_url: str, *, pool_size: int = 5, max_overflow: int = 10) -> Database:
    """A pool of connections to `database_url` (a libpq URL)."""
    parts = urlsplit(database_url)
    return create_engine(
        urlunsplit(parts._replace(scheme="postgresql+psycopg2")),
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=10,
        # A server that was restarted leaves dead connections in the pool.
        pool_pre_ping=True,
        # Parameters are names and embeddings, and errors are logged.
        hide_parameters=True,
        connect_args={
            "connect_timeout": 5,
            "application_name": "facebatch",
            # A peer that vanished without a word is noticed within half a minute.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "options": "-c timezone=UTC",
        },
    )


@contextlib.contextmanager
def transaction(database: Database) -> Iterator[Session]:
    """A session whose work is committed at the end, or rolled back where an error leaves it.

    Raises `DatabaseUnavailableError` where the server is away, no connection is free, or the
    server chose this transaction as the victim of a deadlock: what was asked for did not happen,
    or nobody knows; try again.
    """
    try:
        with Session(database, expire_on_commit=False) as session, session.begin():
            yield session
    except (OperationalError, InterfaceError) as exc:
        raise DatabaseUnavailableError("the database does not answer") from exc
    except PoolTimeoutError as exc:
        raise DatabaseUnavailableError("all connections to the database are in use") from exc
    except DBAPIError as exc:
        if exc.connection_invalidated:
            raise DatabaseUnavailableError("the database connection broke") from exc
        raise


def ping(database: Database) -> None:
    """Raises `DatabaseUnavailableError` unless the database answers and has our schema."""
    with transaction(database) as session:
        session.execute(text("SELECT 1 FROM tenant LIMIT 1"))
