"""Places to run the command in, and a stack that serves."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from place import Place, cleaned, wait_for

from cli.stack.home import Home


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """An empty home; whatever runs for it is stopped at the end."""
    with cleaned(Place(Home(tmp_path / "home"))) as here:
        yield here


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A stack that serves for all tests that do not harm it."""
    here = Place(Home(tmp_path_factory.mktemp("served") / "home"))
    with cleaned(here):
        serving = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up"],
            env=here.environ(),
            cwd=here.home.path.parent,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: (view := here.view()) is not None and view.phase == "ready")
        yield here
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(timeout=60) == 0
        assert here.leftovers() == []
