"""A store that is away, for however long, costs no photo an attempt."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import pytest
from ledger_kit import Kit
from worker_kit import HOSTILE, StartWorker, photos, rows, wait_until

from cli.stack.home import Home, open_home
from cli.stack.keeper import LOOK_EVERY_S, Keeper, PartState
from cli.stack.ports import FreePorts
from cli.stack.stores import own_stores
from db.errors import UnavailableError
from db.prepare import migrate
from db.session import Role, make_database, transaction
from db.settings import Settings, load_settings
from db.states import JobState
from db.storage import ObjectStore
from db.tenants import ensure_model, ensure_tenant
from pipeline.specs import DEFAULT_ENGINE
from workers.celery_app import make_celery
from workers.dispatcher import Dispatcher
from workers.reconciler import Reconciler

LEASE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Servers of the test's own, which it may harm."""

    settings: Settings
    keepers: dict[str, Keeper]

    def start(self, name: str) -> None:
        keeper = self.keepers[name]
        keeper.start()
        while keeper.state is not PartState.RUNNING:
            keeper.tick()
            time.sleep(LOOK_EVERY_S)

    @contextlib.contextmanager
    def killed(self, name: str) -> Iterator[None]:
        self.keepers[name].kill()
        yield
        self.start(name)

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """It takes whatever is sent, and says nothing."""
        first = psutil.Process(self.keepers[name].process_id.pid)
        family = [first, *first.children(recursive=True)]
        for process in family:
            process.suspend()
        yield
        for process in family:
            process.resume()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, stores_home: Home) -> Iterator[Stores]:
    home = open_home(tmp_path_factory.mktemp("own") / "home")
    environ = {"FACEBATCH_HOME": str(home.path), "FACEBATCH_LEASE_S": str(LEASE_S)}
    settings, parts = own_stores(load_settings(environ, dotenv=None), home, FreePorts())
    stores = Stores(
        # Models are converted once for all tests.
        settings=settings.model_copy(update={"home": stores_home.path}),
        keepers={part.name: Keeper(part, home.log(part.name)) for part in parts},
    )
    try:
        for name in stores.keepers:
            stores.start(name)
        ObjectStore.from_settings(settings).ensure_bucket()
        database = make_database(settings.database or "", role=Role.OWNER)
        migrate(database)
        database.dispose()
        yield stores
    finally:
        for keeper in stores.keepers.values():
            keeper.kill()


@pytest.fixture
def owner(own: Stores) -> Iterator[Kit]:
    database = make_database(own.settings.database or "", role=Role.SYSTEM)
    with transaction(database) as session:
        ensure_model(session, DEFAULT_ENGINE)
        kit = Kit(database=database, tenant_id=ensure_tenant(session, "owner"))
    yield kit
    database.dispose()


@pytest.mark.parametrize(
    ("how", "name"),
    [
        (Stores.killed, "postgresql"),
        (Stores.frozen, "postgresql"),
        (Stores.killed, "seaweedfs"),
        (Stores.killed, "valkey"),
        (Stores.frozen, "valkey"),
    ],
)
def test_a_store_that_is_away_for_longer_than_a_lease_costs_no_attempt(
    own: Stores,
    owner: Kit,
    start_worker: StartWorker,
    how: Callable[[Stores, str], contextlib.AbstractContextManager[None]],
    name: str,
) -> None:
    settings, store = own.settings, ObjectStore.from_settings(own.settings)
    dispatcher = Dispatcher(settings, owner.database, make_celery(settings))
    reconciler = Reconciler(settings, owner.database, store)
    job_id = owner.job(*photos(store, 24, f"{how.__name__} {name} !slow"))
    mine = f"job_id = '{job_id}'"
    start_worker(settings, app=HOSTILE)
    dispatcher.send_due()
    wait_until(lambda: rows(owner, "id", f"{mine} AND state = 'running'"))
    with how(own, name):
        time.sleep(3 * LEASE_S)

    def look() -> bool:
        # The reconciler first: what it finds expired is somebody else's from then on.
        reconciler.reconcile()
        with contextlib.suppress(UnavailableError):
            dispatcher.send_due()
        return owner.view(job_id).finished

    wait_until(look)
    assert owner.view(job_id).state is JobState.SUCCEEDED
    assert set(rows(owner, "attempt", mine)) == {1}
