"""The Celery worker's entry point: `celery -A workers.app worker`."""

import uuid
from typing import Any

from celery.signals import setup_logging, worker_process_init

from db.logs import configure_logs
from db.settings import load_settings
from workers.celery_app import LIST_SOURCE, PROCESS_CHUNK, make_celery
from workers.context import WorkerContext
from workers.stages.chunk import process_chunk
from workers.stages.listing import list_source

settings = load_settings().require_stores()
app = make_celery(settings)
_contexts: list[WorkerContext] = []


@setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logs(**_: Any) -> None:
    configure_logs(settings.log_level)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _make_context(**_: Any) -> None:
    _contexts[:] = [WorkerContext.from_settings(settings)]


@app.task(name=PROCESS_CHUNK)  # type: ignore[untyped-decorator]
def process_chunk_task(item_ids: list[int]) -> None:
    """Does a chunk: the ids of its items are all that a message carries."""
    process_chunk(_contexts[0], item_ids)


@app.task(name=LIST_SOURCE)  # type: ignore[untyped-decorator]
def list_source_task(source_id: str) -> None:
    """Lists a source, or goes on with it."""
    list_source(_contexts[0], uuid.UUID(source_id))
