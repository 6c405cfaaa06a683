"""Databases of their own for tests, on the run's PostgreSQL."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from api_kit import Api, BackgroundWorker
from database_kit import copied, execute, sibling
from flask import Flask
from hooks_kit import Hooks
from ledger_kit import Kit
from pydantic import SecretStr
from race_kit import Second
from source_kit import Lister
from worker_kit import OwnQueue, StartWorker, starting

from cli.stack.home import open_home
from cli.stack.ports import FreePorts
from cli.stack.valkey import redis_url, valkey
from db.prepare import prepare_database
from db.session import Database, Role, make_database, transaction
from db.settings import Settings
from db.storage import ObjectStore
from db.tenants import LOCAL_TENANT, ensure_model, ensure_tenant
from pipeline.specs import DEFAULT_ENGINE
from web.app import create_app

TEMPLATE = "migrated"


@pytest.fixture(scope="session")
def migrated_url(stores: Settings) -> str:
    """The address of a database that is prepared, to be copied."""
    url = stores.database or ""
    execute(url, f"CREATE DATABASE {TEMPLATE}")
    migrated = sibling(url, TEMPLATE)
    database = make_database(migrated, role=Role.OWNER)
    prepare_database(database)
    database.dispose()
    return migrated


@pytest.fixture
def database_url(stores: Settings, migrated_url: str) -> Iterator[str]:
    """A fresh database, prepared as by a stack that starts."""
    assert migrated_url
    with copied(stores, TEMPLATE) as settings:
        yield settings.database or ""


@pytest.fixture(scope="module")
def lasting_settings(stores: Settings, migrated_url: str) -> Iterator[Settings]:
    """The stores, with a database of the module's own: for tests that leave nothing in it."""
    assert migrated_url
    with copied(stores, TEMPLATE) as settings:
        yield settings


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A pool on a fresh database, which works as workers do."""
    database = make_database(database_url, role=Role.SYSTEM)
    yield database
    database.dispose()


@pytest.fixture
def owners(database_url: str) -> Iterator[Database]:
    """The same database for the owner of its tables: to make and change the schema."""
    database = make_database(database_url, role=Role.OWNER)
    yield database
    database.dispose()


@pytest.fixture
def kit(database: Database) -> Kit:
    """The owner."""
    return _kit(database, "owner")


@pytest.fixture
def stranger(database: Database) -> Kit:
    """Another tenant in the same database."""
    return _kit(database, "stranger")


def _kit(database: Database, name: str) -> Kit:
    with transaction(database) as session:
        ensure_model(session, DEFAULT_ENGINE)
        return Kit(database=database, tenant_id=ensure_tenant(session, name))


@pytest.fixture
def settings(stores: Settings, database_url: str) -> Settings:
    """The stores, with a database of the test's own."""
    return stores.model_copy(update={"database_url": SecretStr(database_url)})


@pytest.fixture
def api(settings: Settings) -> Api:
    """The HTTP API; nobody works on what it accepts."""
    return Api(create_app(settings).test_client())


@pytest.fixture
def app(settings: Settings) -> Flask:
    """The HTTP API of a server that needs a key from everybody."""
    return create_app(settings.model_copy(update={"open_loopback": False}))


@pytest.fixture
def worker(settings: Settings) -> Iterator[BackgroundWorker]:
    """Works on what the API accepts, in a thread."""
    with BackgroundWorker(settings) as worker:
        yield worker


@pytest.fixture
def hooks(kit: Kit, settings: Settings) -> Hooks:
    """The owner, whose webhooks may go to loopback."""
    allowed = settings.model_copy(update={"webhook_networks": "127.0.0.0/8"})
    return Hooks(kit=kit, settings=allowed)


@pytest.fixture
def local(database: Database) -> Kit:
    """The tenant for whom the API works, seen from inside."""
    return _kit(database, LOCAL_TENANT)


@pytest.fixture
def queue(settings: Settings) -> Iterator[redis.Redis]:
    """The run's Valkey, empty before and after."""
    client = redis.Redis.from_url(settings.redis_url.get_secret_value())
    client.flushall()
    yield client
    client.flushall()
    client.close()


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Starts real Celery workers, of one process unless told otherwise."""
    with starting(tmp_path) as start:
        yield start


@pytest.fixture
def lister(kit: Kit, settings: Settings) -> Lister:
    """The owner, with sources in the bucket."""
    return Lister(kit=kit, settings=settings, store=ObjectStore.from_settings(settings))


@pytest.fixture
def own_queue(settings: Settings, tmp_path: Path) -> OwnQueue:
    """A Valkey that does not run yet."""
    home = open_home(tmp_path / "home")
    port = FreePorts().one()
    own = settings.model_copy(update={"redis_url": SecretStr(redis_url(home, port))})
    return OwnQueue(settings=own, home=home, part=valkey(home, port))


@pytest.fixture
def second(kit: Kit) -> Iterator[Second]:
    """Who comes second, while the test is at it."""
    with ThreadPoolExecutor(4) as pool:
        yield Second(kit, pool)
