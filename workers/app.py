"""The Celery worker's entry point: `celery -A workers.app worker`."""

import contextlib
import faulthandler
import gc
import os
import signal
import uuid
from collections.abc import Iterator
from typing import Any

from billiard.process import current_process
from celery.signals import setup_logging, worker_init, worker_process_init, worker_shutting_down

from db.failpoints import allow_failpoints
from db.logs import configure_logs
from db.settings import load_settings
from workers.board import Board, Slot
from workers.celery_app import (
    EXPORT_LIMIT_S,
    LIST_SOURCE,
    MAKE_CROP,
    PROCESS_CHUNK,
    WRITE_EXPORT,
    make_celery,
)
from workers.children import Children, request_class
from workers.context import WorkerContext
from workers.stages.chunk import process_chunk
from workers.stages.cropping import make_crop
from workers.stages.exporting import write_export
from workers.stages.listing import list_source
from workers.stages.lost import settle
from workers.ticking import heartbeat, tick

settings = load_settings().require_stores()
allow_failpoints(settings)
app = make_celery(settings)
board = Board()
children = Children(board, settings)
_contexts: list[WorkerContext] = []


@setup_logging.connect  # type: ignore[untyped-decorator]
def _configure_logs(**_: Any) -> None:
    configure_logs(settings.log_level)


@worker_init.connect  # type: ignore[untyped-decorator]
def _watch(**_: Any) -> None:
    # Code stays to the end: no process need look through it for garbage, or copy its pages.
    gc.freeze()
    tick(heartbeat(settings.heartbeat_file), children.look)


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop(**_: Any) -> None:
    children.stop()


@worker_process_init.connect  # type: ignore[untyped-decorator]
def _make_context(**_: Any) -> None:
    # A process that crashes, or is ended for its silence, says where it was: lines, no data.
    faulthandler.enable()
    slot = board.slot(current_process().index)
    context = WorkerContext.from_settings(settings, slot)
    left = slot.left()
    if left is not None:
        settle(context, left)
    slot.take(os.getpid())
    _contexts[:] = [context]


@contextlib.contextmanager
def _before_sigterm(slot: Slot) -> Iterator[None]:
    """SIGTERM to this very process waits for its task: systemd sends it to all of a service's."""
    before = signal.signal(signal.SIGTERM, lambda *_: slot.ask_to_stop())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if slot.asked_to_stop:
            signal.raise_signal(signal.SIGTERM)


@app.task(name=PROCESS_CHUNK, Request=request_class(children))  # type: ignore[untyped-decorator]
def process_chunk_task(item_ids: list[int]) -> None:
    """Does a chunk: the ids of its items are all that a message carries."""
    (context,) = _contexts
    with _before_sigterm(context.slot):
        process_chunk(context, item_ids)


@app.task(name=WRITE_EXPORT, time_limit=EXPORT_LIMIT_S)  # type: ignore[untyped-decorator]
def write_export_task(export_id: str) -> None:
    """Writes an export into the bucket."""
    (context,) = _contexts
    with _before_sigterm(context.slot):
        write_export(context, uuid.UUID(export_id))


@app.task(name=LIST_SOURCE)  # type: ignore[untyped-decorator]
def list_source_task(source_id: str) -> None:
    """Lists a source, or goes on with it."""
    (context,) = _contexts
    with _before_sigterm(context.slot):
        list_source(context, uuid.UUID(source_id))


@app.task(name=MAKE_CROP)  # type: ignore[untyped-decorator]
def make_crop_task(crop_id: str) -> None:
    """Cuts a face out of its photo."""
    (context,) = _contexts
    with _before_sigterm(context.slot):
        make_crop(context, uuid.UUID(crop_id))
