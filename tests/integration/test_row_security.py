"""Row-level security: whatever a query asks for, a tenant meets its own rows and nobody else's."""

from collections.abc import Iterator

import pytest
from ledger_kit import Kit
from psycopg2 import errors
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from tenants_kit import fill, of_tenants, rows_of

from db.models import Base
from db.prepared import Prepared
from db.roles import WORKING, Role
from db.session import Database, Session, make_database, reading, transaction
from db.tenancy import acting_for

TABLES = [one.name for one in of_tenants()]
KEYS = {"tenant": "id", **dict.fromkeys(TABLES, "tenant_id")}
"""What names the tenant, by table."""
NOBODYS = {
    "alembic_version": "the schema's number; no working role may read it",
    "model": "engines and their versions, the same for everybody",
}
"""Tables without a tenant, and why."""
READ_ONLY = {"tenant", "quota"}
"""Tables of which a tenant reads its own row, and changes not even that."""
OWN = (
    "( SELECT (NULLIF(current_setting('facebatch.tenant_id'::text, true), ''::text))::bigint "
    'AS "nullif")'
)


@pytest.fixture
def both(kit: Kit, stranger: Kit) -> tuple[int, int]:
    """The owner and the stranger, with rows in all tables."""
    fill(kit)
    fill(stranger)
    return kit.tenant_id, stranger.tenant_id


@pytest.fixture
def seen(database_url: str) -> Iterator[Database]:
    """The database as a tenant's connection shows it; there is one, so it goes round."""
    database = make_database(database_url, role=Role.TENANT, pool_size=1, max_overflow=0)
    yield database
    database.dispose()


def unsecured(connection: Connection) -> set[str]:
    """Tables that are not closed, and neither known to be nobody's."""
    tables = connection.execute(
        text("""
            SELECT relname AS name, relrowsecurity AND relforcerowsecurity AS forced,
                   ARRAY(SELECT attname::text FROM pg_attribute
                         WHERE attrelid = pg_class.oid AND NOT attisdropped) AS columns
            FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'f')
        """)
    )
    found = set()
    for table in tables.all():
        if "tenant_id" not in table.columns and table.name in NOBODYS:
            continue
        key = "tenant_id" if "tenant_id" in table.columns else KEYS.get(table.name)
        if not table.forced or policies(connection, table.name) != expected(key):
            found.add(table.name)
    return found


def policies(connection: Connection, table: str) -> set[tuple[object, ...]]:
    query = """
        SELECT permissive, roles::text[], cmd, qual, with_check
        FROM pg_policies WHERE schemaname = 'public' AND tablename = :table
    """
    rows = connection.execute(text(query), {"table": table}).all()
    return {(one.permissive, *one.roles, one.cmd, one.qual, one.with_check) for one in rows}


def expected(key: str | None) -> set[tuple[object, ...]]:
    own = f"({key} = {OWN})"
    return {
        ("PERMISSIVE", Role.TENANT.value, "ALL", own, own),
        ("PERMISSIVE", Role.SYSTEM.value, "ALL", "true", "true"),
    }


def test_every_table_is_closed_or_known_to_be_nobodys(database: Database) -> None:
    with database.connect() as connection:
        assert unsecured(connection) == set()


SECURED = (
    "CREATE TABLE {0} (tenant_id bigint); "
    "ALTER TABLE {0} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; "
    f"CREATE POLICY tenant ON {{0}} TO {Role.TENANT} USING (tenant_id = {OWN}) "
    f"WITH CHECK (tenant_id = {OWN}); "
    f"CREATE POLICY system ON {{0}} TO {Role.SYSTEM} USING (true) WITH CHECK (true)"
)
FORGETFUL = (
    "CREATE TABLE {0} (tenant_id bigint)",
    "CREATE TABLE {0} (id bigint)",
    SECURED + "; ALTER TABLE {0} NO FORCE ROW LEVEL SECURITY",
    SECURED + "; ALTER TABLE {0} DISABLE ROW LEVEL SECURITY",
    SECURED + "; DROP POLICY tenant ON {0}",
    SECURED + "; ALTER POLICY tenant ON {0} USING (true)",
    SECURED + "; ALTER POLICY tenant ON {0} WITH CHECK (true)",
    SECURED + "; CREATE POLICY third ON {0} TO PUBLIC USING (true)",
)


def test_a_table_that_a_migration_forgets_is_found(owners: Database) -> None:
    with owners.connect() as connection:
        connection.exec_driver_sql(SECURED.format("whole"))
        for n, made in enumerate(FORGETFUL):
            assert unsecured(connection) == {f"forgotten_{one}" for one in range(n)}
            connection.exec_driver_sql(made.format(f"forgotten_{n}"))
        assert len(unsecured(connection)) == len(FORGETFUL)
        connection.exec_driver_sql("ALTER TABLE model ADD COLUMN tenant_id bigint")
        assert "model" in unsecured(connection)


def test_nothing_else_in_the_schema_leads_past_the_policies(database: Database) -> None:
    # A view, and a function that says so, work under the role of whoever owns them.
    with database.connect() as connection:
        for query in (
            "SELECT relname FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = ",
            "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = ",
        ):
            assert connection.scalars(text(f"{query} 'public'::regnamespace")).all() == []


def test_the_roles_can_do_nothing_but_work(database: Database) -> None:
    query = """
        SELECT rolname FROM pg_roles WHERE rolname = ANY(:roles)
        AND NOT (rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb)
        AND NOT EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid)
    """
    with database.connect() as connection:
        found = connection.scalars(text(query), {"roles": [one.value for one in WORKING]}).all()
        assert {*found} == {one.value for one in WORKING}


def test_every_table_has_rows_of_two_tenants_here(
    database: Database, both: tuple[int, int]
) -> None:
    # What follows proves nothing about a table that is empty.
    with transaction(database) as session:
        assert [one for one in TABLES if {*both} - rows_of(session, one).keys()] == []


def test_a_tenant_meets_no_row_of_another(
    database: Database, seen: Database, both: tuple[int, int]
) -> None:
    mine, theirs = both
    for table, key in KEYS.items():
        with transaction(database) as session:
            before = rows_of(session, table, key)
        with acting_for(mine), transaction(seen) as session:
            assert rows_of(session, table, key) == {mine: before[mine]}, table
            _change_all(session, table, f"{key} <> {mine}")
        with transaction(database) as session:
            assert rows_of(session, table, key)[theirs] == before[theirs], table


def _change_all(session: Session, table: str, which: str) -> None:
    """Tries to, and meets nothing; who the tenants are and may have no request changes at all."""
    for statement in (
        f"UPDATE {table} SET {KEYS[table]} = {KEYS[table]} WHERE {which}",
        f"DELETE FROM {table} WHERE {which}",
    ):
        if table in READ_ONLY:
            _refused(session, statement)
        else:
            assert session.execute(text(statement)).rowcount == 0, statement


def test_a_tenant_makes_no_row_of_another(
    database: Database, seen: Database, both: tuple[int, int]
) -> None:
    mine, theirs = both
    for table in TABLES:
        with transaction(database) as session:
            one = f"SELECT to_jsonb(one)::text FROM {table} AS one WHERE tenant_id = :id LIMIT 1"
            row = session.scalar(text(one), {"id": theirs})
        again = f"""
            INSERT INTO {table} OVERRIDING SYSTEM VALUE
            SELECT (jsonb_populate_record(NULL::{table}, CAST(:row AS jsonb))).*
        """
        with acting_for(mine), transaction(seen) as session:
            _refused(session, again, row=row)
            _refused(session, f"UPDATE {table} SET tenant_id = {theirs}")


def _refused(session: Session, statement: str, **values: object) -> None:
    with pytest.raises(DBAPIError) as caught, session.begin_nested():
        session.execute(text(statement), values)
    assert isinstance(caught.value.orig, errors.InsufficientPrivilege), caught.value


@pytest.mark.usefixtures("both")
def test_without_a_tenant_there_is_nothing(seen: Database) -> None:
    with transaction(seen) as session:
        assert [one for one in KEYS if rows_of(session, one, KEYS[one])] == []


def test_a_connection_forgets_its_tenant_with_each_transaction(
    seen: Database, both: tuple[int, int]
) -> None:
    mine, theirs = both
    for tenant_id in (mine, theirs):
        with acting_for(tenant_id), transaction(seen) as session:
            assert rows_of(session, "job").keys() == {tenant_id}
        with transaction(seen) as session:
            assert rows_of(session, "job") == {}
    with acting_for(mine), transaction(seen) as session:
        assert rows_of(session, "job").keys() == {mine}
        session.rollback()
    with transaction(seen) as session:
        assert rows_of(session, "job") == {}


def test_whose_work_is_done_inside_another_s_comes_back_to_its_own(
    seen: Database, both: tuple[int, int]
) -> None:
    mine, theirs = both
    with acting_for(mine):
        with acting_for(theirs), transaction(seen) as session:
            assert rows_of(session, "item").keys() == {theirs}
        with transaction(seen) as session:
            assert rows_of(session, "item").keys() == {mine}


def test_deleting_what_is_ones_own_takes_along_all_that_hangs_on_it(
    database: Database, seen: Database, both: tuple[int, int]
) -> None:
    # Foreign keys look past policies: a cascade that did not would leave orphans.
    mine, theirs = both
    with acting_for(mine), transaction(seen) as session:
        session.execute(text("DELETE FROM job"))
        session.execute(text("DELETE FROM gallery"))
    gone = {"job", "item", "candidate", "export", "source", "gallery", "template", "webhook_watch"}
    with transaction(database) as session:
        # That a job has ended is told even where it is deleted.
        assert {one for one in TABLES if mine not in rows_of(session, one)} >= gone
        assert all(theirs in rows_of(session, one) for one in TABLES)


def test_the_models_are_there_to_be_read_by_everybody(seen: Database, kit: Kit) -> None:
    with acting_for(kit.tenant_id), transaction(seen) as session:
        assert session.scalars(text("SELECT engine FROM model")).all()
        _refused(session, "INSERT INTO model (engine, version, dimension) VALUES ('x', '1', 1)")
        _refused(session, "UPDATE model SET version = '2'")
        _refused(session, "SELECT * FROM alembic_version")


def test_the_tables_are_those_of_the_models() -> None:
    assert {*Base.metadata.tables} | {"alembic_version"} == {*KEYS, *NOBODYS}


def test_a_statement_that_a_connection_has_planned_once_asks_anew_whose_rows_it_meets(
    seen: Database, both: tuple[int, int]
) -> None:
    jobs_of = Prepared(
        "facebatch_test_jobs", "SELECT count(*) FROM job WHERE tenant_id = :id", {"id": "bigint"}
    )

    def count(tenant_id: int) -> int:
        with transaction(seen) as session:
            return int(jobs_of.execute(session, {"id": tenant_id}).scalar_one())

    mine, theirs = both
    # PostgreSQL plans anew five times, and then keeps the plan.
    for _ in range(7):
        for acting, other in ((mine, theirs), (theirs, mine)):
            with acting_for(acting):
                assert count(acting) > 0
                assert count(other) == 0
        assert count(mine) == 0


def test_whoever_only_reads_tells_with_each_statement_whose_rows_it_may_see(
    seen: Database, both: tuple[int, int]
) -> None:
    mine, theirs = both
    for tenant_id in (mine, theirs, mine):
        with acting_for(tenant_id), reading(seen) as session:
            for _ in range(2):
                assert rows_of(session, "item").keys() == {tenant_id}
    with reading(seen) as session:
        assert not rows_of(session, "item")


def _delete_and_fail(session: Session) -> None:
    session.execute(text("DELETE FROM job"))
    raise ZeroDivisionError


def test_a_connection_that_was_read_with_works_in_transactions_again(
    seen: Database, both: tuple[int, int]
) -> None:
    with acting_for(both[0]):
        with reading(seen) as session:
            before = rows_of(session, "job")
        with pytest.raises(ZeroDivisionError), transaction(seen) as session:
            _delete_and_fail(session)
        with reading(seen) as session:
            assert rows_of(session, "job") == before != {}
