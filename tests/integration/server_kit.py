"""What tests of the real HTTP server share: gunicorn with our worker, on a port of its own."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from cli.stack.app_parts import settings_environ, web_part
from cli.stack.ports import LOOPBACK, FreePorts, is_healthy
from db.failpoints import Failpoint
from db.settings import Settings

PATIENCE_S = 60.0


@dataclass
class Server:
    """Gunicorn, which may be killed and started again on the same port."""

    settings: Settings
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "web.log").read_text()

    def start(self) -> None:
        environ = settings_environ(self.settings)
        part = web_part(environ, self.port)
        with (self.folder / "web.log").open("ab") as log:
            self.process = subprocess.Popen(part.command, env=environ, stdout=log, stderr=log)
        give_up_at = time.monotonic() + PATIENCE_S
        while not is_healthy(self.port, "/health"):
            assert self.process.poll() is None, self.log
            assert time.monotonic() < give_up_at, self.log
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=PATIENCE_S)
            self.process = None

    def arm(self, point: Failpoint) -> None:
        """The next process of the server that gets there dies."""
        (self.folder / str(point)).touch()

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False)


@contextlib.contextmanager
def server(settings: Settings, folder: Path) -> Iterator[Server]:
    own = settings.model_copy(update={"failpoints_dir": folder})
    one = Server(settings=own, folder=folder, port=FreePorts().one())
    try:
        one.start()
        yield one
    finally:
        one.stop()
