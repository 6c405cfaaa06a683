"""What tests of the local stack share: the command, run for real in a home of its own."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from cli.stack.home import Home
from cli.stack.leftovers import find_leftovers
from cli.stack.state import StackView, live_state

PATIENCE_S = 90.0
"""Far longer than anything takes: a wait ends by its condition, or the test fails."""


def until(condition: Callable[[], object]) -> Any:
    """The first truth that `condition` returns."""
    give_up_at = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up_at:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"never came true: {condition}")


@dataclass
class Stack:
    """The command `facebatch` with a home and settings."""

    home: Home
    settings: Mapping[str, str] = field(default_factory=dict)
    supervisor: subprocess.Popen[str] | None = None

    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home.path.parent),
            "FACEBATCH_HOME": str(self.home.path),
            "FACEBATCH_PORT": "0",
            "FACEBATCH_WORKERS": "1",
            **self.settings,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(*arguments),
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def up(self) -> StackView:
        """Starts it in the background and waits until all its parts run."""
        self.supervisor = subprocess.Popen(
            self._command("up"),
            env=self.environ(),
            stderr=subprocess.PIPE,
            text=True,
        )
        return self.ready()

    def ready(self) -> StackView:
        """Waits until all parts run."""

        def view() -> StackView | None:
            supervisor = self.supervisor
            if supervisor and supervisor.poll() is not None and supervisor.stderr:
                raise AssertionError(supervisor.stderr.read())
            view = live_state(self.home)
            return view if view and view.phase == "ready" and _all_run(view) else None

        return until(view)

    def stop(self) -> None:
        """Stops whatever runs, for the end of a test."""
        self.run("down")
        self.kill_supervisor()

    def kill_supervisor(self) -> None:
        """As somebody would who knows nothing of its children."""
        if self.supervisor:
            self.supervisor.kill()
            self.supervisor.wait()
            if self.supervisor.stderr:
                self.supervisor.stderr.close()
            self.supervisor = None

    def get(self, path: str) -> Any:
        """What the API answers, as soon as it answers."""
        return until(lambda: self._try("GET", path))

    def post(self, path: str, body: object) -> Any:
        return until(lambda: self._try("POST", path, json.dumps(body)))

    def processes(self) -> list[psutil.Process]:
        """All of them but the supervisor."""
        return find_leftovers(self.home)

    def names(self) -> set[str]:
        """What its processes are called."""
        names = set()
        for one in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                names.add(one.name())
        return names

    def _try(self, method: str, path: str, body: str | None = None) -> Any:
        view = live_state(self.home)
        if view is None:
            return None
        connection = http.client.HTTPConnection(urlsplit(view.api_url).netloc, timeout=10)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return json.load(response) if response.status < 300 else None
        except (OSError, ValueError):
            return None
        finally:
            connection.close()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "cli.main", *arguments]


def _all_run(view: StackView) -> bool:
    return all(part.state in {"running", "external"} for part in view.parts)


def kill(process: psutil.Process | subprocess.Popen[str] | int) -> None:
    os.kill(process if isinstance(process, int) else process.pid, signal.SIGKILL)


def listening(processes: list[psutil.Process]) -> set[tuple[str, int]]:
    """Addresses on which these processes listen."""
    pids = {one.pid for one in processes}
    return {
        (one.laddr.ip, one.laddr.port)
        for one in psutil.net_connections("inet")
        if one.status == psutil.CONN_LISTEN and one.pid in pids
    }


def below(path: Path) -> list[Path]:
    return [one for one in path.rglob("*") if one.is_file()]
