"""Two who wait for each other: one lets go, and does its work again without a word."""

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from api_kit import Api, image, made, refused
from ledger_kit import Kit, as_owner
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from db import erase
from db.errors import ConflictingChangesError
from db.models import Gallery, Item, Job, Photo, Subject
from db.session import Session, retried, transaction

PHOTO = ("p.jpg", image())


class Ring:
    """Two galleries, and two who lock them in opposite order."""

    def __init__(self, kit: Kit, *, times: int) -> None:
        self._kit = kit
        self._ids = [kit.gallery("a"), kit.gallery("b")]
        self._times = times
        self.tries = 0

    def unlucky(self, session: Session) -> str:
        """Loses the first so many times; then nobody is in its way."""
        self.tries += 1
        # Whoever finds the ring first is the one to let go.
        patience(session, "10ms")
        with ThreadPoolExecutor(1) as pool:
            if self.tries <= self._times:
                other = self._lucky(session, pool)
                self._lock(session, 1)
                other.result()
        return "done"

    def _lucky(self, session: Session, pool: ThreadPoolExecutor) -> Future[None]:
        holds = threading.Event()

        def lock() -> None:
            with transaction(self._kit.database) as other:
                self._lock(other, 1)
                holds.set()
                patience(other, "60s")
                self._lock(other, 0)

        self._lock(session, 0)
        future = pool.submit(lock)
        holds.wait()
        while not _somebody_waits(self._kit):
            time.sleep(0.01)
        return future

    def _lock(self, session: Session, number: int) -> None:
        query = select(Gallery.id).where(Gallery.id == self._ids[number])
        session.execute(query.with_for_update())


def patience(session: Session, limit: str) -> None:
    """After so long the transaction looks whether it waits in a ring."""
    as_owner(session)
    session.execute(text(f"SET LOCAL deadlock_timeout = '{limit}'"))


def _somebody_waits(kit: Kit) -> bool:
    with transaction(kit.database) as session:
        return bool(session.scalar(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")))


def test_what_loses_a_deadlock_runs_again(kit: Kit) -> None:
    ring = Ring(kit, times=2)
    assert retried(kit.database, ring.unlucky) == "done"
    assert ring.tries == 3


def test_what_always_loses_says_what_it_was(kit: Kit) -> None:
    ring = Ring(kit, times=9)
    with pytest.raises(ConflictingChangesError, match="at the same moment") as caught:
        retried(kit.database, ring.unlucky)
    assert (ring.tries, caught.value.permanent) == (3, False)


def test_an_error_of_its_own_does_not_run_again(kit: Kit) -> None:
    tries: list[Session] = []

    def fail(session: Session) -> None:
        tries.append(session)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        retried(kit.database, fail)
    assert len(tries) == 1


class Asking:
    """A photo that was sent to be enrolled for somebody, and a thread that asks the API."""

    def __init__(self, api: Api, pool: ThreadPoolExecutor) -> None:
        self._api = api
        self._pool = pool
        self.gallery = api.gallery()
        self.subject = f"/v1/galleries/{self.gallery}/subjects/{api.subject(self.gallery, 'anna')}"
        self.job = "/v1/jobs/" + self.enrol().json["id"]
        # Ending it is not what the tests are about, and would take further locks.
        api.post(f"{self.job}/cancel")
        self.open_job = "/v1/jobs/" + made(api.post("/v1/jobs", json={"kind": "detect"}))

    def enrol(self) -> TestResponse:
        return self._api.send(f"{self.subject}/photos", [PHOTO])

    def delete(self, path: str) -> TestResponse:
        return self._api.delete(path)

    def add_known(self) -> TestResponse:
        known = {"client_id": "a.jpg", "sha256": hashlib.sha256(PHOTO[1]).hexdigest()}
        return self._api.post(f"{self.open_job}/photos", json={"photos": [known]})

    def begin(self, kit: Kit, asked: str) -> Future[TestResponse]:
        ask = {
            "enrol": self.enrol,
            "add a photo": lambda: self._api.send(f"{self.open_job}/photos", [PHOTO]),
            "add a known photo": self.add_known,
            "delete subject": lambda: self.delete(self.subject),
            "delete gallery": lambda: self.delete(f"/v1/galleries/{self.gallery}"),
            "delete job": lambda: self.delete(self.job),
        }[asked]
        future = self._pool.submit(ask)
        while not _somebody_waits(kit) and not future.done():
            time.sleep(0.01)
        return future


@pytest.fixture
def asking(api: Api) -> Iterator[Asking]:
    with ThreadPoolExecutor(1) as pool:
        yield Asking(api, pool)


@pytest.mark.parametrize(
    ("asked", "first", "then", "status"),
    [
        ("enrol", Subject, Photo, 202),
        ("add a photo", Photo, Job, 200),
        ("add a known photo", Photo, Job, 200),
        ("delete subject", Subject, Photo, 204),
        ("delete gallery", Gallery, Photo, 204),
        ("delete job", Photo, Item, 204),
    ],
)
def test_a_client_hears_nothing_of_a_deadlock(
    asking: Asking, local: Kit, asked: str, first: type, then: type, status: int
) -> None:
    with transaction(local.database) as session:
        patience(session, "60s")
        session.execute(select(first.id).with_for_update())
        answer = asking.begin(local, asked)
        # From here on the two wait for each other, until the API's server lets go after a second.
        session.execute(select(then.id).with_for_update())
    assert answer.result().status_code == status


def test_enrolling_known_bytes_and_deleting_who_they_show_do_not_wait_in_a_ring(
    asking: Asking, local: Kit
) -> None:
    with transaction(local.database) as session:
        # As `delete_subject` does: the photos, then the subject.
        session.execute(select(Photo.id).with_for_update())
        answer = asking.begin(local, "enrol")
        session.execute(text("SET LOCAL lock_timeout = '3s'"))
        (subject,) = session.execute(select(Subject.id, Subject.gallery_id).with_for_update())
        erase.delete_subject(session, local.tenant_id, subject.gallery_id, subject.id)
    refused(answer.result(), 404, "subject_not_found")
