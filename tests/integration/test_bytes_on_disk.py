"""What is deleted does not stay on the local stack's disk."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.stack import seaweedfs
from cli.stack.home import Home, open_home
from cli.stack.ports import FreePorts
from cli.stack.stores import own_stores, running
from db.settings import load_settings
from db.storage import ObjectStore

VACUUM_S = 240.0
"""Far longer than a server takes after its start to look for what was deleted."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(tmp_path / "home")


@pytest.fixture
def store(home: Home) -> Iterator[ObjectStore]:
    """A bucket on a server that was started just now."""
    settings, parts = own_stores(load_settings({}, dotenv=None), home, FreePorts())
    with running([part for part in parts if part.name == seaweedfs.NAME], home):
        store = ObjectStore.from_settings(settings)
        store.ensure_bucket()
        yield store


def on_disk(home: Home, data: bytes) -> bool:
    return any(data in path.read_bytes() for path in home.seaweedfs.rglob("*.dat"))


def test_a_deleted_photo_leaves_the_disk_and_no_other_does(home: Home, store: ObjectStore) -> None:
    kept, deleted = os.urandom(1_000_000), os.urandom(10_000)
    store.put("a/0", [kept])
    store.put("a/1", [deleted])
    assert on_disk(home, deleted)
    store.delete(["a/1"])
    give_up_at = time.monotonic() + VACUUM_S
    while on_disk(home, deleted):
        assert time.monotonic() < give_up_at, "the photo is still there"
        time.sleep(1)
    assert store.get("a/0") == kept
