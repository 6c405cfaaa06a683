"""Faces of the time before qualities were kept are measured once a job asks something of them."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_kit import Kit, done, embedding
from sqlalchemy import func, select, text

from db import results
from db.models import Embedding, Extraction, Face, Template
from db.session import transaction
from db.settings import Settings
from db.states import ItemState, JobKind
from db.storage import ObjectStore
from db.views import FaceView, ItemView, NewItem
from pipeline.face_limits import FaceLimits
from pipeline.faces import Box, PhotoFaces
from pipeline.faces import Face as FoundFace
from workers.context import WorkerContext
from workers.stages.chunk import process_chunk

SOME_QUALITY, SOME_WIDTH = FaceLimits(min_quality=0.3), FaceLimits(min_face_px=40)
NOTHING = FaceLimits()


@pytest.fixture
def context(kit: Kit, stores: Settings) -> WorkerContext:
    return WorkerContext(
        settings=stores, database=kit.database, store=ObjectStore.from_settings(stores)
    )


@pytest.fixture
def party(context: WorkerContext, photos_dir: Path) -> Callable[..., NewItem]:
    """An item of a photo of several people, whose bytes are in the bucket."""
    data = (photos_dir / "groups" / "group-3.jpg").read_bytes()

    def put(name: str, **more: object) -> NewItem:
        key = f"{uuid.uuid4()}/0"
        stored = context.store.put(key, [data])
        return NewItem(
            name=name,
            client_id=name,
            sha256=stored.sha256,
            size_bytes=stored.size_bytes,
            object_key=key,
            **more,
        )

    return put


def run(kit: Kit, context: WorkerContext) -> None:
    for chunk in kit.dispatch():
        process_chunk(context, chunk)


def only_item(kit: Kit, job_id: uuid.UUID) -> ItemView:
    with transaction(kit.database) as session:
        (row,) = results.job_items(session, kit.tenant_id, job_id)
    return row


def forget_qualities(kit: Kit) -> None:
    columns = ("quality", "quality_limit", "sharpness", "width_px", "yaw", "pitch", "roll")
    with transaction(kit.database) as session:
        session.execute(text(f"UPDATE face SET {', '.join(f'{one} = NULL' for one in columns)}"))


def lose_photos(kit: Kit, context: WorkerContext) -> None:
    """Takes the photos out of the bucket: whoever looks at one again fails."""
    with transaction(kit.database) as session:
        context.store.delete(list(session.scalars(text("SELECT object_key FROM photo"))))


def before(kit: Kit, context: WorkerContext, party: Callable[..., NewItem]) -> ItemView:
    """What a job found, whose faces have then lost their qualities."""
    job_id = kit.job(party("before"))
    run(kit, context)
    found = only_item(kit, job_id)
    assert len(found.faces) > 3
    forget_qualities(kit)
    assert not any(face.quality for face in only_item(kit, job_id).faces)
    return found


def rows_of(kit: Kit) -> list[object]:
    """What may not change when faces are measured."""
    with transaction(kit.database) as session:
        faces = session.execute(
            select(Face.id, Face.extraction_id, Face.ordinal, Face.left_px, Face.score).order_by(
                Face.id
            )
        ).all()
        vectors = session.execute(
            select(Embedding.id, Embedding.face_id, Embedding.vector).order_by(Embedding.id)
        ).all()
        counts = [
            session.scalar(select(func.count()).select_from(table))
            for table in (Extraction, Template)
        ]
    return [faces, [(row.id, row.face_id, list(row.vector)) for row in vectors], counts]


def passing(found: ItemView, limits: FaceLimits) -> list[FaceView]:
    return [
        face
        for face in found.faces
        if face.quality
        and face.quality.overall >= limits.min_quality
        and face.quality.width_px >= limits.min_face_px
    ]


@pytest.mark.parametrize("limits", [SOME_QUALITY, SOME_WIDTH])
def test_old_faces_are_measured_for_a_job_that_asks_something_of_them(
    kit: Kit, context: WorkerContext, party: Callable[..., NewItem], limits: FaceLimits
) -> None:
    found = before(kit, context, party)
    kept = rows_of(kit)
    job_id = kit.job(party("again"), limits=limits)
    run(kit, context)
    row = only_item(kit, job_id)
    expected = passing(found, limits)
    assert expected
    assert (row.state, list(row.faces)) == (ItemState.DONE, expected)
    assert row.faces_left_out == len(found.faces) - len(expected)
    assert rows_of(kit) == kept


def test_measured_faces_are_searched(
    kit: Kit, context: WorkerContext, party: Callable[..., NewItem]
) -> None:
    before(kit, context, party)
    gallery_id = kit.gallery()
    kit.enrol(gallery_id, "anna", seed=1)
    job_id = kit.job(
        party("again"), kind=JobKind.IDENTIFY, gallery_id=gallery_id, limits=SOME_QUALITY
    )
    run(kit, context)
    faces = only_item(kit, job_id).faces
    assert faces
    assert all(len(face.candidates) == 1 for face in faces)


def test_old_faces_are_taken_as_they_are_where_nothing_is_asked_of_them(
    kit: Kit, context: WorkerContext, party: Callable[..., NewItem]
) -> None:
    found = before(kit, context, party)
    job_id = kit.job(party("again"))
    lose_photos(kit, context)
    run(kit, context)
    row = only_item(kit, job_id)
    assert (row.state, len(row.faces)) == (ItemState.DONE, len(found.faces))
    assert not any(face.quality for face in row.faces)


def test_faces_are_measured_once(
    kit: Kit, context: WorkerContext, party: Callable[..., NewItem]
) -> None:
    before(kit, context, party)
    first = kit.job(party("first"), limits=SOME_QUALITY)
    run(kit, context)
    second = kit.job(party("second"), limits=SOME_QUALITY)
    lose_photos(kit, context)
    run(kit, context)
    assert only_item(kit, second).faces == only_item(kit, first).faces


def test_a_photo_that_cannot_be_measured_fails_and_leaves_no_face_out_in_silence(
    kit: Kit, context: WorkerContext, party: Callable[..., NewItem]
) -> None:
    before(kit, context, party)
    job_id = kit.job(party("again"), limits=SOME_QUALITY)
    lose_photos(kit, context)
    run(kit, context)
    row = only_item(kit, job_id)
    assert (row.state, row.error_code) == (ItemState.FAILED, "object_missing")


def elsewhere(seed: int) -> FoundFace:
    return FoundFace(
        box=Box(left=0, top=0, right=2, bottom=2),
        landmarks=((1.0, 1.0),) * 5,
        score=1.5,
        embedding=embedding(seed),
    )


def test_a_face_that_is_not_found_again_passes_no_quality_that_is_asked_for(
    kit: Kit, context: WorkerContext, party: Callable[..., NewItem]
) -> None:
    gallery_id = kit.gallery()
    anna = kit.subject(gallery_id, "anna")
    kit.job(party("before"))
    (claimed,) = kit.claim_all()
    found = PhotoFaces(width_px=640, height_px=480, faces=(elsewhere(1),))
    kit.record(done(claimed, found))
    enrolment = kit.job(
        party("a", subject_id=anna), kind=JobKind.ENROL, gallery_id=gallery_id, limits=SOME_QUALITY
    )
    search = kit.job(party("b"), kind=JobKind.IDENTIFY, gallery_id=gallery_id, limits=SOME_QUALITY)
    run(kit, context)
    row = only_item(kit, enrolment)
    assert row.error_code == "quality_too_low"
    assert "found before qualities were kept" in (row.error_detail or "")
    row = only_item(kit, search)
    assert (row.state, row.faces, row.faces_left_out) == (ItemState.NO_FACE, (), 1)
