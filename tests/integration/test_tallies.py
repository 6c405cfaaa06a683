"""The number of a gallery's subjects is known without counting, and is the true one."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from ledger_kit import Kit, done, item, photo_of
from race_kit import Second
from search_kit import Crowd, enrol
from sqlalchemy import text

from db import erase, subjects
from db.galleries import get_gallery
from db.prepare import migrate
from db.record import EnrolFace
from db.session import Database, transaction
from db.states import JobKind
from db.tallies import count_subjects, fold_tallies

MIGRATIONS = Path(__file__).resolve().parents[2] / "db" / "migrations"
# One statement, so that both look at the same moment.
BOTH = text("""
    SELECT (SELECT count(*) FROM subject WHERE gallery_id = :gallery_id) AS truth,
           (SELECT sum(change) FROM subject_tally WHERE gallery_id = :gallery_id) AS tally
""")


def told(kit: Kit, *gallery_ids: uuid.UUID) -> int:
    with transaction(kit.database) as session:
        return count_subjects(session, kit.tenant_id, gallery_ids)


def fold(kit: Kit) -> None:
    with transaction(kit.database) as session:
        fold_tallies(session)


def notes(kit: Kit) -> int:
    with transaction(kit.database) as session:
        return session.scalars(text("SELECT count(*) FROM subject_tally")).one()


def test_subjects_are_counted_whichever_way_they_come_and_go(kit: Kit, stranger: Kit) -> None:
    gallery_id = kit.gallery()
    assert told(kit, gallery_id) == 0
    anna = kit.subject(gallery_id, "anna")
    kit.job(item("p", new_subject="ben"), kind=JobKind.ENROL, gallery_id=gallery_id)
    (claimed,) = kit.claim_all()
    kit.record(done(claimed, photo_of(2), enrol=EnrolFace(ordinal=0)))
    with transaction(kit.database) as session:
        enrol(session, kit, "people", Crowd(1).vectors(10), each=2)
        assert subjects.insert_subject(session, kit.tenant_id, gallery_id, name="anna") is None
    assert told(kit, gallery_id) == 7
    with transaction(kit.database) as session:
        erase.delete_subject(session, kit.tenant_id, gallery_id, anna)
    for _ in range(2):
        assert told(kit, gallery_id) == 6
        assert told(stranger, gallery_id) == 0
        with transaction(kit.database) as session:
            assert get_gallery(session, kit.tenant_id, gallery_id).subject_count == 6
        fold(kit)
    assert notes(kit) == 1


def test_subjects_of_several_galleries_are_counted_together(kit: Kit) -> None:
    first, second = kit.gallery("first"), kit.gallery("second")
    for gallery_id, name in ((first, "anna"), (first, "ben"), (second, "anna")):
        kit.subject(gallery_id, name)
    assert told(kit, first, second) == 3


def test_what_is_rolled_back_was_never_counted(kit: Kit) -> None:
    gallery_id = kit.gallery()

    def make_and_fail() -> None:
        with transaction(kit.database) as session:
            subjects.create_subject(session, kit.tenant_id, gallery_id, name="anna")
            assert count_subjects(session, kit.tenant_id, [gallery_id]) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        make_and_fail()
    assert told(kit, gallery_id) == 0


def test_a_deleted_gallery_leaves_no_count_behind(kit: Kit) -> None:
    gallery_id = kit.gallery()
    kit.enrol(gallery_id, "anna", seed=1)
    with transaction(kit.database) as session:
        erase.delete_gallery(session, kit.tenant_id, gallery_id)
    fold(kit)
    assert notes(kit) == 0


def test_nobody_who_enrols_waits_for_another(kit: Kit, second: Second) -> None:
    gallery_id = kit.gallery()
    with transaction(kit.database) as session:
        subjects.create_subject(session, kit.tenant_id, gallery_id, name="anna")
        for name in ("ben", "cleo"):
            begun = second.begin(
                lambda other, name=name: subjects.create_subject(
                    other, kit.tenant_id, gallery_id, name=name
                )
            )
            assert begun.result(timeout=10)
        fold(kit)
    assert told(kit, gallery_id) == 3


def test_who_deletes_a_subject_does_not_wait_for_who_holds_its_gallery(
    kit: Kit, second: Second
) -> None:
    gallery_id = kit.gallery()
    anna = kit.subject(gallery_id, "anna")
    with transaction(kit.database) as session:
        # As `delete_gallery` does, which comes to the subject later.
        session.execute(text("SELECT FROM gallery FOR UPDATE"))
        second.begin(
            lambda other: erase.delete_subject(other, kit.tenant_id, gallery_id, anna)
        ).result(timeout=10)
    assert told(kit, gallery_id) == 0


def test_the_count_is_the_truth_at_every_moment(kit: Kit) -> None:
    gallery_ids = [kit.gallery("one"), kit.gallery("two")]
    stop = threading.Event()

    def come_and_go(seed: int) -> None:
        draw = np.random.default_rng(seed)
        while not stop.is_set():
            gallery_id = gallery_ids[draw.integers(2)]
            made = kit.subject(gallery_id, str(uuid.uuid4()))
            if draw.integers(3):
                with transaction(kit.database) as session:
                    erase.delete_subject(session, kit.tenant_id, gallery_id, made)

    def go_on_folding() -> None:
        while not stop.is_set():
            fold(kit)

    with ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(come_and_go, seed) for seed in range(3)]
        futures += [pool.submit(go_on_folding) for _ in range(2)]
        moments = []
        for n in range(150):
            with transaction(kit.database) as session:
                moments.append(
                    session.execute(BOTH, {"gallery_id": gallery_ids[n % 2]}).one()._tuple()
                )
        stop.set()
        [one.result() for one in futures]
    assert [tally or 0 for _, tally in moments] == [truth for truth, _ in moments]
    assert len({truth for truth, _ in moments}) > 3


def test_the_migration_counts_who_is_there(kit: Kit, owners: Database) -> None:
    gallery_id = kit.gallery()
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with owners.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0016")
        command.downgrade(config, "-1")
        for name in ("anna", "ben"):
            connection.execute(
                text(
                    "INSERT INTO subject (id, tenant_id, gallery_id, name) VALUES (:i, :t, :g, :n)"
                ),
                {"i": uuid.uuid4(), "t": kit.tenant_id, "g": gallery_id, "n": name},
            )
    migrate(owners)
    assert told(kit, gallery_id) == 2
