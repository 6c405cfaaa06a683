"""The command and its stack as a person uses them: as processes, in a home of their own."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from cli.stack.home import Home
from cli.stack.parts import MARKER
from cli.stack.state import PartView, StackView, live_state
from db.settings import KNOWN_NAMES, OWN_PREFIX

LIMIT_S = 400
ARCHIVED = 200
"""Photos in the fixture `archive`."""


def wait_for(condition: Callable[[], object], *, limit_s: float = 120) -> None:
    """Waits until `condition` holds; the limit is only there so that a test ends."""
    give_up_at = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come true"
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Place:
    """A home, and the command run in it."""

    home: Home

    def environ(self, **more: str) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in KNOWN_NAMES and not name.startswith(OWN_PREFIX)
        }
        return kept | {"FACEBATCH_HOME": str(self.home.path), "FACEBATCH_PORT": "0"} | more

    def start(self, *arguments: str | Path, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", *map(str, arguments)],
            env=self.environ(**environ),
            cwd=self.home.path.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **environ)
        try:
            out, err = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def part(self, name: str) -> PartView | None:
        view = self.view()
        return next((one for one in view.parts if one.name == name), None) if view else None

    def view(self) -> StackView | None:
        return live_state(self.home)

    def leftovers(self) -> list[str]:
        """What still runs for this home, by name."""
        return [one.name() for one in psutil.process_iter() if self._is_ours(one)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            if process.environ().get(MARKER) == str(self.home.path):
                return True
            return Path(process.cwd()).is_relative_to(self.home.path)
        except (psutil.Error, OSError):
            return False


@contextlib.contextmanager
def cleaned(place: Place) -> Iterator[Place]:
    """Stops whatever still runs for the place at the end."""
    try:
        yield place
    finally:
        place.run("down")
