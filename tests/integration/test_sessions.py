"""Connections: those that went while nobody used them are missed by nobody."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from db.errors import DatabaseUnavailableError
from db.session import Database, Role, Session, make_database, reading, transaction


@pytest.fixture
def pooled(database_url: str) -> Iterator[Database]:
    """A pool of one connection."""
    database = make_database(database_url, role=Role.SYSTEM, pool_size=1, max_overflow=0)
    yield database
    database.dispose()


def server_of(database: Database) -> int:
    with reading(database) as session:
        return int(session.scalars(text("SELECT pg_backend_pid()")).one())


def ended(owners: Database, pid: int) -> None:
    with transaction(owners) as session:
        session.execute(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})


def _ask_of_the_dead(session: Session, owners: Database) -> None:
    ended(owners, session.scalars(text("SELECT pg_backend_pid()")).one())
    session.execute(text("SELECT 1"))


@pytest.mark.parametrize("opened", [reading, transaction])
def test_a_connection_whose_server_is_gone_is_made_anew(
    pooled: Database, owners: Database, opened: object
) -> None:
    before = server_of(pooled)
    assert server_of(pooled) == before
    ended(owners, before)
    with opened(pooled) as session:
        assert session.scalars(text("SELECT pg_backend_pid()")).one() != before
    assert server_of(pooled) != before


def test_a_server_that_goes_while_it_is_asked_is_missed_once(
    pooled: Database, owners: Database
) -> None:
    with pytest.raises(DatabaseUnavailableError), reading(pooled) as session:
        _ask_of_the_dead(session, owners)
    assert server_of(pooled)
    with transaction(pooled) as session:
        # It is no connection that commits by itself.
        assert session.connection().connection.driver_connection.autocommit is False


def test_what_a_server_says_beside_is_no_end(pooled: Database, owners: Database) -> None:
    before = server_of(pooled)
    with reading(pooled) as session:
        session.execute(text("LISTEN something"))
    with transaction(owners) as session:
        session.execute(text("NOTIFY something"))
    assert server_of(pooled) == before
