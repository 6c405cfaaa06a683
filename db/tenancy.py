"""Whose rows the work at hand may see: what row-level security is told in each transaction."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from sqlalchemy import Connection

TENANT_SETTING = "facebatch.tenant_id"
"""PostgreSQL's name of it; policies read it."""
_acting: ContextVar[int | None] = ContextVar("facebatch_tenant", default=None)


def acting_tenant() -> int | None:
    """The tenant for whom this thread works at the moment, if for any."""
    return _acting.get()


def act_for(tenant_id: int | None) -> None:
    """From now on this thread works for that tenant, or for none."""
    _acting.set(tenant_id)


@contextlib.contextmanager
def acting_for(tenant_id: int) -> Iterator[None]:
    """Works for that tenant inside the context. No generator may yield in it: it would stay."""
    token = _acting.set(tenant_id)
    try:
        yield
    finally:
        _acting.reset(token)


def tell_tenant(connection: Connection) -> None:
    """Tells the transaction that has just begun; with its end the server forgets it."""
    tenant_id = acting_tenant()
    if tenant_id is not None:
        told = connection.exec_driver_sql(
            "SELECT set_config(%s, %s, true)", (TENANT_SETTING, str(tenant_id))
        )
        told.close()
