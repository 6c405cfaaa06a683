"""A database whose user is no superuser: what it needs and is told, and that all works then."""

import re
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np
import psycopg2
import pytest
from ledger_kit import Kit, embedding
from sqlalchemy import text
from tenants_kit import fill, of_tenants, rows_of

from cli.stack.home import open_home
from cli.stack.ports import FreePorts
from cli.stack.postgres import database_url, postgres
from cli.stack.stores import running
from db.imports import NamedEmbeddings, import_templates
from db.prepare import prepare_database
from db.roles import WORKING, Role, ensure_roles
from db.session import make_database, transaction
from db.settings import SettingsError
from db.tenancy import acting_for
from db.tenants import ensure_tenant
from pipeline.specs import DEFAULT_ENGINE

TOLD = re.compile(r"have an administrator run (.*;) and start again")


@dataclass(kw_only=True)
class Server:
    """A PostgreSQL that has never heard of facebatch, and its administrator."""

    url: str
    made: list[str] = field(default_factory=list)
    """What undoes what was made, the first last."""

    def execute(self, statements: str, url: str | None = None) -> None:
        with closing(psycopg2.connect(url or self.url)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for one in statements.split(";"):
                    if one.strip():
                        cursor.execute(one)

    def user(self, rights: str = "") -> str:
        name = f"u{uuid.uuid4().hex[:8]}"
        self.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret' {rights}")
        self.made.append(f"DROP ROLE {name}")
        return name

    def database(self, user: str) -> str:
        """The address, for the user, of a database of its own, with the extension."""
        name = f"d{uuid.uuid4().hex[:8]}"
        self.execute(f"CREATE DATABASE {name} OWNER {user}")
        self.made.append(f"DROP DATABASE {name} WITH (FORCE)")
        self.execute("CREATE EXTENSION vector", self.url.rsplit("/", 1)[0] + f"/{name}")
        return f"postgresql://{user}:secret@{urlsplit(self.url).netloc.rpartition('@')[2]}/{name}"

    def clear(self) -> None:
        for statement in reversed(self.made):
            self.execute(statement)
        self.made.clear()
        self.execute("; ".join(f"DROP ROLE IF EXISTS {one}" for one in WORKING))


@pytest.fixture(scope="module")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = open_home(tmp_path_factory.mktemp("own") / "home")
    port = FreePorts().one()
    with running([postgres(home, port)], home):
        yield Server(url=database_url(home, port))


@pytest.fixture
def server(running_server: Server) -> Iterator[Server]:
    """Without the roles, as every new server."""
    yield running_server
    running_server.clear()


def prepared(url: str) -> None:
    database = make_database(url, role=Role.OWNER)
    try:
        prepare_database(database)
    finally:
        database.dispose()


def kits(url: str, role: Role = Role.SYSTEM) -> tuple[Kit, Kit]:
    """Two tenants with rows in all tables."""
    database = make_database(url, role=role)
    with transaction(database) as session:
        ids = [ensure_tenant(session, name) for name in ("owner", "stranger")]
    mine, theirs = (Kit(database=database, tenant_id=one) for one in ids)
    fill(mine)
    fill(theirs)
    return mine, theirs


def works(url: str) -> None:
    """Everything does, and a tenant sees what is its own."""
    mine, theirs = kits(url)
    seen, owners = (make_database(url, role=one) for one in (Role.TENANT, Role.OWNER))
    for table in of_tenants():
        with acting_for(mine.tenant_id), transaction(seen) as session:
            assert rows_of(session, table.name).keys() == {mine.tenant_id}
        with transaction(owners) as session:
            # Else a migration of rows would change none.
            assert {*rows_of(session, table.name)} >= {mine.tenant_id, theirs.tenant_id}
    found = NamedEmbeddings(names=("Bo", "Cy"), vectors=np.stack([embedding(7), embedding(8)]))
    with transaction(mine.database) as session:
        how = {"gallery": "imported", "spec": DEFAULT_ENGINE, "found": found}
        assert import_templates(session, mine.tenant_id, **how).template_count == 2
    for one in (mine.database, seen, owners):
        one.dispose()


def test_a_user_who_may_not_make_the_roles_is_told_what_to_have_done(server: Server) -> None:
    url = server.database(server.user())
    with pytest.raises(SettingsError, match=TOLD) as refused:
        prepared(url)
    owners = make_database(url, role=Role.OWNER)
    with transaction(owners) as session:
        assert session.scalar(text("SELECT to_regclass('tenant')")) is None
    owners.dispose()
    (todo,) = TOLD.findall(str(refused.value))
    server.execute(todo)
    prepared(url)
    works(url)


def test_a_user_who_may_take_none_of_the_roles_that_are_there_is_told_so_too(
    server: Server,
) -> None:
    prepared(server.database(server.user("CREATEROLE")))
    url = server.database(server.user())
    with pytest.raises(SettingsError, match=TOLD) as refused:
        prepared(url)
    (todo,) = TOLD.findall(str(refused.value))
    server.execute(todo)
    prepared(url)
    works(url)


def test_a_user_who_may_make_roles_needs_nobody(server: Server) -> None:
    url = server.database(server.user("CREATEROLE"))
    prepared(url)
    prepared(url)
    works(url)


def test_databases_that_are_prepared_at_once_share_the_roles(server: Server) -> None:
    user = server.user("CREATEROLE")
    urls = [server.database(user) for _ in range(4)]
    together = threading.Barrier(len(urls))

    def roles(url: str) -> None:
        database = make_database(url, role=Role.OWNER)
        with database.begin() as connection:
            connection.execute(text("SELECT 1"))
            together.wait()
            ensure_roles(connection)
            # Nobody's are there to be seen until all have tried.
            time.sleep(0.2)
        database.dispose()

    with ThreadPoolExecutor(len(urls)) as pool:
        list(pool.map(roles, urls))
    prepared(urls[0])
    works(urls[0])


def test_tables_in_a_schema_called_after_the_user_are_found(server: Server) -> None:
    user = server.user("CREATEROLE")
    url = server.database(user)
    server.execute(f"CREATE SCHEMA {user}", url)
    prepared(url)
    owners = make_database(url, role=Role.OWNER)
    with transaction(owners) as session:
        assert session.scalar(text("SELECT to_regclass(:name)"), {"name": f"{user}.tenant"})
    owners.dispose()
    works(url)


def test_nothing_is_taken_for_granted_that_everybody_usually_may(server: Server) -> None:
    url = server.database(server.user("CREATEROLE"))
    name = url.rpartition("/")[2]
    closed = f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC"
    server.execute(closed, server.url.rsplit("/", 1)[0] + f"/{name}")
    prepared(url)
    works(url)


@pytest.mark.parametrize(
    ("rights", "wrong"),
    [
        ("CREATEROLE", f"ALTER ROLE {Role.TENANT} BYPASSRLS"),
        ("CREATEROLE", f"ALTER ROLE {Role.SYSTEM} SUPERUSER"),
        ("CREATEROLE", f"GRANT {Role.SYSTEM} TO {Role.TENANT}"),
        ("SUPERUSER", f"GRANT {{user}} TO {Role.TENANT}"),
    ],
)
def test_a_role_that_sees_more_than_it_should_is_refused(
    server: Server, rights: str, wrong: str
) -> None:
    user = server.user(rights)
    url = server.database(user)
    prepared(url)
    server.execute(wrong.format(user=user))
    with pytest.raises(SettingsError, match="NOBYPASSRLS"):
        prepared(url)
