"""Photos that are looked at once: a request waits for their job and answers what it has found, and
the job is deleted with its photos.

Nobody could ask for either again. Where the process dies before that, the reconciler deletes them
a few minutes later.
"""

import datetime as dt
import uuid
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from flask import Response, after_this_request

from db import control, erase, jobs, results
from db.errors import DuplicateSubjectError, UnavailableError
from db.retry import retrying
from db.session import Session, reading, retried, transaction
from db.states import ItemState
from db.tenancy import acting_for
from db.views import FaceView, ItemView, JobView, NewItem, NewJob
from pipeline.errors import FaceBatchError, FileTooLargeError, PhotoError
from web.accepting import Received
from web.errors import InvalidRequestError, StillWorkingError
from web.patience import patience
from web.services import Services
from web.submitting import submit
from web.waiting import MAX_WAIT_S, finished_job

T = TypeVar("T")
log = structlog.get_logger()
KEPT = dt.timedelta(minutes=5)
"""Far longer than any answer takes; then a job whose request died is deleted."""
FAREWELL_S = 10.0


class PhotoRefusedError(PhotoError):
    """The one photo of a request failed; its item's code is the answer's."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class NoFaceError(PhotoError):
    """The photo was read, and shows no face."""

    code = "no_face"


def one_photo(photos: Sequence[NewItem], field: str) -> NewItem:
    """The one that came as this form field.

    Raises where there is none or there are several, or where it was refused.
    """
    if len(photos) != 1:
        raise InvalidRequestError(f"send one photo as '{field}', not {len(photos)}")
    if photos[0].error_code:
        raise refusal(photos[0].error_code, photos[0].error_detail or "")
    return photos[0]


def look(here: Services, new: NewJob, arrived: Received) -> JobView:
    """Submits photos of which nothing is to stay.

    A request that is sent again looks anew, until there is an answer.
    """
    return submit(here, new, arrived, noted=lambda _session, _job: None)


def looked_at(here: Services, job_id: uuid.UUID, *, faceless: bool = False) -> ItemView:
    """The job's one item with its faces; the job is deleted, whatever became of it.

    Raises what failed, `NoFaceError` unless a photo may be `faceless`, or `StillWorkingError` where
    it takes too long.
    """
    (item,) = _seen(here, job_id)
    _require(item, "photo", alone=True, faceless=faceless)
    return item


def as_it_stands(here: Services, job_id: uuid.UUID) -> ItemView:
    """The job's one item, which may be faceless; the job is deleted, and is waited for no more.

    Raises what `looked_at` raises.
    """
    (item,), _ = _taken_at_last(here, job_id, lambda _session, _items: None)
    _require(item, "photo", alone=True, faceless=True)
    return item


def answer_of(here: Services, job_id: uuid.UUID, answered: Callable[[Session, ItemView], T]) -> T:
    """What `answered` makes of the job's one item, in one transaction.

    The request may be one of several for the job. Raises what `looked_at` raises.
    """
    (item,), found = _ended(
        here,
        job_id,
        lambda session, items: answered(session, items[0]),
        just_made=False,
    )
    _require(item, "photo", alone=True)
    return found[0]


def asked_of_faces(
    here: Services,
    job_id: uuid.UUID,
    ask: Callable[[Session, Sequence[FaceView]], T],
    *,
    names: Sequence[str] = ("photo",),
) -> tuple[list[ItemView], T]:
    """The job's items, and what `ask` reads of the largest face of each before they are deleted.

    `names` are what the client calls the photos, in their order. Raises what `looked_at` raises,
    for the first of them that fails.
    """
    items, found = _ended(
        here, job_id, lambda session, seen: ask(session, [largest(item) for item in seen])
    )
    for item, name in zip(items, names, strict=True):
        _require(item, name, alone=len(names) == 1)
    return items, found[0]


def largest(item: ItemView) -> FaceView:
    """The face that a photo of somebody is about."""
    return max(item.faces, key=lambda face: face.area_px)


def _ended(
    here: Services,
    job_id: uuid.UUID,
    ask: Callable[[Session, Sequence[ItemView]], T],
    *,
    just_made: bool = True,
) -> tuple[list[ItemView], list[T]]:
    """The items of the job, when it has ended, and what is asked of them where all are done."""
    with patience(MAX_WAIT_S) as wait_s:
        job = finished_job(here, job_id, wait_s=wait_s, just_made=just_made)
    if not job.finished:
        return _taken_at_last(here, job_id, ask)

    def asked() -> tuple[list[ItemView], list[T]]:
        with transaction(here.database) as session:
            # Nobody deletes it meanwhile, with the faces that are asked about.
            jobs.lock_job(session, here.tenant_id, job_id)
            items = results.job_items(session, here.tenant_id, job_id)
            done = all(item.state is ItemState.DONE for item in items)
            return items, [ask(session, items)] if done else []

    found = retrying(asked, for_s=FAREWELL_S)
    _delete_once_answered(here, job_id)
    return found


def _seen(here: Services, job_id: uuid.UUID) -> list[ItemView]:
    """As `_ended`, where nothing is asked."""
    with patience(MAX_WAIT_S) as wait_s:
        job = finished_job(here, job_id, wait_s=wait_s, just_made=True)
    if not job.finished:
        return _taken_at_last(here, job_id, lambda _session, _items: None)[0]

    def seen() -> list[ItemView]:
        with reading(here.database) as session:
            items = results.job_items(session, here.tenant_id, job_id)
            # It goes as a whole: as long as it is there, all that was read was.
            jobs.get_job(session, here.tenant_id, job_id)
            return items

    items = retrying(seen, for_s=FAREWELL_S)
    _delete_once_answered(here, job_id)
    return items


def _delete_once_answered(here: Services, job_id: uuid.UUID) -> None:
    """Deletes the job when the client has its answer: it need not wait for that."""
    tenant_id = here.tenant_id

    def work(session: Session) -> None:
        # It has ended, so there is nothing to cancel.
        erase.delete_job(session, tenant_id, job_id, cancelled=True)

    def delete() -> None:
        try:
            with acting_for(tenant_id):
                retried(here.database, work)
        except UnavailableError as exc:
            log.warning("job_left_behind", job_id=str(job_id), code=exc.code)

    def on_close(response: Response) -> Response:
        response.call_on_close(delete)
        return response

    after_this_request(on_close)


def _taken_at_last(
    here: Services, job_id: uuid.UUID, ask: Callable[[Session, Sequence[ItemView]], T]
) -> tuple[list[ItemView], list[T]]:
    return retrying(lambda: _taken(here, job_id, ask), for_s=FAREWELL_S)


def _taken(
    here: Services, job_id: uuid.UUID, ask: Callable[[Session, Sequence[ItemView]], T]
) -> tuple[list[ItemView], list[T]]:
    """The items as they stand, with no way left for them to change, and their job deleted."""
    with transaction(here.database) as session:
        control.cancel_job(session, here.tenant_id, job_id)
        items = results.job_items(session, here.tenant_id, job_id)
        # What is raised in here would keep the job; so failures are told outside.
        seen = all(item.state is ItemState.DONE for item in items)
        found = [ask(session, items)] if seen else []
        erase.delete_job(session, here.tenant_id, job_id, cancelled=True)
        return items, found


def _require(item: ItemView, name: str, *, alone: bool, faceless: bool = False) -> None:
    if item.state is ItemState.CANCELLED:
        raise StillWorkingError("the answer takes too long; try again later")
    if item.error_code:
        detail = item.error_detail or ""
        raise refusal(item.error_code, detail if alone else f"{name}: {detail}")
    if item.state is not ItemState.DONE and not faceless:
        raise NoFaceError(f"no face was found in the {name}; send one that shows a face clearly")


def refusal(code: str, detail: str) -> FaceBatchError:
    """An item's error as the answer of a request."""
    if code == "several_faces":
        detail = "the photo shows several faces; crop it to one"
    for kind in (DuplicateSubjectError, FileTooLargeError):
        if kind.code == code:
            return kind(detail)
    return PhotoRefusedError(code, detail)
