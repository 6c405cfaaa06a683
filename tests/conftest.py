"""What every test may ask for: the real photos, which are no part of the repository, and stores."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.sample import Sample, SampleError, prepare_sample
from cli.stack.home import Home, open_home
from cli.stack.ports import FreePorts
from cli.stack.stores import own_stores, running
from db.settings import Settings, load_settings
from db.storage import ObjectStore

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_finish() -> None:
    """All modules are there, and stay: nobody need look through them for garbage."""
    gc.freeze()


@pytest.fixture(scope="session")
def photos_dir() -> Path:
    """The folder of real photos: FACEBATCH_TEST_DATA, or `../shared/data` beside the checkout."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("FACEBATCH_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no photos: FACEBATCH_TEST_DATA is not set and {default} is absent")
    return folder


@pytest.fixture(autouse=True)
def _without_the_setting_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands refuse a FACEBATCH_ that they do not know. `photos_dir` has read it before."""
    monkeypatch.delenv("FACEBATCH_TEST_DATA", raising=False)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of converted models of this test process's own."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """The demo's people and photos."""
    try:
        return prepare_sample(tmp_path_factory.mktemp("sample"))
    except SampleError as error:
        if "cannot be downloaded" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def stores_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Where the servers of `stores` keep their data and their logs."""
    return open_home(tmp_path_factory.mktemp("stores") / "home")


@pytest.fixture(scope="session")
def stores(stores_home: Home) -> Iterator[Settings]:
    """Settings that lead to a PostgreSQL, a Valkey and a SeaweedFS of this test process's own."""
    environ = {
        "FACEBATCH_HOME": str(stores_home.path),
        # All tests come from one address, and count in one Valkey; those of limits set their own.
        "FACEBATCH_RATE_LIMIT": "off",
        "FACEBATCH_ADDRESS_RATE_LIMIT": "off",
        "FACEBATCH_WRONG_KEY_LIMIT": "off",
    }
    settings, parts = own_stores(load_settings(environ, dotenv=None), stores_home, FreePorts())
    with running(parts, stores_home):
        ObjectStore.from_settings(settings).ensure_bucket()
        yield settings


@pytest.fixture
def heeding_signals() -> Iterator[None]:
    """A run that a script started in the background, or nohup, would hand on that it heeds none."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
