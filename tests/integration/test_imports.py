"""Imported embeddings are templates like all others, and come all or not at all."""

import dataclasses
import threading
import uuid
from collections.abc import Iterator

import numpy as np
import psycopg2
import pytest
from ledger_kit import Kit, as_owner, embedding, item, photo_of
from ledger_kit import done as ended
from sqlalchemy import func, select, text

from cli.stack import postgres
from cli.stack.home import Home
from db import erase, galleries, imports, subjects
from db.errors import (
    ConflictingChangesError,
    DatabaseUnavailableError,
    GalleryEngineError,
    NamesTakenError,
)
from db.imports import Imported, NamedEmbeddings, import_templates
from db.models import DoomedObject, Gallery, Model, Photo, Subject, Template
from db.record import EnrolFace
from db.search import nearest
from db.session import retried, transaction
from db.states import JobKind
from pipeline.specs import DEFAULT_ENGINE, ENGINE_SPECS, EngineSpec

WIDE = dataclasses.replace(DEFAULT_ENGINE, name="wide", dimension=512)


def named(*names: str) -> NamedEmbeddings:
    """An embedding for each name; its seed is the row."""
    return NamedEmbeddings(
        names=names, vectors=np.array([embedding(seed) for seed in range(len(names))])
    )


def imported(
    kit: Kit, found: NamedEmbeddings, gallery: str = "people", spec: EngineSpec = DEFAULT_ENGINE
) -> Imported:
    with transaction(kit.database) as session:
        return import_templates(session, kit.tenant_id, gallery=gallery, spec=spec, found=found)


def count(kit: Kit, table: type) -> int:
    with transaction(kit.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def found_near(kit: Kit, gallery_id: uuid.UUID, probe: np.ndarray) -> tuple[str, float]:
    """Who is nearest, and how near."""
    with transaction(kit.database) as session:
        ((near,),) = nearest(session, kit.tenant_id, [gallery_id], [probe], top_k=1)
        (name,) = session.scalars(select(Subject.name).where(Subject.id == near.subject_id))
    return name, near.distance


def test_imported_people_are_found_and_counted_beside_enrolled_ones(kit: Kit) -> None:
    gallery_id = kit.gallery()
    kit.enrol(gallery_id, "dora", seed=100)
    done = imported(kit, named("anna", "ben", "anna"))
    assert (done.gallery_id, done.subject_count, done.template_count) == (gallery_id, 2, 3)
    for seed, name in ((0, "anna"), (1, "ben"), (2, "anna"), (100, "dora")):
        assert found_near(kit, gallery_id, embedding(seed)) == (name, 0)
    with transaction(kit.database) as session:
        gallery = galleries.get_gallery(session, kit.tenant_id, gallery_id)
        people = subjects.list_subjects(session, kit.tenant_id, gallery_id)
    assert (gallery.subject_count, gallery.template_count) == (3, 4)
    assert {one.name: one.template_count for one in people} == {"anna": 2, "ben": 1, "dora": 1}


def test_a_vector_comes_back_to_the_last_bit(kit: Kit) -> None:
    found = named("anna")
    imported(kit, found)
    with transaction(kit.database) as session:
        (vector,) = session.scalars(select(Template.vector))
    assert np.asarray(vector, np.float32).tobytes() == found.vectors.tobytes()


def test_a_deleted_subject_takes_its_imported_templates_along(kit: Kit) -> None:
    done = imported(kit, named("anna", "ben", "anna"))
    with transaction(kit.database) as session:
        (anna,) = session.scalars(select(Subject.id).where(Subject.name == "anna"))
        erase.delete_subject(session, kit.tenant_id, done.gallery_id, anna)
    assert (count(kit, Subject), count(kit, Template)) == (1, 1)


def test_a_deleted_gallery_takes_its_imported_templates_along(kit: Kit) -> None:
    done = imported(kit, named("anna", "ben"))
    with transaction(kit.database) as session:
        erase.delete_gallery(session, kit.tenant_id, done.gallery_id)
    assert [count(kit, table) for table in (Gallery, Subject, Template)] == [0, 0, 0]


def test_an_imported_subject_can_be_enrolled_from_photos_too(kit: Kit) -> None:
    done = imported(kit, named("anna"))
    with transaction(kit.database) as session:
        (anna,) = session.scalars(select(Subject.id))
    kit.job(item("p", subject_id=anna), kind=JobKind.ENROL, gallery_id=done.gallery_id)
    (claimed,) = kit.claim_all()
    kit.record(ended(claimed, photo_of(7), enrol=EnrolFace(ordinal=0)))
    for seed in (0, 7):
        assert found_near(kit, done.gallery_id, embedding(seed)) == ("anna", 0)
    with transaction(kit.database) as session:
        erase.delete_subject(session, kit.tenant_id, done.gallery_id, anna)
    assert [count(kit, table) for table in (Template, Photo, DoomedObject)] == [0, 0, 1]


def test_taken_names_are_refused_and_nothing_is_added(kit: Kit) -> None:
    kit.subject(kit.gallery(), "ben")
    with pytest.raises(NamesTakenError) as refused:
        imported(kit, named("anna", "ben", "cleo"))
    assert refused.value.names == ("ben",)
    assert "ben" not in str(refused.value)
    assert (count(kit, Subject), count(kit, Template)) == (1, 0)


def test_names_of_other_galleries_and_of_strangers_are_free(kit: Kit, stranger: Kit) -> None:
    imported(kit, named("anna"))
    imported(kit, named("anna"), gallery="other")
    imported(stranger, named("anna"))
    assert (count(kit, Gallery), count(kit, Template)) == (3, 3)


def test_a_gallery_of_another_engine_or_version_is_refused(kit: Kit) -> None:
    with transaction(kit.database) as session:
        galleries.create_gallery(session, kit.tenant_id, name="wide", spec=WIDE)
    with pytest.raises(GalleryEngineError, match=r"the engine wide, version 1.*gallery of their"):
        imported(kit, named("anna"), gallery="wide")
    kit.gallery("old")
    with transaction(kit.database) as session:
        as_owner(session)
        old = text("UPDATE model SET version = '0' WHERE engine = :engine")
        session.execute(old, {"engine": DEFAULT_ENGINE.name})
    with pytest.raises(GalleryEngineError, match=r"version 0"):
        imported(kit, named("anna"), gallery="old")
    assert count(kit, Subject) == 0


def test_an_engine_of_another_dimension_has_its_imports_too(kit: Kit) -> None:
    vector = np.linspace(0, 1, WIDE.dimension, dtype=np.float32)
    done = imported(kit, NamedEmbeddings(names=("anna",), vectors=vector[None]), spec=WIDE)
    assert found_near(kit, done.gallery_id, vector) == ("anna", 0)
    assert count(kit, Model) == 1 + len(ENGINE_SPECS)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH_ROWS", 10)


@pytest.mark.usefixtures("small_batches")
def test_batches_leave_nobody_out_and_mix_nobody_up(kit: Kit) -> None:
    names = [f"person {seed % 20}" for seed in range(25)]
    done = imported(kit, named(*names))
    assert (done.subject_count, done.template_count) == (20, 25)
    for seed in (0, 9, 10, 19, 20, 24):
        assert found_near(kit, done.gallery_id, embedding(seed)) == (names[seed], 0)
    with pytest.raises(NamesTakenError) as refused:
        imported(kit, named(*names))
    assert sorted(refused.value.names) == sorted(set(names))


@pytest.mark.usefixtures("small_batches")
def test_an_error_in_the_last_row_leaves_nothing(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = imports._copied

    def cut_short(*arguments: object) -> Iterator[bytes]:
        rows = list(whole(*arguments))
        # The last batch: one row, which breaks off.
        yield from rows if len(rows) == 12 else [rows[0], rows[1][:-1]]

    monkeypatch.setattr(imports, "_copied", cut_short)
    with pytest.raises(psycopg2.DataError), transaction(kit.database) as session:
        import_templates(
            session,
            kit.tenant_id,
            gallery="people",
            spec=DEFAULT_ENGINE,
            found=named(*(f"person {n}" for n in range(21))),
        )
    assert [count(kit, table) for table in (Gallery, Subject, Template)] == [0, 0, 0]


@pytest.mark.usefixtures("small_batches")
def test_a_connection_that_breaks_leaves_nothing(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = imports._copied
    batches = []

    def broken(*arguments: object) -> Iterator[bytes]:
        batches.append(arguments)
        if len(batches) == 3:
            with kit.database.connect() as other:
                other.execute(text("SET LOCAL ROLE NONE"))
                other.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
        return whole(*arguments)

    monkeypatch.setattr(imports, "_copied", broken)
    with pytest.raises(DatabaseUnavailableError):
        imported(kit, named(*(f"person {n}" for n in range(25))))
    assert [count(kit, table) for table in (Gallery, Subject, Template)] == [0, 0, 0]


def test_a_database_that_cannot_take_them_is_said_in_a_sentence(kit: Kit) -> None:
    with transaction(kit.database) as other:
        other.execute(text("LOCK TABLE template IN EXCLUSIVE MODE"))
        with pytest.raises(DatabaseUnavailableError, match="takes no templates: canceling"):
            import_impatiently(kit, named("anna"))
    assert [count(kit, table) for table in (Gallery, Subject, Template)] == [0, 0, 0]


def import_impatiently(kit: Kit, found: NamedEmbeddings) -> None:
    with transaction(kit.database) as session:
        session.execute(text("SET LOCAL lock_timeout = '50ms'"))
        import_templates(session, kit.tenant_id, gallery="people", spec=DEFAULT_ENGINE, found=found)


def test_of_two_imports_at_once_one_is_refused(kit: Kit) -> None:
    kit.gallery()
    names = [f"person {n}" for n in range(300)]
    ended: list[object] = []
    both = threading.Barrier(2)

    def run(order: list[str]) -> None:
        both.wait()
        try:
            ended.append(
                retried(
                    kit.database,
                    lambda session: import_templates(
                        session,
                        kit.tenant_id,
                        gallery="people",
                        spec=DEFAULT_ENGINE,
                        found=named(*order),
                    ),
                )
            )
        except NamesTakenError as exc:
            ended.append(exc)

    threads = [threading.Thread(target=run, args=(order,)) for order in (names, names[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {type(one) for one in ended} == {Imported, NamesTakenError}
    assert (count(kit, Subject), count(kit, Template)) == (300, 300)


def test_a_name_that_is_taken_meanwhile_starts_it_again_without_a_word_in_the_log(
    kit: Kit, stores_home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery_id = kit.gallery()
    log = stores_home.log(postgres.NAME)
    start_bytes = log.stat().st_size
    asked = imports._taken

    def too_early(*arguments: object) -> list[str]:
        names = asked(*arguments)
        kit.subject(gallery_id, "ben")
        return names

    with monkeypatch.context() as patched:
        patched.setattr(imports, "_taken", too_early)
        with pytest.raises(ConflictingChangesError):
            imported(kit, named("anna", "ben"))
    with pytest.raises(NamesTakenError):
        imported(kit, named("anna", "ben"))
    assert b"ERROR" not in log.read_bytes()[start_bytes:]
    assert (count(kit, Subject), count(kit, Template)) == (1, 0)
