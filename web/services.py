"""What every request may use: settings, database, bucket, and the tenant it works for."""

import uuid
from dataclasses import dataclass
from functools import cached_property

import redis
from flask import current_app, g

from db.allowed import Places
from db.derived_keys import Purpose, derived_key
from db.key_locks import KeyLocks
from db.quotas import default_quotas
from db.scopes import Scope
from db.session import Database, Role, make_database, ping, transaction
from db.settings import Settings
from db.storage import ObjectStore
from db.tenancy import acting_tenant
from db.tenants import LOCAL_TENANT, ensure_tenant
from db.webhooks.secrets import Safe
from db.webhooks.targets import Allowed
from web.bell import Bell
from web.folders import Folders
from web.health import Health
from web.issuers import Issuer
from web.quotas import Quotas

EXTENSION = "facebatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, as `web.callers` has found out."""

    tenant_id: int
    tenant_name: str
    scopes: frozenset[Scope]
    key_id: uuid.UUID | None = None
    """None for a token, and for a program on this machine that needs no key."""


def caller() -> Caller:
    """Who calls now. Routes that are open to everybody have no caller, and no tenant."""
    found: Caller = g.caller
    return found


class Services:
    """One set for each process; connections are made when they are first needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def database(self) -> Database:
        """A pool with a connection for every second thread: none holds one for long.

        It shows the rows of the request's tenant, and nobody else's.
        """
        url = self.settings.database or ""
        return make_database(url, role=Role.TENANT, pool_size=8, max_overflow=24)

    @cached_property
    def directory(self) -> Database:
        """A small pool for finding out who asks, before there is a tenant. It shows all rows.

        Each request with a key asks once, for a moment.
        """
        url = self.settings.database or ""
        return make_database(url, role=Role.SYSTEM, pool_size=4, max_overflow=8)

    @cached_property
    def bell(self) -> Bell:
        """Rings when a job has ended that a request waits for."""
        return Bell(self.settings.database or "")

    @cached_property
    def key_locks(self) -> KeyLocks:
        """Keep two requests with one idempotency key apart."""
        return KeyLocks(self.settings.database or "")

    @cached_property
    def store(self) -> ObjectStore:
        """The photos' bucket."""
        return ObjectStore.from_settings(self.settings)

    @property
    def places(self) -> Places:
        """Where the caller's sources may lie."""
        return Places.of(self.settings, caller().tenant_name)

    @cached_property
    def webhook_secrets(self) -> Safe:
        """Encrypts the secrets of webhooks."""
        return Safe.from_settings(self.settings)

    @cached_property
    def webhook_targets(self) -> Allowed:
        """Where webhooks may go."""
        return Allowed.of(self.settings.webhook_networks)

    @cached_property
    def cursor_key(self) -> bytes:
        """Signs the cursors of lists."""
        return derived_key(self.settings, Purpose.CURSORS)

    @cached_property
    def redis(self) -> "redis.Redis":
        """The queue's server, asked for its health and nothing else."""
        url = self.settings.redis_url.get_secret_value() if self.settings.redis_url else ""
        return redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2)

    @cached_property
    def health(self) -> Health:
        """What a request needs, to be asked how it is."""
        return Health(
            {
                "database": lambda: ping(self.database),
                "storage": self.store.ping,
                "queue": self.redis.ping,
            }
        )

    @property
    def tenant_id(self) -> int:
        """The tenant of the request that is being answered."""
        tenant_id = acting_tenant()
        if tenant_id is None:
            raise RuntimeError("this route has no tenant: see web.callers")
        return tenant_id

    @cached_property
    def quotas(self) -> Quotas:
        """How much tenants may have."""
        return Quotas(default_quotas(self.settings))

    @cached_property
    def folders(self) -> Folders:
        """Where in the bucket photos go that come through us."""
        return Folders(self.database)

    @cached_property
    def hashing_key(self) -> bytes:
        """What API keys are hashed with."""
        return derived_key(self.settings, Purpose.API_KEYS)

    @cached_property
    def issuer(self) -> Issuer | None:
        """Whose tokens are taken in place of API keys, if anybody's are."""
        return Issuer.of(self.settings)

    @cached_property
    def local_tenant_id(self) -> int:
        """The tenant of programs on this machine that need no key."""
        with transaction(self.directory) as session:
            return ensure_tenant(session, LOCAL_TENANT)


def services() -> Services:
    """The services of the app that is answering."""
    found: Services = current_app.extensions[EXTENSION]
    return found
