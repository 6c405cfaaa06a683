"""A live stream from its first message to its last: options, frames, answers."""

import time
import uuid
from collections.abc import Callable
from typing import Any

import structlog
from pydantic import ValidationError

from db.states import JobKind
from db.views import GalleryView, NewJob
from pipeline.errors import FaceBatchError, PhotoError
from web.errors import InvalidRequestError
from web.incoming import json_object
from web.live.closing import LiveBrokenError, words
from web.live.line import IDLE_S, LIFETIME_S, Frame, Line
from web.live.looking import Seen, seen_in
from web.problems import INTERNAL
from web.schemas.base import as_json
from web.schemas.jobs import JobIn
from web.schemas.live import LiveFacesOut, LiveOptionsIn, LiveReadyOut
from web.services import Services
from web.submitting import new_job

log = structlog.get_logger()


def talk(
    here: Services,
    line: Line,
    gallery: GalleryView,
    *,
    frame_bytes: int,
    ask_again: Callable[[], None],
) -> None:
    """Answers until the line is over.

    `ask_again` is called before each frame is looked at, and raises where the caller may no more.
    """
    answered = 0
    line.say(_ready(here, gallery, frame_bytes))
    try:
        wanted = _wanted(gallery.id)
        for heard in line.heard():
            if isinstance(heard, bytes):
                wanted = _wanted(gallery.id, json_object(heard, "text"))
            else:
                line.say(_answer(here, line, heard, wanted, ask_again))
                answered += 1
    except FaceBatchError as error:
        line.end(error)
    except Exception:  # The border of a stream, whose client is to be told.
        log.exception("live_failed")
        line.end(LiveBrokenError(INTERNAL[1]))
    log.info(
        "live_ended",
        code=line.reason.code if line.reason else None,
        frames=line.frames,
        answered=answered,
        dropped=line.dropped,
    )


def _ready(here: Services, gallery: GalleryView, frame_bytes: int) -> str:
    ready = LiveReadyOut.of(
        gallery,
        frame_bytes=frame_bytes,
        pixels=here.settings.max_pixels,
        idle_s=IDLE_S,
        lifetime_s=LIFETIME_S,
    )
    return ready.model_dump_json()


def _wanted(gallery_id: uuid.UUID, options: dict[str, Any] | None = None) -> NewJob:
    """What each frame's job is to do; raises `InvalidRequestError`."""
    try:
        given = as_json(LiveOptionsIn, options or {}).model_dump(exclude_unset=True)
        return new_job(JobIn(kind=JobKind.IDENTIFY, gallery=gallery_id, **given))
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(map(str, first["loc"])) or "options"
        message = first["msg"].removeprefix("Value error, ")
        raise InvalidRequestError(f"{field[:100]}: {message}") from exc


def _answer(
    here: Services, line: Line, frame: Frame, wanted: NewJob, ask_again: Callable[[], None]
) -> str:
    """The faces, or what is wrong with this frame; raises what is wrong with all of them."""
    try:
        ask_again()
        return _faces(line, frame, seen_in(here, line, frame, wanted))
    except FaceBatchError as error:
        if error.permanent and not isinstance(error, PhotoError):
            raise
        return words(error, frame=frame.number, dropped=line.dropped)


def _faces(line: Line, frame: Frame, seen: Seen) -> str:
    latency_ms = round(1000 * (time.monotonic() - frame.came_at))
    faces = LiveFacesOut.of(
        seen.item, seen.job, frame=frame.number, dropped=line.dropped, latency_ms=latency_ms
    )
    return faces.model_dump_json()
