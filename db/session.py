"""Connections and transactions."""

import contextlib
import select
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from db.errors import ConflictingChangesError, DatabaseUnavailableError
from db.roles import Role, taking
from db.tenancy import AT_ONCE, tell_tenant

__all__ = [
    "Database",
    "Role",
    "Session",
    "make_database",
    "ping",
    "reading",
    "retried",
    "transaction",
]

T = TypeVar("T")
TRIES = 3
ROLLED_BACK = {"40001", "40P01", "55P03"}
"""What PostgreSQL says of a transaction that it gave up for another's sake: in a deadlock say, or
where it was to wait for a lock for so long and no longer."""

Database = Engine
"""A pool of connections to one database."""


def make_database(
    database_url: str, *, role: Role, pool_size: int = 5, max_overflow: int = 10
) -> Database:
    """A pool of connections to `database_url` (a libpq URL) that work under `role`.

    Under `Role.TENANT` each transaction sees what belongs to the tenant of `db.tenancy`.
    """
    parts = urlsplit(database_url)
    database = create_engine(
        urlunsplit(parts._replace(scheme="postgresql+psycopg2")),
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=10,
        # The same few serve while there is little to do: none goes stale, and their plans are made.
        pool_use_lifo=True,
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
    if role is not Role.OWNER:
        event.listen(database, "connect", taking(role))
    if role is Role.TENANT:
        tell_tenant(database)
    event.listen(database, "checkout", _check)
    return database


def _check(
    connection: DBAPIConnection, _record: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """Finds out whether a connection is still good; the pool makes another where it is not.

    A server that was stopped has said so, or its machine has: there is something to be read. One
    that has said nothing is not asked, which would be one question more for each that matters.
    """
    driver = cast("psycopg2.extensions.connection", connection)
    heard = select.poll()
    try:
        heard.register(driver.fileno(), select.POLLIN)
        if heard.poll(0):
            with contextlib.closing(driver.cursor()) as cursor:
                cursor.execute("SELECT 1")
            driver.rollback()
    except psycopg2.Error as exc:
        raise DisconnectionError from exc


@contextlib.contextmanager
def transaction(database: Database) -> Iterator[Session]:
    """A session whose work is committed at the end, or rolled back where an error leaves it.

    Raises `ConflictingChangesError` where the server gave this transaction up for another's sake:
    nothing of it happened. Raises `DatabaseUnavailableError` where the server is away or no
    connection is free: it did not happen, or nobody knows. Trying again helps with both.
    """
    with _translated(), Session(database, expire_on_commit=False) as session, session.begin():
        yield session


@contextlib.contextmanager
def reading(database: Database) -> Iterator[Session]:
    """A session for looking: each of its statements is a transaction of its own, in one message.

    On a busy machine a short question takes as long as it has messages, and to begin and to commit
    are two more. Raises what `transaction` raises.
    """
    with _translated(), Session(database, expire_on_commit=False) as session:
        connection = session.connection()
        driver: Any = connection.connection.driver_connection
        info = connection.info
        # Not by the isolation level of SQLAlchemy: to reset that is a message too.
        driver.autocommit = info[AT_ONCE] = True
        try:
            yield session
        finally:
            if not driver.closed:
                driver.autocommit = info[AT_ONCE] = False


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turns the driver's errors into ours."""
    try:
        yield
    except (OperationalError, InterfaceError) as exc:
        if getattr(exc.orig, "pgcode", None) in ROLLED_BACK:
            raise ConflictingChangesError(
                "others changed the same things at the same moment; try again"
            ) from exc
        raise DatabaseUnavailableError("the database does not answer") from exc
    except PoolTimeoutError as exc:
        raise DatabaseUnavailableError("all connections to the database are in use") from exc
    except DBAPIError as exc:
        if exc.connection_invalidated:
            raise DatabaseUnavailableError("the database connection broke") from exc
        raise


def retried(database: Database, work: Callable[[Session], T]) -> T:
    """What `work` returns, once its transaction is committed.

    It runs again from the start, in a new transaction, where the server gave it up for another's
    sake. Raises what `transaction` raises.
    """
    for _ in range(TRIES - 1):
        with contextlib.suppress(ConflictingChangesError), transaction(database) as session:
            return work(session)
    with transaction(database) as session:
        return work(session)


def ping(database: Database) -> None:
    """Raises `DatabaseUnavailableError` unless the database answers and has our schema."""
    with transaction(database) as session:
        session.execute(text("SELECT 1 FROM tenant LIMIT 1"))
