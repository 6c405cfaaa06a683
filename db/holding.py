"""Doing something by one at a time, over all processes."""

from sqlalchemy import text
from sqlalchemy.orm import Session

_LIMIT = "5s"
"""A process that is stopped inside the transaction loses it after that."""
_HOLD = text(
    "SELECT set_config('idle_in_transaction_session_timeout', :limit, true), "
    "pg_advisory_xact_lock(:key)"
)


def hold(session: Session, key: int) -> None:
    """Until the commit nobody else holds `key`."""
    session.execute(_HOLD, {"limit": _LIMIT, "key": key})
