"""Jobs that ask something of a face: each sees the faces that pass, though they share them all."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from ledger_kit import Kit, done, embedding, item
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from db import results
from db.extractions import load_extractions
from db.models import Candidate, Extraction, Face, Item, Template
from db.session import transaction
from db.settings import Settings
from db.states import ItemState, JobKind, JobState, MultipleFaces
from db.storage import ObjectStore
from db.views import ItemView
from pipeline.face_limits import FaceLimits
from pipeline.face_quality import Pose, Quality, QualityLimit
from pipeline.faces import Box, PhotoFaces
from pipeline.faces import Face as FoundFace
from workers.context import WorkerContext
from workers.stages.chunk import process_chunk


@pytest.fixture
def context(kit: Kit, stores: Settings) -> WorkerContext:
    return WorkerContext(
        settings=stores, database=kit.database, store=ObjectStore.from_settings(stores)
    )


def face(
    seed: int, width_px: int, overall: float, limit: QualityLimit = QualityLimit.SHARPNESS
) -> FoundFace:
    """A square face; half of it lies beyond the photo's left edge."""
    return FoundFace(
        box=Box(left=0, top=10, right=width_px // 2, bottom=10 + width_px),
        landmarks=((1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)),
        score=1.5,
        quality=Quality(
            overall=overall,
            limit=limit,
            sharpness=123.45,
            width_px=width_px,
            pose=Pose(yaw=-12.3, pitch=4.5, roll=0.1),
        ),
        embedding=embedding(seed),
    )


SMALL, GOOD, BLURRED = face(1, 40, 0.4, QualityLimit.SIZE), face(2, 120, 0.9), face(3, 200, 0.3)
THREE = (SMALL, GOOD, BLURRED)


def show(kit: Kit, name: str, faces: Sequence[FoundFace], rotation: int = 0) -> int:
    """Makes a photo of these faces known, as an earlier job would; the extraction's id."""
    kit.job(item(name))
    (claimed,) = kit.claim_all()
    found = PhotoFaces(width_px=640, height_px=480, rotation=rotation, faces=tuple(faces))
    kit.record(done(claimed, found))
    with transaction(kit.database) as session:
        query = select(Item.extraction_id).where(Item.id == claimed.item_id)
        return session.scalars(query).one() or 0


def run(kit: Kit, context: WorkerContext) -> None:
    for chunk in kit.dispatch():
        process_chunk(context, chunk)


def only_item(kit: Kit, job_id: uuid.UUID) -> ItemView:
    with transaction(kit.database) as session:
        (row,) = results.job_items(session, kit.tenant_id, job_id)
    return row


def count(kit: Kit, table: type) -> int:
    with transaction(kit.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def forget_qualities(kit: Kit) -> None:
    """Makes the faces those of the time before qualities were kept."""
    columns = ("quality", "quality_limit", "sharpness", "width_px", "yaw", "pitch", "roll")
    with transaction(kit.database) as session:
        session.execute(text(f"UPDATE face SET {', '.join(f'{one} = NULL' for one in columns)}"))


def test_what_was_found_is_read_back_as_it_was(kit: Kit) -> None:
    extraction_id = show(kit, "p", THREE, rotation=270)
    with transaction(kit.database) as session:
        known = load_extractions(session, [extraction_id])[extraction_id]
    assert (known.width_px, known.height_px, known.rotation) == (640, 480, 270)
    for read, written in zip(known.faces, THREE, strict=True):
        assert (read.box, read.landmarks) == (written.box, written.landmarks)
        assert (read.score, read.quality) == (written.score, written.quality)
        assert np.array_equal(read.embedding, written.embedding)


@pytest.mark.parametrize(
    ("limits", "seen"),
    [
        (FaceLimits(), [0, 1, 2]),
        (FaceLimits(min_face_px=40), [0, 1, 2]),
        (FaceLimits(min_face_px=41), [1, 2]),
        (FaceLimits(min_quality=0.3), [0, 1, 2]),
        (FaceLimits(min_quality=0.4), [0, 1]),
        (FaceLimits(min_face_px=100, min_quality=0.35), [1]),
        (FaceLimits(min_quality=0.9), [1]),
        (FaceLimits(min_face_px=201), []),
        (FaceLimits(min_quality=0.91), []),
    ],
)
def test_a_job_sees_the_faces_that_pass_its_own_limits(
    kit: Kit, context: WorkerContext, limits: FaceLimits, seen: list[int]
) -> None:
    show(kit, "p", THREE)
    open_to_all, job_id = kit.job(item("a", "p")), kit.job(item("b", "p"), limits=limits)
    run(kit, context)
    row = only_item(kit, job_id)
    assert [one.ordinal for one in row.faces] == seen
    assert row.faces_left_out == 3 - len(seen)
    assert row.state is (ItemState.DONE if seen else ItemState.NO_FACE)
    view = kit.view(job_id)
    assert (view.state, view.n_done, view.n_no_face) == (
        JobState.SUCCEEDED, len(seen) > 0, len(seen) == 0,
    )  # fmt: skip
    assert (view.min_face_px, view.min_quality) == (limits.min_face_px, limits.min_quality)
    # The other job's faces are the same rows, and all of them.
    assert len(only_item(kit, open_to_all).faces) == 3
    assert (count(kit, Extraction), count(kit, Face)) == (1, 3)


def test_faces_that_are_left_out_are_not_searched(kit: Kit, context: WorkerContext) -> None:
    gallery_id = kit.gallery()
    for seed, name in enumerate(("anna", "ben", "cleo"), start=1):
        kit.enrol(gallery_id, name, seed=seed)
    show(kit, "p", THREE)
    show(kit, "q", THREE[::-1])
    job_id = kit.job(
        item("p"), item("q"), kind=JobKind.IDENTIFY, gallery_id=gallery_id, top_k=1,
        limits=FaceLimits(min_face_px=100),
    )  # fmt: skip
    run(kit, context)
    with transaction(kit.database) as session:
        rows = results.job_items(session, kit.tenant_id, job_id)
    found = [
        [(one.ordinal, near.subject_name) for one in row.faces for near in one.candidates]
        for row in rows
    ]
    assert found == [[(1, "ben"), (2, "cleo")], [(0, "cleo"), (1, "ben")]]
    assert [row.faces_left_out for row in rows] == [1, 1]
    assert count(kit, Candidate) == 4


@pytest.mark.parametrize("kind", [JobKind.IDENTIFY, JobKind.VERIFY])
def test_a_photo_without_a_face_that_passes_is_one_without_a_face(
    kit: Kit, context: WorkerContext, kind: JobKind
) -> None:
    gallery_id = kit.gallery()
    subject_id = kit.enrol(gallery_id, "anna", seed=1)
    show(kit, "p", THREE)
    job_id = kit.job(
        item("p"), kind=kind, gallery_id=gallery_id, limits=FaceLimits(min_quality=1.0),
        subject_id=subject_id if kind is JobKind.VERIFY else None,
    )  # fmt: skip
    run(kit, context)
    row = only_item(kit, job_id)
    assert (row.state, row.faces, row.faces_left_out) == (ItemState.NO_FACE, (), 3)
    assert kit.view(job_id).n_no_face == 1
    assert count(kit, Candidate) == 0


def enrolment(
    kit: Kit, context: WorkerContext, faces: Sequence[FoundFace], **wanted: object
) -> tuple[uuid.UUID, ItemView]:
    show(kit, "p", faces)
    gallery_id = kit.gallery()
    job_id = kit.job(
        item("p", subject_id=kit.subject(gallery_id, "anna")),
        kind=JobKind.ENROL,
        gallery_id=gallery_id,
        **wanted,
    )
    run(kit, context)
    return job_id, only_item(kit, job_id)


@pytest.mark.parametrize(
    ("faces", "limits", "says"),
    [
        ([SMALL], FaceLimits(min_face_px=50), "face is 40 px wide, less than the 50 of min_face"),
        ([SMALL], FaceLimits(min_quality=0.5), "quality 0.4, as it has few pixels (size), and min"),
        ([BLURRED], FaceLimits(min_quality=0.5), "(sharpness), and min_quality asks for 0.5"),
        ([face(1, 90, 0.2, QualityLimit.POSE)], FaceLimits(min_quality=0.5), "(pose)"),
        ([face(1, 90, 0.2, QualityLimit.SCORE)], FaceLimits(min_quality=0.5), "(score)"),
        (THREE, FaceLimits(min_quality=0.95), "largest of 3 faces has the quality 0.3,"),
    ],
)
def test_an_enrolment_says_which_limit_its_photo_fails_and_why(
    kit: Kit,
    context: WorkerContext,
    faces: Sequence[FoundFace],
    limits: FaceLimits,
    says: str,
) -> None:
    job_id, row = enrolment(kit, context, faces, limits=limits)
    assert (row.state, row.error_code) == (ItemState.FAILED, "quality_too_low")
    assert says in (row.error_detail or "")
    assert (row.faces, row.faces_left_out) == ((), len(faces))
    assert count(kit, Template) == 0
    view = kit.view(job_id)
    assert (view.state, view.n_failed) == (JobState.FAILED, 1)


def test_an_enrolment_counts_only_the_faces_that_pass(kit: Kit, context: WorkerContext) -> None:
    _, row = enrolment(kit, context, THREE, limits=FaceLimits(min_quality=0.5))
    assert row.state is ItemState.DONE
    assert [(one.ordinal, one.enrolled) for one in row.faces] == [(1, True)]


def test_an_enrolment_that_two_faces_pass_is_refused_by_their_number(
    kit: Kit, context: WorkerContext
) -> None:
    _, row = enrolment(kit, context, THREE, limits=FaceLimits(min_face_px=100))
    assert (row.error_code, row.faces_left_out) == ("several_faces", 1)
    assert "shows 2 faces" in (row.error_detail or "")


@pytest.mark.parametrize(
    ("named", "wish"),
    [
        ("multiple_faces", {"multiple_faces": MultipleFaces.LARGEST}),
        ("min_face_px", {"limits": FaceLimits(min_face_px=41)}),
        ("min_quality", {"limits": FaceLimits(min_quality=0.5)}),
    ],
)
def test_a_photo_of_several_faces_is_enrolled_in_each_way_that_its_error_names(
    kit: Kit, context: WorkerContext, named: str, wish: dict[str, object]
) -> None:
    show(kit, "p", (SMALL, GOOD))
    gallery_id = kit.gallery()
    anna = kit.subject(gallery_id, "anna")
    refused, taken = (
        kit.job(item(name, "p", subject_id=anna), kind=JobKind.ENROL, gallery_id=gallery_id, **one)
        for name, one in (("a", {}), ("b", wish))
    )
    run(kit, context)
    row = only_item(kit, refused)
    assert row.error_code == "several_faces"
    assert named in (row.error_detail or "")
    assert [face.ordinal for face in only_item(kit, taken).faces if face.enrolled] == [1]


def test_the_largest_face_is_the_largest_of_those_that_pass(
    kit: Kit, context: WorkerContext
) -> None:
    _, row = enrolment(
        kit, context, THREE, limits=FaceLimits(min_quality=0.4),
        multiple_faces=MultipleFaces.LARGEST,
    )  # fmt: skip
    assert [(one.ordinal, one.enrolled) for one in row.faces] == [(0, False), (1, True)]


def test_an_unknown_quality_passes_only_where_none_is_asked_for(
    kit: Kit, context: WorkerContext
) -> None:
    show(kit, "p", THREE)
    forget_qualities(kit)
    any_quality = kit.job(item("a", "p"))
    some_quality = kit.job(item("b", "p"), limits=FaceLimits(min_quality=0.01))
    # Of the untrimmed width nothing is known: the boxes are half as wide.
    wide = kit.job(item("c", "p"), limits=FaceLimits(min_face_px=60))
    run(kit, context)
    row = only_item(kit, any_quality)
    assert [one.quality for one in row.faces] == [None] * 3
    assert (row.state, row.faces_left_out) == (ItemState.DONE, 0)
    row = only_item(kit, some_quality)
    assert (row.state, row.faces, row.faces_left_out) == (ItemState.NO_FACE, (), 3)
    assert [one.ordinal for one in only_item(kit, wide).faces] == [1, 2]


def test_an_enrolment_of_an_unknown_quality_says_so(kit: Kit, context: WorkerContext) -> None:
    show(kit, "p", [GOOD])
    forget_qualities(kit)
    gallery_id = kit.gallery()
    job_id = kit.job(
        item("p", subject_id=kit.subject(gallery_id, "anna")),
        kind=JobKind.ENROL,
        gallery_id=gallery_id,
        limits=FaceLimits(min_quality=0.5),
    )
    run(kit, context)
    row = only_item(kit, job_id)
    assert row.error_code == "quality_too_low"
    assert "found before qualities were kept" in (row.error_detail or "")


def test_each_page_of_results_goes_by_the_limits(kit: Kit, context: WorkerContext) -> None:
    names = [str(n) for n in range(5)]
    for n, name in enumerate(names):
        show(kit, name, THREE[n % 3 :], rotation=90 * (n % 2))
    job_id = kit.job(*map(item, names), limits=FaceLimits(min_face_px=100, min_quality=0.5))
    run(kit, context)
    pages, after = [], 0
    with transaction(kit.database) as session:
        while page := results.job_items(session, kit.tenant_id, job_id, after=after, limit=2):
            pages.append(page)
            after = page[-1].id
    rows = [row for page in pages for row in page]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [row.rotation for row in rows] == [0, 90, 0, 90, 0]
    assert [(len(row.faces), row.faces_left_out) for row in rows] == [
        (1, 2), (1, 1), (0, 1), (1, 2), (1, 1),
    ]  # fmt: skip
    view = kit.view(job_id)
    assert (view.n_done, view.n_no_face, view.state) == (4, 1, JobState.SUCCEEDED)


def test_photos_that_were_not_read_have_no_rotation(kit: Kit) -> None:
    row = only_item(kit, kit.job(item("p")))
    assert (row.rotation, row.faces_left_out) == (None, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE face SET yaw = NULL",
        "UPDATE extraction SET rotation = 45",
        "UPDATE job SET min_quality = 1.1",
        "UPDATE job SET min_quality = 'NaN'",
        "UPDATE job SET min_face_px = -1",
    ],
)
def test_the_database_takes_no_half_quality_and_no_limit_that_makes_no_sense(
    kit: Kit, statement: str
) -> None:
    show(kit, "p", [GOOD])
    with pytest.raises(IntegrityError), transaction(kit.database) as session:
        session.execute(text(statement))


def test_a_face_of_no_width_and_no_quality_passes_where_nothing_is_asked_for(kit: Kit) -> None:
    empty = replace(GOOD, box=Box(left=0, top=0, right=0, bottom=0), quality=None)
    extraction_id = show(kit, "p", [empty])
    with transaction(kit.database) as session:
        (known,) = load_extractions(session, [extraction_id])[extraction_id].faces
    assert FaceLimits().passing([known]) == [0]
    assert FaceLimits(min_face_px=1).passing([known]) == []
