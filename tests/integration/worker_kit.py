"""What tests of real Celery workers share: starting one, photos for it, and looking at the rows."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from api_kit import image
from ledger_kit import Kit, item
from sqlalchemy import text

from cli.stack.home import Home
from cli.stack.parts import Part, python
from cli.stack.stores import running
from db.session import transaction
from db.settings import Settings
from db.storage import ObjectStore
from db.views import NewItem
from workers.celery_app import QUEUE, URGENT_QUEUE

PATIENCE_S = 60
HOSTILE = "hostile_app"
"""An app whose decoder does what photos order: see `hostile_app.py`."""
SLOW_S = 0.4
"""How long `!slow` takes."""
HERE = Path(__file__).parent


def environ(settings: Settings) -> dict[str, str]:
    """What leads a process to the stores of `settings`."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(HERE),
        "FACEBATCH_HOME": str(settings.home_dir),
        "DATABASE_URL": settings.database or "",
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "S3_ENDPOINT_URL": settings.s3_endpoint_url.get_secret_value(),
        "S3_BUCKET": settings.s3_bucket,
        "AWS_ACCESS_KEY_ID": settings.aws_access_key_id or "",
        "AWS_SECRET_ACCESS_KEY": settings.aws_secret_access_key.get_secret_value(),
        "FACEBATCH_LEASE_S": str(settings.lease_s),
        "FACEBATCH_MAX_ATTEMPTS": str(settings.max_attempts),
    }


class Worker:
    """A Celery worker and its log."""

    def __init__(self, settings: Settings, log: Path, *, app: str, processes: int) -> None:
        self._log = log
        command = python(
            "celery", "--app", app, "worker", "--concurrency", str(processes),
            "-Q", f"{QUEUE},{URGENT_QUEUE}",
            "--without-gossip", "--without-mingle", "--without-heartbeat",
        )  # fmt: skip
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, env=environ(settings), stdout=out, stderr=out, start_new_session=True
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def stopped_in_s(self) -> float:
        """Tells it to stop; how long that takes."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=PATIENCE_S)
        return time.monotonic() - began

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


StartWorker = Callable[..., Worker]


@contextlib.contextmanager
def starting(folder: Path) -> Iterator[StartWorker]:
    """Starts workers, and kills them all at the end."""
    workers: list[Worker] = []

    def start(settings: Settings, *, app: str = "workers.app", processes: int = 1) -> Worker:
        log = folder / f"worker-{len(workers)}.log"
        workers.append(Worker(settings, log, app=app, processes=processes))
        return workers[-1]

    try:
        yield start
    finally:
        for worker in workers:
            worker.kill()
            print(worker.said)  # noqa: T201 - shown where the test fails.


def photos(store: ObjectStore, count: int, order: str = "") -> Iterator[NewItem]:
    """Photos of nobody, each of its own bytes, in the bucket, with `order` at their end."""
    for n in range(count):
        one = item(f"{n}{order}")
        stored = store.put(one.object_key or "", [image(64 + n, 64), order.encode()])
        yield NewItem(
            name=one.name,
            client_id=one.client_id,
            sha256=stored.sha256,
            size_bytes=stored.size_bytes,
            object_key=one.object_key,
        )


def wait_until(true: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def rows(kit: Kit, columns: str, where: str = "true") -> list[Any]:
    """Of the items, in their order; a single column as it is."""
    with transaction(kit.database) as session:
        query = f"SELECT {columns} FROM item WHERE {where} ORDER BY id"
        found = session.execute(text(query)).all()
    return [one[0] if len(one) == 1 else tuple(one) for one in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnQueue:
    """A Valkey of the test's own, and settings that lead to it."""

    settings: Settings
    home: Home
    part: Part

    @contextlib.contextmanager
    def serving(self) -> Iterator[redis.Redis]:
        """It runs for as long as the context lasts."""
        url = self.settings.redis_url.get_secret_value() if self.settings.redis_url else ""
        with running([self.part], self.home), redis.Redis.from_url(url) as client:
            yield client
