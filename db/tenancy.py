"""Whose rows the work at hand may see: what row-level security is told in each transaction."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPICursor

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


def tell_tenant(database: Engine) -> None:
    """Has each transaction of the pool tell for whom it is; with its end the server forgets it.

    It goes before the transaction's first statement, in the same message: a question of its own
    would cost a small transaction a quarter of its time. Where each statement is a transaction, it
    goes before each.
    """
    event.listen(database, "begin", _begin)
    event.listen(database, "before_cursor_execute", _tell, retval=True)


_UNTOLD = "facebatch_untold"
AT_ONCE = "facebatch_at_once"
"""In what a connection knows of itself: whether each statement is a transaction of its own."""


def _begin(connection: Connection) -> None:
    connection.info[_UNTOLD] = True


def _is_untold(connection: Connection) -> bool:
    return bool(connection.info.get(AT_ONCE) or connection.info.pop(_UNTOLD, False))


def _tell(
    connection: Connection,
    cursor: DBAPICursor,
    statement: str,
    parameters: Any,
    _context: object,
    _executemany: bool,  # noqa: FBT001 - SQLAlchemy passes it so.
) -> tuple[str, Any]:
    if not _is_untold(connection) or (tenant_id := acting_tenant()) is None:
        return statement, parameters
    if getattr(cursor, "name", None):
        raise RuntimeError("a cursor on the server would be declared for another statement")
    told = f"SELECT set_config('{TENANT_SETTING}', '{int(tenant_id)}', true); {statement}"
    return told, parameters
