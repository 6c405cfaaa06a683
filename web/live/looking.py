"""One frame: a job of one photo, which is deleted with its results once they are known.

It takes the way of every other photo, so that pixels are read by workers alone and a match means
what it means elsewhere. Where the process dies in the middle of it, the reconciler deletes the job
a few minutes later.
"""

import contextlib
import time
import uuid
from dataclasses import dataclass, replace

from db.errors import GalleryNotFoundError, JobNotFoundError, UnavailableError
from db.states import JobPriority
from db.views import ItemView, JobView, NewJob
from web.accepting import received_bytes
from web.live.line import Frame, Line
from web.looking import KEPT, as_it_stands, look
from web.services import Services
from web.waiting import finished_job

FRAME_S = 10.0
"""Who is in a frame is of no interest later than that."""
LOOK_EVERY_S = 1.0
"""Whether the client is still there; the bell rings for the job itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of a frame. Neither the job nor the item is there any more."""

    job: JobView
    item: ItemView


def seen_in(here: Services, line: Line, frame: Frame, wanted: NewJob) -> Seen:
    """Who is in the frame, as the job `wanted` asks.

    Raises what the frame failed with, `StillWorkingError` where it takes too long, and
    `GalleryNotFoundError` where the gallery is deleted meanwhile.
    """
    new = replace(wanted, priority=JobPriority.INTERACTIVE, top_k=1, keep_for=KEPT)
    with received_bytes(here, frame.data, name="frame") as arrived:
        job = look(here, new, arrived)
    try:
        _wait(here, line, job.id)
        return Seen(job=job, item=as_it_stands(here, job.id))
    except JobNotFoundError as exc:
        raise GalleryNotFoundError("the gallery was deleted; choose another") from exc


def _wait(here: Services, line: Line, job_id: uuid.UUID) -> None:
    """Until the job has ended, it takes too long, or nobody is there to be told."""
    give_up_at = time.monotonic() + FRAME_S
    while not line.is_over and (left_s := give_up_at - time.monotonic()) > 0:
        # A database that is away for a moment is waited for like everything else.
        with contextlib.suppress(UnavailableError):
            if finished_job(here, job_id, wait_s=min(left_s, LOOK_EVERY_S)).finished:
                return
