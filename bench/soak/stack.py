"""A stack of the soak's own: the command `facebatch up` in a home of its own, seen from outside."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from cli.stack import postgres, seaweedfs, valkey
from cli.stack.home import Home
from cli.stack.parts import MARKER
from cli.stack.state import PartView, StackView, live_state
from db.failpoints import HALTS, Failpoint, file_name
from db.settings import KNOWN_NAMES, OWN_PREFIX, load_settings
from db.storage import ObjectStore

START_LIMIT_S = 180.0
STOP_LIMIT_S = 120.0
RENEW_LIMIT_S = 60.0
LOOK_EVERY_S = 0.05


class SoakError(RuntimeError):
    """The soak cannot go on; whether anything was lost is not known."""


def wait_for(condition: Callable[[], object], what: str, *, limit_s: float) -> None:
    """Waits until `condition` holds; raises `SoakError`."""
    give_up_at = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > give_up_at:
            raise SoakError(f"{what}: not within {limit_s:.0f} s")
        time.sleep(LOOK_EVERY_S)


def arm(folder: Path, point: Failpoint, detail: str = "", *, halts: bool = False) -> Path:
    """Has the next process that heeds `folder` die or halt at `point`.

    Returns the file that it takes away before it does.
    """
    order = folder / file_name(point, detail)
    fresh = order.with_name(f".fresh-{order.name}")
    fresh.write_text(HALTS if halts else "kill", encoding="ascii")
    fresh.rename(order)
    return order


@dataclass(slots=True)
class SoakStack:
    """One home, and the supervisor that serves from it while it is up."""

    home: Home
    port: int = 0
    """Of the API; the same from start to start, so that clients find it again."""
    settings: Mapping[str, str] = field(default_factory=dict)
    supervisor: subprocess.Popen[bytes] | None = None

    @property
    def failpoints(self) -> Path:
        """The folder whose files make processes die at chosen moments."""
        return self.home.path.parent / "failpoints"

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The supervisor; raises `SoakError` where the stack is not up."""
        if self.supervisor is None:
            raise SoakError("the stack is not up")
        return self.supervisor

    def up(self, **settings: str) -> None:
        """Starts it with these settings and waits until all its parts run."""
        self.settings = settings
        self.failpoints.mkdir(exist_ok=True)
        with (self.home.path.parent / "supervisor.txt").open("ab") as said:
            self.supervisor = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "up"],
                env=self._environ(),
                cwd=self.home.path.parent,
                stdin=subprocess.DEVNULL,
                stderr=said,
            )
        wait_for(self.all_run, "the stack starts", limit_s=START_LIMIT_S)

    def down(self) -> None:
        """Stops it as its user would."""
        if self.supervisor:
            # One that was halted hears nothing else.
            self.supervisor.send_signal(signal.SIGCONT)
            self.supervisor.send_signal(signal.SIGTERM)
            self.supervisor.wait(STOP_LIMIT_S)
            self.supervisor = None

    def all_run(self) -> bool:
        """Whether every part does its work; raises `SoakError` where the supervisor is gone."""
        if self.running.poll() is not None:
            raise SoakError(f"the stack ended; see {self.home.path.parent / 'supervisor.txt'}")
        view = self.view()
        return bool(
            view and view.phase == "ready" and all(one.state == "running" for one in view.parts)
        )

    def view(self) -> StackView | None:
        """What the supervisor says of its parts."""
        return live_state(self.home)

    def part(self, name: str) -> PartView | None:
        """What the supervisor says of one of them."""
        view = self.view()
        return next((one for one in view.parts if one.name == name), None) if view else None

    def pid(self, name: str) -> int | None:
        """The process of a part that runs."""
        part = self.part(name)
        return part.process.pid if part and part.process and part.state == "running" else None

    def children(self, name: str) -> list[int]:
        """The processes that a part has forked, the oldest first."""
        pid = self.pid(name)
        with contextlib.suppress(psutil.Error):
            return sorted(one.pid for one in psutil.Process(pid).children()) if pid else []
        return []

    def renew_web(self) -> None:
        """Has other processes answer the API from now on.

        Whoever makes uploads older than they are does so first: those that answered until now put
        photos below an upload that is still theirs.
        """
        before, pid = {*self.children("web")}, self.pid("web")
        if pid is None:
            raise SoakError("no web server runs")
        os.kill(pid, signal.SIGHUP)
        wait_for(
            lambda: len(now := {*self.children("web")}) == len(before) and not now & before,
            "other web processes answer",
            limit_s=RENEW_LIMIT_S,
        )

    @property
    def api_url(self) -> str:
        """The address of the HTTP API."""
        view = self.view()
        if view is None:
            raise SoakError("the stack is not up")
        return view.api_url

    @property
    def database_url(self) -> str:
        """The database's address, with its password."""
        return postgres.database_url(self.home, self._port(postgres.NAME))

    @property
    def redis_url(self) -> str:
        """The queue's address, with its password."""
        return valkey.redis_url(self.home, self._port(valkey.NAME))

    def store(self) -> ObjectStore:
        """The bucket."""
        environ = {
            "S3_ENDPOINT_URL": f"http://127.0.0.1:{self._port(seaweedfs.NAME)}",
            "AWS_ACCESS_KEY_ID": seaweedfs.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": seaweedfs.secret_key(self.home),
        }
        return ObjectStore.from_settings(load_settings(environ, dotenv=None))

    def arm(self, point: Failpoint, detail: str = "", *, halts: bool = False) -> Path:
        """Has the next process that gets to `point` die or halt; returns what it takes away."""
        return arm(self.failpoints, point, detail, halts=halts)

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

    def _port(self, name: str) -> int:
        part = self.part(name)
        if part is None:
            raise SoakError(f"the stack has no {name}")
        return int(part.address.rpartition(":")[2])

    def _environ(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in KNOWN_NAMES and not name.startswith(OWN_PREFIX)
        }
        ours = {
            "FACEBATCH_HOME": str(self.home.path),
            "FACEBATCH_PORT": str(self.port),
            "FACEBATCH_FAILPOINTS": str(self.failpoints),
        }
        return {**kept, **ours, **self.settings}
