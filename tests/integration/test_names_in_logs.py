"""Names stay out of the database's log, whatever it refuses."""

import uuid

import pytest
from ledger_kit import Kit
from sqlalchemy.exc import IntegrityError

from cli.stack import postgres
from cli.stack.home import Home
from db import subjects
from db.errors import DuplicateSubjectError, SubjectNotFoundError
from db.models import Subject
from db.session import transaction


class ServerLog:
    """What the database wrote to its log from now on."""

    def __init__(self, home: Home) -> None:
        self._path = home.log(postgres.NAME)
        self._start_bytes = self._path.stat().st_size

    def text(self) -> str:
        return self._path.read_bytes()[self._start_bytes :].decode()


@pytest.fixture
def server_log(kit: Kit, stores_home: Home) -> ServerLog:
    return ServerLog(stores_home)


def test_a_taken_name_is_refused_without_a_word_in_the_log(kit: Kit, server_log: ServerLog) -> None:
    gallery_id = kit.gallery()
    anna = kit.subject(gallery_id, "anna")
    kit.subject(gallery_id, "ben")
    with pytest.raises(DuplicateSubjectError), transaction(kit.database) as session:
        subjects.rename_subject(session, kit.tenant_id, gallery_id, anna, name="ben")
    assert "ERROR" not in server_log.text()


def test_a_subject_keeps_its_name_or_takes_a_free_one(kit: Kit) -> None:
    gallery_id = kit.gallery()
    anna = kit.subject(gallery_id, "anna")
    kit.subject(kit.gallery("other"), "ben")
    for name in ("anna", "ben"):
        with transaction(kit.database) as session:
            view = subjects.rename_subject(session, kit.tenant_id, gallery_id, anna, name=name)
        assert view.name == name


def test_nobody_learns_a_name_by_renaming_who_is_not_there(kit: Kit, stranger: Kit) -> None:
    gallery_id = kit.gallery()
    anna = kit.subject(gallery_id, "anna")
    kit.subject(gallery_id, "ben")
    with pytest.raises(SubjectNotFoundError), transaction(kit.database) as session:
        subjects.rename_subject(session, stranger.tenant_id, gallery_id, anna, name="ben")


def test_a_statement_that_fails_leaves_its_values_out_of_the_log(
    kit: Kit, server_log: ServerLog
) -> None:
    gallery_id, name = kit.gallery(), f"anna-{uuid.uuid4()}"
    kit.subject(gallery_id, name)
    again = Subject(id=uuid.uuid4(), tenant_id=kit.tenant_id, gallery_id=gallery_id, name=name)
    with pytest.raises(IntegrityError), transaction(kit.database) as session:
        session.add(again)
    assert "subject_gallery_id_name" in server_log.text()
    assert name not in server_log.text()
