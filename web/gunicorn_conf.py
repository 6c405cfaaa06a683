"""How gunicorn serves the app: `gunicorn --config python:web.gunicorn_conf web.wsgi:app`."""

import gc
import importlib
from pathlib import Path

from web.patience import THREADS

# Requests wait on the network and on jobs, not on the processor: threads are what they need.
worker_class = "web.serving.HeadsFirst"
workers = 2
threads = THREADS
# Bodies are large and clients slow; the time limit is for a worker that no longer answers at all.
timeout = 120
graceful_timeout = 10
keepalive = 5
# Half of what most systems let a process open; those who are silent make room for others.
worker_connections = 500
# The workers' heartbeat files must not wait for a disk.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - gunicorn's advice.
# Nobody asks gunicorn anything while it runs; a socket less to guard.
control_socket_disable = True
# The app logs each request itself, without what was in its query.
accesslog = None
loglevel = "warning"


def on_starting(_server: object) -> None:
    """Loads the code that each process is then forked with, and need not load by itself.

    The app itself is each process's own: what it begins, threads among it, no fork hands on. Other
    code needs another start: SIGHUP forks processes with what is loaded.
    """
    for one in ("web.app", "db.bucket_client"):
        importlib.import_module(one)
    # Code stays to the end: nobody need look through it for garbage, or copy its pages.
    gc.freeze()
