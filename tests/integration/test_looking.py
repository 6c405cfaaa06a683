"""Photos that are looked at once: what becomes of their jobs behind the answer, and before it."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from api_kit import Api, BackgroundWorker, Photo, photo, refused
from ledger_kit import Kit
from sqlalchemy import func, select, text
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from db.errors import DatabaseUnavailableError
from db.models import Job
from db.models import Photo as PhotoRow
from db.session import Session, transaction
from web import looking


@pytest.fixture
def group(photos_dir: Path) -> Photo:
    return photo(photos_dir / "groups" / "multiface.jpg")


def left(kit: Kit) -> list[int]:
    """How many jobs and photos there are."""
    with transaction(kit.database) as session:
        counted = (select(func.count()).select_from(table) for table in (Job, PhotoRow))
        return [session.scalars(one).one() for one in counted]


def before_it_is_read(monkeypatch: pytest.MonkeyPatch, kit: Kit, statement: str) -> None:
    """From here on the statement runs when a job has ended, before its items are looked at."""
    really = looking.retrying

    def retrying(work: Callable[[], Any], *, for_s: float) -> Any:
        with transaction(kit.database) as session:
            session.execute(text(statement))
        return really(work, for_s=for_s)

    monkeypatch.setattr(looking, "retrying", retrying)


def detect(api: Api, shown: Photo, **options: Any) -> TestResponse:
    return api.post("/detect", data={"image": (BytesIO(shown[1]), shown[0])}, **options)


@pytest.mark.parametrize("path", ["/detect", "/recognize", "/verify", "/register"])
def test_a_job_that_is_deleted_before_its_answer_is_missed(
    api: Api,
    worker: BackgroundWorker,
    local: Kit,
    group: Photo,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    fields = {"/verify": ["image", "reference"]}.get(path, ["image"])
    files = {name: (BytesIO(group[1] + name.encode()), group[0]) for name in fields}
    before_it_is_read(monkeypatch, local, "DELETE FROM job")
    named = {"name": "somebody"} if path == "/register" else {}
    refused(api.post(path, data={**files, **named}), 404, "job_not_found")


def test_a_job_that_is_deleted_while_it_is_read_is_missed_too(
    api: Api,
    worker: BackgroundWorker,
    local: Kit,
    group: Photo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    really = looking.results.job_items

    def read(session: Session, *which: Any) -> Any:
        items = really(session, *which)
        with transaction(local.database) as other:
            other.execute(text("DELETE FROM job"))
        return items

    monkeypatch.setattr(looking.results, "job_items", read)
    refused(detect(api, group), 404, "job_not_found")


def test_the_job_is_deleted_when_the_client_has_its_answer(
    api: Api, worker: BackgroundWorker, local: Kit, group: Photo
) -> None:
    answer = detect(api, group, buffered=False)
    assert len(answer.json["faces"]) > 3
    assert left(local) == [1, 1]
    answer.close()
    assert left(local) == [0, 0]


def test_a_job_that_cannot_be_deleted_then_is_deleted_later(
    api: Api,
    worker: BackgroundWorker,
    local: Kit,
    group: Photo,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseUnavailableError("the database does not answer")

    monkeypatch.setattr(looking, "retried", fail)
    with capture_logs() as logs:
        assert detect(api, group).status_code == 200
    assert [one["code"] for one in logs if one["event"] == "job_left_behind"] == [
        "database_unavailable"
    ]
    with transaction(local.database) as session:
        kept = session.scalars(select(Job.delete_after - func.now())).one()
    assert kept <= looking.KEPT


def test_a_job_that_its_owner_deletes_first_is_no_trouble(
    api: Api, worker: BackgroundWorker, local: Kit, group: Photo
) -> None:
    answer = detect(api, group, buffered=False)
    with transaction(local.database) as session:
        session.execute(text("DELETE FROM job"))
    with capture_logs() as logs:
        answer.close()
    assert logs == []
