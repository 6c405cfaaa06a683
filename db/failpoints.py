"""Places at which a process can be made to die or to halt, so that tests see what it leaves behind.

Each stands at a border of the ledger's moves. Without the setting FACEBATCH_FAILPOINTS, which is
for tests alone, passing one costs a comparison.
"""

import enum
import os
import signal
import time
from pathlib import Path

from db.settings import Settings

HALTS = "halt"
"""What a file says that is to stop its process and not to kill it."""


class Failpoint(enum.StrEnum):
    """A moment between two steps that a fault may part."""

    PHOTO_STORED = "photo_stored"
    """Web: a photo's object is in the bucket, and no row knows it."""
    ACCEPT_UNCOMMITTED = "accept_uncommitted"
    """Web: the rows of a request's photos are written and not committed."""
    ACCEPTED = "accepted"
    """Web: they are committed, and the client does not know it yet."""
    DISPATCH_COMMITTED = "dispatch_committed"
    """Dispatcher: items are marked as sent, and no message is."""
    CHUNK_PUBLISHED = "chunk_published"
    """Dispatcher: one message is sent, and the others are not."""
    MESSAGE_TAKEN = "message_taken"
    """Worker's parent: a message is out of the queue, and no process has it yet."""
    CHUNK_TAKEN = "chunk_taken"
    """Worker: a message has been read, and nothing is claimed."""
    CHUNK_CLAIMED = "chunk_claimed"
    """Worker: items are claimed, and nothing is computed."""
    CHUNK_COMPUTED = "chunk_computed"
    """Worker: their outcomes are known, and none is recorded."""
    RECORD_UNCOMMITTED = "record_uncommitted"
    """Worker: the outcomes are written and not committed."""
    CHUNK_RECORDED = "chunk_recorded"
    """Worker: they are committed, and the task has not returned."""
    MESSAGE_DONE = "message_done"
    """Worker's parent: a message is about to be acknowledged."""
    PAGE_UNCOMMITTED = "page_uncommitted"
    """Worker: a page of a source is written and not committed."""
    PAGE_ADDED = "page_added"
    """Worker: it is committed, and the next one is not begun."""
    SOURCE_LISTED = "source_listed"
    """Worker: all pages of a source are committed, and its end is not."""
    EXPORT_STORED = "export_stored"
    """Worker: an export is in the bucket, and its row does not know it."""
    EVENT_SENT = "event_sent"
    """Courier: a receiver has answered, and no row knows it."""
    RECONCILER_STEP = "reconciler_step"
    """Reconciler: a step has put something right; the detail is the step's name."""
    OBJECTS_DELETED = "objects_deleted"
    """Reconciler: objects are gone from the bucket, and their rows say that they are to go."""


_folder: list[Path] = []


def allow_failpoints(settings: Settings) -> None:
    """Has this process, and those that it forks, heed the folder of `settings`, if there is one."""
    _folder[:] = [] if settings.failpoints_dir is None else [settings.failpoints_dir]


def reached(point: Failpoint, detail: str = "") -> None:
    """Kills or halts this process where a file in the folder asks for it; else does nothing."""
    if _folder:
        _heed(_folder[0] / file_name(point, detail))


def file_name(point: Failpoint, detail: str = "") -> str:
    """The file that arms a point: the first process that gets there takes it, and obeys."""
    return f"{point}.{detail}" if detail else str(point)


def _heed(order: Path) -> None:
    taken = order.with_name(f".{order.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        # One process gets the file, whoever else is there at the same moment.
        order.rename(taken)
        halts = taken.read_text(encoding="ascii").strip() == HALTS
    except OSError:
        return
    os.kill(os.getpid(), signal.SIGSTOP if halts else signal.SIGKILL)
