"""The roles under which processes work, so that row-level security holds for them.

Whoever connects owns the tables, and may see past it. So a process connects, and takes a role that
owns nothing and bypasses nothing. Roles are the server's, shared by all of its databases: no
migration makes them, and none takes them away.
"""

import contextlib
from collections.abc import Callable
from enum import StrEnum

import psycopg2
from sqlalchemy import Connection, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from db.settings import SettingsError


class Role(StrEnum):
    """Under which role a connection works."""

    OWNER = "owner"
    """None of ours: that of whoever connects. For making the schema alone."""
    TENANT = "facebatch_tenant"
    """Sees the rows of one tenant, whom each transaction names, and else nothing."""
    SYSTEM = "facebatch_system"
    """Sees all rows: for what works for all tenants, and for finding out who asks."""


WORKING = (Role.TENANT, Role.SYSTEM)
_NAMES = [role.value for role in WORKING]
_TAKEN = {"42710", "23505"}
"""Somebody else, in another database, has made the same at this moment."""
_NOT_ALLOWED = "42501"
_PATH = """
    coalesce((SELECT string_agg(quote_ident(name), ', ' ORDER BY n)
              FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, n)), '')
"""
# In a search path "$user" would be the role from then on; the tables stay where they were.
_TAKE = f"""
    SELECT set_config('search_path', {_PATH}, false), set_config('role', %s, false)
"""


def taking(role: Role) -> Callable[[DBAPIConnection, ConnectionPoolEntry], None]:
    """What has each new connection of a pool take `role`."""

    def take(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(_TAKE, (role.value,))
        connection.commit()

    return take


def ensure_roles(connection: Connection) -> None:
    """The roles are there, bypass nothing, and this user may take them.

    Raises `SettingsError`, which says what to have done, where this user may not bring it about.
    """
    for role in _missing(connection):
        _run(connection, f"CREATE ROLE {role} NOLOGIN", instead=_everything)
    _refuse_powerful(connection)
    for role in WORKING:
        if not _may_take(connection, role):
            _run(connection, _grant(connection, role), instead=_everything)
    if not all(_may_take(connection, role) for role in WORKING):
        raise SettingsError(_to_be_run(_everything(connection)))
    for statement in connection.scalars(_MISSING_RIGHTS, {"roles": _NAMES}).all():
        _run(connection, statement)


_EXISTS = text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = :role)")
_POWERFUL = text("""
    SELECT rolname FROM pg_roles
    WHERE rolname = ANY(:roles) AND (rolsuper OR rolbypassrls)
    UNION ALL
    SELECT CAST(:tenant AS text)
    WHERE pg_has_role(:tenant, :system, 'MEMBER') OR pg_has_role(:tenant, current_user, 'MEMBER')
""")
# The schemas in which our tables and the vectors' operators are; and, for the tables into which an
# import sends its rows first, what every user may usually do.
_MISSING_RIGHTS = text("""
    SELECT format('GRANT USAGE ON SCHEMA %I TO %I', schema, role)
    FROM unnest(current_schemas(false)) AS schema, unnest(CAST(:roles AS text[])) AS role
    WHERE NOT has_schema_privilege(role, schema, 'USAGE')
    UNION ALL
    SELECT format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), role)
    FROM unnest(CAST(:roles AS text[])) AS role
    WHERE NOT has_database_privilege(role, current_database(), 'TEMPORARY')
""")


def _missing(connection: Connection) -> list[Role]:
    return [one for one in WORKING if not connection.scalar(_EXISTS, {"role": one.value})]


def _refuse_powerful(connection: Connection) -> None:
    values = {"roles": _NAMES, "tenant": Role.TENANT.value, "system": Role.SYSTEM.value}
    found = connection.scalars(_POWERFUL, values).all()
    if found:
        raise SettingsError(
            f"the database's role {found[0]} must keep to row-level security, and does not: have "
            f"an administrator run ALTER ROLE {found[0]} NOSUPERUSER NOBYPASSRLS, and take "
            f"{Role.TENANT} out of whatever roles it is a member of"
        )


def _may_take(connection: Connection, role: Role) -> bool:
    """Whether this user may; of the system's it must have the rights too, for migrations of rows.

    Before PostgreSQL 16 every member may take a role.
    """
    how = ["SET" if _tells_set(connection) else "MEMBER"]
    if role is Role.SYSTEM:
        how.append("USAGE")
    asked = text("SELECT pg_has_role(:role, :how)")
    return all(connection.scalar(asked, {"role": role.value, "how": one}) for one in how)


def _grant(connection: Connection, role: Role) -> str:
    grant = f"GRANT {role} TO CURRENT_USER"
    if not _tells_set(connection):
        return grant
    return f"{grant} WITH SET TRUE, INHERIT {'TRUE' if role is Role.SYSTEM else 'FALSE'}"


def _tells_set(connection: Connection) -> bool:
    version = connection.dialect.server_version_info
    return version is not None and int(version[0]) >= 16


def _run(
    connection: Connection, statement: str, *, instead: Callable[[Connection], str] | None = None
) -> None:
    """Runs it, unless somebody else is doing so.

    Raises `SettingsError` where this user may not, with what an administrator is to run.
    """
    try:
        with connection.begin_nested():
            connection.execute(text(statement))
    except DBAPIError as exc:
        code = exc.orig.pgcode if isinstance(exc.orig, psycopg2.Error) else None
        if code == _NOT_ALLOWED:
            todo = instead(connection) if instead else statement
            raise SettingsError(_to_be_run(todo)) from exc
        if code not in _TAKEN:
            raise


def _everything(connection: Connection) -> str:
    """What gives this user the roles."""
    user = connection.scalar(text("SELECT quote_ident(current_user)"))
    made = "".join(f"CREATE ROLE {one} NOLOGIN; " for one in _missing(connection))
    return f"{made}GRANT {Role.TENANT}, {Role.SYSTEM} TO {user}"


def _to_be_run(statements: str) -> str:
    return (
        "the database's user may not make the roles under which facebatch works, or not take "
        f"them: have an administrator run {statements}; and start again"
    )
