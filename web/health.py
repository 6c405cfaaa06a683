"""Whether the parts answer that a request needs."""

from collections.abc import Callable

import redis

from db.errors import UnavailableError
from db.session import ping
from web.services import Services

CONNECTED = "connected"
DISCONNECTED = "disconnected"


def parts(services: Services) -> dict[str, str]:
    """`connected` or `disconnected` for database, storage and queue."""
    checks: dict[str, Callable[[], object]] = {
        "database": lambda: ping(services.database),
        "storage": services.store.ping,
        "queue": services.redis.ping,
    }
    return {name: _state(check) for name, check in checks.items()}


def _state(check: Callable[[], object]) -> str:
    try:
        check()
    except (UnavailableError, redis.RedisError, OSError):
        return DISCONNECTED
    return CONNECTED
