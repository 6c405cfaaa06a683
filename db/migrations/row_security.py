"""Row-level security of a table, for the migration that makes it.

What is here must go on making what it makes: migrations of the past use it.
"""

from alembic import op

_TENANT, _SYSTEM = "facebatch_tenant", "facebatch_system"
# As a query of its own, so that the server asks once for each statement and not for each row. Not
# set, or empty as a transaction leaves it behind, it is nobody's number.
_OWN = "(SELECT nullif(current_setting('facebatch.tenant_id', true), '')::bigint)"


def secure_table(name: str) -> None:
    """Rows are seen, made and changed by their `tenant_id` alone, and by the system."""
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {_TENANT}, {_SYSTEM}")
    _secure(name, "tenant_id")


def secure_tenants() -> None:
    """The tenants themselves: each sees its own row, and the system makes them."""
    op.execute(f"GRANT SELECT ON tenant TO {_TENANT}")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON tenant TO {_SYSTEM}")
    _secure("tenant", "id")


def share_table(name: str) -> None:
    """A table that belongs to nobody: tenants read it, and the system may add to it."""
    op.execute(f"GRANT SELECT ON {name} TO {_TENANT}")
    op.execute(f"GRANT SELECT, INSERT ON {name} TO {_SYSTEM}")


def _secure(name: str, key: str) -> None:
    op.execute(f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY tenant ON {name} TO {_TENANT} "
        f"USING ({key} = {_OWN}) WITH CHECK ({key} = {_OWN})"
    )
    op.execute(f"CREATE POLICY system ON {name} TO {_SYSTEM} USING (true) WITH CHECK (true)")


def release_table(name: str) -> None:
    """Undoes what was done to a table that stays."""
    op.execute(f"DROP POLICY IF EXISTS tenant ON {name}")
    op.execute(f"DROP POLICY IF EXISTS system ON {name}")
    op.execute(f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY")
    op.execute(f"REVOKE ALL ON {name} FROM {_TENANT}, {_SYSTEM}")
