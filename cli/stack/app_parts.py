"""The parts that are facebatch itself: worker, dispatcher, reconciler, courier and HTTP API."""

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psutil
from pydantic import SecretStr

from cli.stack.home import Home
from cli.stack.parts import MARKER, Part, python
from cli.stack.ports import LOOPBACK, is_healthy
from cli.threads import ONE_THREAD
from db.settings import KNOWN_NAMES, OWN_PREFIX, Settings

SIGTERM_BIT = 1 << 14
BULK_NICENESS = 10


def settings_environ(settings: Settings) -> dict[str, str]:
    """The environment of this process, with exactly these settings in it and no others."""
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in KNOWN_NAMES and not name.startswith(OWN_PREFIX)
    }
    for field, info in Settings.model_fields.items():
        name, value = str(info.alias), getattr(settings, field)
        # One form of the database's address is enough, and no part calls the API.
        if value is not None and not name.startswith("DB_") and field != "api_key":
            environ[name] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    if settings.database:
        environ["DATABASE_URL"] = settings.database
    # No module of ours may come from the folder that a process happens to be started in.
    return environ | {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


def part_environ(settings: Settings, home: Home) -> dict[str, str]:
    """The environment of a part that works with `settings`."""
    environ = settings_environ(settings) | {MARKER: str(home.path)}
    if f"//{LOOPBACK}" in str(environ.get("S3_ENDPOINT_URL")):
        for name in ("no_proxy", "NO_PROXY"):
            environ[name] = ",".join(filter(None, [environ.get(name), LOOPBACK]))
    return environ


def preparation(environ: Mapping[str, str]) -> Part:
    """What makes schema and bucket, and then ends."""
    return Part(
        name="prepare", command=python("db.prepare"), environ=environ, is_ready=lambda _pid: True
    )


def worker_parts(settings: Settings, environ: Mapping[str, str]) -> list[Part]:
    """Workers of both kinds, dispatcher, reconciler and courier."""
    workers = [
        # It takes what is urgent too, whenever it is between two chunks.
        _worker("worker", settings.worker_processes, "facebatch.urgent,facebatch", environ)
    ]
    if settings.urgent_processes:
        # At once where it is asked, even on a machine whose cores are all at work.
        urgent = _worker("urgent", settings.urgent_processes, "facebatch.urgent", environ)
        workers = [replace(workers[0], niceness=BULK_NICENESS), urgent]
    loops = [
        Part(
            name=name,
            command=python(f"workers.{name}"),
            environ=environ,
            is_ready=_catches_sigterm,
        )
        for name in ("dispatcher", "reconciler", "courier")
    ]
    return [*workers, *loops]


def _worker(name: str, processes: int, queues: str, environ: Mapping[str, str]) -> Part:
    return Part(
        name=name,
        command=python(
            "celery",
            *("--app", "workers.app", "worker", "--pool", "prefork"),
            *("--concurrency", str(processes), "--queues", queues),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ),
        # Each process has a core; more threads would only get into each other's way.
        environ={**environ, **ONE_THREAD},
        is_ready=functools.partial(_has_children, processes),
    )


def watched(part: Part, home: Home) -> Part:
    """The part, as one that touches a file while it is well."""
    file = home.heartbeat(part.name)
    environ = {**part.environ, "FACEBATCH_HEARTBEAT_FILE": str(file)}
    return replace(part, heartbeat=file, environ=environ)


def web_part(environ: Mapping[str, str], port: int) -> Part:
    """The HTTP API on `port`."""
    return Part(
        name="web",
        command=python(
            "gunicorn",
            *("--config", "python:web.gunicorn_conf", "--bind", f"{LOOPBACK}:{port}"),
            "web.wsgi:app",
        ),
        environ=environ,
        address=f"{LOOPBACK}:{port}",
        is_ready=lambda _pid: is_healthy(port, "/health"),
    )


def _has_children(count: int, pid: int) -> bool:
    """Celery forks its pool when it has read its settings and loaded the app."""
    try:
        return len(psutil.Process(pid).children()) >= count
    except psutil.Error:
        return False


def _catches_sigterm(pid: int) -> bool:
    """The loops do so from the moment they are entered."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return bool(caught and int(caught[1], 16) & SIGTERM_BIT)
