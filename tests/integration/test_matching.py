"""Enrolment, search and deletion, in the real database."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from ledger_kit import Kit, done, embedding, item, photo_of
from sqlalchemy import func, select

from db import erase, results, subjects
from db.errors import DuplicateSubjectError, SubjectNotFoundError
from db.models import (
    Candidate,
    DoomedObject,
    Embedding,
    Face,
    Item,
    Job,
    Model,
    Photo,
    Subject,
    Template,
)
from db.record import EnrolFace
from db.search import nearest
from db.session import transaction
from db.states import ItemState, JobKind
from db.tenants import ensure_model
from pipeline.specs import DEFAULT_ENGINE, ENGINE_SPECS


def count(kit: Kit, table: type) -> int:
    with transaction(kit.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def test_candidates_are_ranked_by_distance(kit: Kit) -> None:
    gallery_id = kit.gallery()
    kit.enrol(gallery_id, "anna", seed=1)
    kit.enrol(gallery_id, "ben", seed=2)
    job_id = kit.job(item("p"), kind=JobKind.IDENTIFY, gallery_id=gallery_id)
    (claimed,) = kit.claim_all()
    kit.record(kit.searched(claimed, photo_of(2, 1, shift=0.1)))
    with transaction(kit.database) as session:
        (row,) = results.job_items(session, kit.tenant_id, job_id)
    names = [[one.subject_name for one in face.candidates] for face in row.faces]
    assert names == [["ben", "anna"], ["anna", "ben"]]
    nearest_one = row.faces[0].candidates[0]
    assert nearest_one.rank == 1
    assert nearest_one.distance == pytest.approx(0.1, abs=1e-5)


def test_the_distance_is_numpys(kit: Kit) -> None:
    gallery_id = kit.gallery()
    kit.enrol(gallery_id, "anna", seed=1)
    probe = embedding(7)
    with transaction(kit.database) as session:
        ((near,),) = nearest(session, kit.tenant_id, [gallery_id], [probe], top_k=1)
    assert near.distance == pytest.approx(float(np.linalg.norm(probe - embedding(1))), abs=1e-6)


def test_a_subject_is_as_near_as_its_nearest_template(kit: Kit) -> None:
    gallery_id = kit.gallery()
    subject_id = kit.enrol(gallery_id, "anna", seed=1)
    kit.job(item("more", subject_id=subject_id), kind=JobKind.ENROL, gallery_id=gallery_id)
    (claimed,) = kit.claim_all()
    kit.record(done(claimed, photo_of(2), enrol=EnrolFace(ordinal=0)))
    with transaction(kit.database) as session:
        ((near,),) = nearest(session, kit.tenant_id, [gallery_id], [embedding(2)], top_k=5)
    assert near.distance == pytest.approx(0, abs=1e-6)


def test_galleries_do_not_see_each_other(kit: Kit, stranger: Kit) -> None:
    kit.enrol(kit.gallery("one"), "anna", seed=1)
    other, foreign = kit.gallery("two"), stranger.gallery("one")
    with transaction(kit.database) as session:
        assert nearest(session, kit.tenant_id, [other], [embedding(1)], top_k=1) == [[]]
        assert nearest(session, stranger.tenant_id, [foreign], [embedding(1)], top_k=1) == [[]]


def test_enrolling_the_same_photo_twice_makes_one_template(kit: Kit) -> None:
    gallery_id = kit.gallery()
    subject_id = kit.enrol(gallery_id, "anna", seed=1)
    kit.job(
        item("again", "anna-1", subject_id=subject_id), kind=JobKind.ENROL, gallery_id=gallery_id
    )
    (claimed,) = kit.claim_all()
    kit.record(done(claimed, photo_of(1), enrol=EnrolFace(ordinal=0)))
    assert count(kit, Template) == 1


def test_a_new_subject_comes_with_its_template_or_not_at_all(kit: Kit) -> None:
    gallery_id = kit.gallery()
    for name in ("first", "second"):
        kit.job(item(name, new_subject="anna"), kind=JobKind.ENROL, gallery_id=gallery_id)
    first, second = kit.claim_all()
    assert count(kit, Subject) == 0
    kit.record(done(first, photo_of(1), enrol=EnrolFace(ordinal=0)))
    kit.record(done(second, photo_of(2), enrol=EnrolFace(ordinal=0)))
    assert (count(kit, Subject), count(kit, Template)) == (1, 1)
    with transaction(kit.database) as session:
        failed = session.scalars(select(Item).where(Item.state == ItemState.FAILED)).one()
    assert failed.error_code == "duplicate_subject"


def test_a_subject_deleted_during_enrolment_gets_no_template(kit: Kit) -> None:
    gallery_id = kit.gallery()
    subject_id = kit.subject(gallery_id, "anna")
    job_id = kit.job(item("p", subject_id=subject_id), kind=JobKind.ENROL, gallery_id=gallery_id)
    (claimed,) = kit.claim_all()
    with transaction(kit.database) as session:
        erase.delete_subject(session, kit.tenant_id, gallery_id, subject_id)
    assert kit.record(done(claimed, photo_of(1), enrol=EnrolFace(ordinal=0))) == set()
    assert count(kit, Template) == 0
    assert kit.view(job_id).finished


def test_a_deleted_subject_leaves_no_face_behind(kit: Kit) -> None:
    gallery_id = kit.gallery()
    subject_id = kit.enrol(gallery_id, "anna", seed=1)
    kit.job(item("p"), kind=JobKind.IDENTIFY, gallery_id=gallery_id)
    (claimed,) = kit.claim_all()
    kit.record(kit.searched(claimed, photo_of(1, shift=0.1)))
    assert count(kit, Candidate) == 1
    with transaction(kit.database) as session:
        erase.delete_subject(session, kit.tenant_id, gallery_id, subject_id)
    assert [count(kit, table) for table in (Subject, Template, Candidate)] == [0, 0, 0]
    # The probe's photo belongs to its job; the enrolled one belonged to the subject alone.
    assert (count(kit, Photo), count(kit, Face), count(kit, DoomedObject)) == (1, 1, 1)


def test_a_photo_that_another_job_needs_outlives_its_subject(kit: Kit) -> None:
    gallery_id = kit.gallery()
    subject_id = kit.enrol(gallery_id, "anna", seed=1)
    kit.job(item("same", "anna-1"))
    with transaction(kit.database) as session:
        erase.delete_subject(session, kit.tenant_id, gallery_id, subject_id)
        kept = session.scalars(select(Photo.object_key)).one()
        assert kept not in session.scalars(select(DoomedObject.object_key)).all()


def test_a_deleted_gallery_takes_its_jobs_and_photos_along(kit: Kit) -> None:
    gallery_id = kit.gallery()
    kit.enrol(gallery_id, "anna", seed=1)
    kit.job(item("p"), kind=JobKind.IDENTIFY, gallery_id=gallery_id)
    with transaction(kit.database) as session:
        erase.delete_gallery(session, kit.tenant_id, gallery_id)
    for table in (Subject, Template, Job, Item, Photo, Face, Embedding):
        assert count(kit, table) == 0
    assert count(kit, DoomedObject) == 2


def test_a_deleted_job_keeps_the_photos_of_templates(kit: Kit) -> None:
    gallery_id = kit.gallery()
    kit.enrol(gallery_id, "anna", seed=1)
    with transaction(kit.database) as session:
        (job_id,) = session.scalars(select(Job.id))
        erase.delete_job(session, kit.tenant_id, job_id)
    assert (count(kit, Job), count(kit, Photo), count(kit, Template)) == (0, 1, 1)


def test_sending_known_bytes_again_dooms_the_new_object(kit: Kit) -> None:
    kit.job(item("a"))
    again = item("b", "a")
    kit.job(again)
    with transaction(kit.database) as session:
        assert session.scalars(select(DoomedObject.object_key)).all() == [again.object_key]
        digest = hashlib.sha256(b"a").digest()
        assert session.scalars(select(Photo.sha256)).all() == [digest]


def test_names_are_unique_within_a_gallery(kit: Kit) -> None:
    gallery_id = kit.gallery()
    anna = kit.subject(gallery_id, "anna")
    kit.subject(gallery_id, "ben")
    with pytest.raises(DuplicateSubjectError):
        kit.subject(gallery_id, "anna")
    with pytest.raises(DuplicateSubjectError), transaction(kit.database) as session:
        subjects.rename_subject(session, kit.tenant_id, gallery_id, anna, name="ben")
    kit.subject(kit.gallery("other"), "anna")


def test_a_stranger_deletes_nothing(kit: Kit, stranger: Kit) -> None:
    gallery_id = kit.gallery()
    subject_id = kit.enrol(gallery_id, "anna", seed=1)
    with pytest.raises(SubjectNotFoundError), transaction(kit.database) as session:
        erase.delete_subject(session, stranger.tenant_id, gallery_id, subject_id)
    assert count(kit, Template) == 1


def test_embeddings_of_two_dimensions_live_side_by_side(kit: Kit) -> None:
    spec = replace(DEFAULT_ENGINE, name="wide", dimension=512)
    kit.job(item("p"))
    (claimed,) = kit.claim_all()
    kit.record(done(claimed, photo_of(1)))
    with transaction(kit.database) as session:
        model_id = ensure_model(session, spec)
        face = session.scalars(select(Face)).one()
        session.add(
            Embedding(
                tenant_id=kit.tenant_id,
                face_id=face.id,
                model_id=model_id,
                vector=np.zeros(512, np.float32),
            )
        )
    with transaction(kit.database) as session:
        vectors = session.scalars(select(Embedding.vector)).all()
        assert sorted(len(vector) for vector in vectors) == [128, 512]
        assert session.scalars(select(func.count()).select_from(Model)).one() == 1 + len(
            ENGINE_SPECS
        )
