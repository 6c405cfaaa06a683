"""A chunk on real photos, a real bucket and a real database, without the queue."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from ledger_kit import Kit, item
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import text

from db import control, results
from db.extracting import begin_extracting, forget_extracting
from db.ledger import release
from db.session import transaction
from db.settings import Settings
from db.states import ItemState, JobKind, JobState, MultipleFaces
from db.storage import ObjectStore
from db.views import ItemView, NewItem
from pipeline.engine import EMBED_BATCH_CHIPS, Embedder
from pipeline.loader import load_engine
from pipeline.models import files
from workers.context import WorkerContext
from workers.stages import extract
from workers.stages.chunk import process_chunk


@pytest.fixture
def context(kit: Kit, stores: Settings) -> WorkerContext:
    # A short lease lets a store that stays away be given up soon.
    settings = stores.model_copy(update={"lease_s": 2.0, "max_pixels": 30_000_000})
    return WorkerContext(
        settings=settings, database=kit.database, store=ObjectStore.from_settings(stores)
    )


@pytest.fixture
def store_photo(stores: Settings) -> Callable[..., NewItem]:
    """Puts bytes into the bucket; returns the item that refers to them."""
    store = ObjectStore.from_settings(stores)

    def put(name: str, data: bytes, **more: object) -> NewItem:
        key = f"test/{hashlib.sha256(data + name.encode()).hexdigest()}"
        stored = store.put(key, [data])
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


def rows(kit: Kit, job_id: object) -> dict[str, ItemView]:
    with transaction(kit.database) as session:
        return {row.name: row for row in results.job_items(session, kit.tenant_id, job_id)}


def enrolled_demo(kit: Kit, context: WorkerContext, store_photo: Callable, people: Path) -> object:
    gallery_id = kit.gallery()
    for name, file in (("obama", "obama/obama.jpg"), ("biden", "biden/biden.jpg")):
        kit.job(
            store_photo(
                file, (people / file).read_bytes(), subject_id=kit.subject(gallery_id, name)
            ),
            kind=JobKind.ENROL,
            gallery_id=gallery_id,
        )
    run(kit, context)
    return gallery_id


def test_people_are_found_in_photos_of_several(
    kit: Kit, context: WorkerContext, store_photo: Callable, photos_dir: Path
) -> None:
    demo = photos_dir / "demo"
    gallery_id = enrolled_demo(kit, context, store_photo, demo / "people")
    names = ("obama_and_biden.jpg", "two_people.jpg", "alex_lacamoire1.jpg")
    job_id = kit.job(
        *(store_photo(name, (demo / "photos" / name).read_bytes()) for name in names),
        kind=JobKind.IDENTIFY,
        gallery_id=gallery_id,
        top_k=1,
    )
    run(kit, context)
    near = {
        name: {
            face.candidates[0].subject_name
            for face in row.faces
            if face.candidates[0].distance <= 0.6
        }
        for name, row in rows(kit, job_id).items()
    }
    assert near == {
        "obama_and_biden.jpg": {"obama", "biden"},
        "two_people.jpg": {"obama", "biden"},
        "alex_lacamoire1.jpg": set(),
    }
    assert kit.view(job_id).state is JobState.SUCCEEDED


def test_verification_compares_with_one_subject(
    kit: Kit, context: WorkerContext, store_photo: Callable, photos_dir: Path
) -> None:
    demo = photos_dir / "demo"
    gallery_id = enrolled_demo(kit, context, store_photo, demo / "people")
    with transaction(kit.database) as session:
        biden = session.execute(text("SELECT id FROM subject WHERE name = 'biden'")).scalar_one()
    photo = (demo / "photos" / "obama1.jpg").read_bytes()
    job_id = kit.job(
        store_photo("p", photo), kind=JobKind.VERIFY, gallery_id=gallery_id, subject_id=biden
    )
    run(kit, context)
    (face,) = rows(kit, job_id)["p"].faces
    assert [one.subject_name for one in face.candidates] == ["biden"]
    assert face.candidates[0].distance > 0.6


def jpeg(width: int = 64, height: int = 64, image_format: str = "JPEG") -> bytes:
    out = BytesIO()
    Image.new("RGB", (width, height), "grey").save(out, image_format)
    return out.getvalue()


def test_each_bad_photo_costs_its_own_item_alone(
    kit: Kit, context: WorkerContext, store_photo: Callable
) -> None:
    good = jpeg()
    job_id = kit.job(
        store_photo("good", good),
        store_photo("text", b"this is no image at all"),
        store_photo("gif", jpeg(image_format="GIF")),
        store_photo("cut", jpeg(640, 480)[:600]),
        store_photo("huge", jpeg(6000, 6000, "PNG")),
        item("gone"),
    )
    run(kit, context)
    found = {name: (row.state.value, row.error_code) for name, row in rows(kit, job_id).items()}
    assert found == {
        "good": ("no_face", None),
        "text": ("failed", "not_an_image"),
        "gif": ("failed", "unsupported_format"),
        "cut": ("failed", "image_truncated"),
        "huge": ("failed", "image_too_large"),
        "gone": ("failed", "object_missing"),
    }
    view = kit.view(job_id)
    assert (view.state, view.n_no_face, view.n_failed) == (JobState.PARTIALLY_FAILED, 1, 5)


@dataclass(frozen=True)
class Choosy:
    """An embedder that fails with some chips, and with whatever comes together with them."""

    embedder: Embedder
    bad: frozenset[bytes]

    def embed(self, chips: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not self.bad.isdisjoint(chip.tobytes() for chip in chips):
            raise RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code")
        return self.embedder.embed(chips)


def test_a_photo_that_cannot_be_embedded_costs_its_own_item_alone(
    kit: Kit,
    context: WorkerContext,
    store_photo: Callable,
    photos_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photos = {path.name: path.read_bytes() for path in (photos_dir / "demo/photos").iterdir()}
    photos |= {path.name: path.read_bytes() for path in (photos_dir / "groups").glob("*.jpg")}
    poison = ("two_people.jpg", "obama3.jpg")
    engine = load_engine("dlib", context.settings.models_dir)
    faces = {
        name: engine.detect(engine.open(data, max_pixels=10**8)).faces
        for name, data in photos.items()
    }
    assert sum(map(len, faces.values())) > 3 * EMBED_BATCH_CHIPS  # Some batches hold none of them.
    bad = frozenset(faces[name][-1].chip.tobytes() for name in poison)
    choosy = replace(engine, embedder=Choosy(engine.embedder, bad))
    job_id = kit.job(*(store_photo(name, data) for name, data in photos.items()))
    with monkeypatch.context() as patched:
        patched.setattr(extract, "load_engine", lambda *_: choosy)
        run(kit, context)
    for name, row in rows(kit, job_id).items():
        ended = (row.state, row.error_code, len(row.faces))
        if name in poison:
            assert ended == (ItemState.FAILED, "internal_error", 0)
        else:
            assert ended == (ItemState.DONE, None, len(faces[name]))
    view = kit.view(job_id)
    assert (view.state, view.n_failed) == (JobState.PARTIALLY_FAILED, len(poison))


def test_enrolment_needs_exactly_one_face(
    kit: Kit, context: WorkerContext, store_photo: Callable, photos_dir: Path
) -> None:
    gallery_id = kit.gallery()
    subject_id = kit.subject(gallery_id, "someone")
    two = (photos_dir / "demo" / "photos" / "two_people.jpg").read_bytes()
    refused = kit.job(
        store_photo("two", two, subject_id=subject_id),
        store_photo("none", jpeg(), subject_id=subject_id),
        kind=JobKind.ENROL,
        gallery_id=gallery_id,
    )
    largest = kit.job(
        store_photo("two", two, subject_id=subject_id),
        kind=JobKind.ENROL,
        gallery_id=gallery_id,
        multiple_faces=MultipleFaces.LARGEST,
    )
    run(kit, context)
    first = rows(kit, refused)
    assert first["two"].error_code == "several_faces"
    assert first["none"].state is ItemState.NO_FACE
    row = rows(kit, largest)["two"]
    assert row.state is ItemState.DONE
    areas = [(face.right_px - face.left_px) * (face.bottom_px - face.top_px) for face in row.faces]
    assert [face.enrolled for face in row.faces] == [area == max(areas) for area in areas]


def test_a_known_photo_is_not_fetched_again(
    kit: Kit, context: WorkerContext, store_photo: Callable, stores: Settings
) -> None:
    kit.job(store_photo("first", jpeg()))
    run(kit, context)
    again = kit.job(store_photo("second", jpeg()))
    with transaction(kit.database) as session:
        key = session.execute(text("SELECT object_key FROM photo")).scalar_one()
    context.store.delete([key])
    run(kit, context)
    assert kit.view(again).n_no_face == 1


def test_an_absent_bucket_hands_items_back_uncounted(
    kit: Kit, context: WorkerContext, store_photo: Callable, stores: Settings
) -> None:
    job_id = kit.job(store_photo("p", jpeg()))
    away = stores.model_copy(update={"s3_bucket": "no-such-bucket-here"})
    lost = WorkerContext(
        settings=context.settings, database=kit.database, store=ObjectStore.from_settings(away)
    )
    run(kit, lost)
    (row,) = rows(kit, job_id).values()
    assert (row.state, row.attempt) == (ItemState.QUEUED, 0)
    with transaction(kit.database) as session:
        session.execute(text("UPDATE item SET due_at = now()"))
    run(kit, context)
    assert kit.view(job_id).state is JobState.SUCCEEDED


def test_an_unusable_models_folder_hands_items_back_uncounted(
    kit: Kit, context: WorkerContext, store_photo: Callable, stores: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings = context.settings.model_copy(update={"home": tmp_path / "file"})
    job_id = kit.job(store_photo("p", jpeg()))
    run(kit, replace(context, settings=settings))
    (row,) = rows(kit, job_id).values()
    assert (row.state, row.attempt) == (ItemState.QUEUED, 0)
    with transaction(kit.database) as session:
        session.execute(text("UPDATE item SET due_at = now()"))
    run(kit, context)
    assert kit.view(job_id).state is JobState.SUCCEEDED


def test_a_damaged_model_fails_the_photos_that_need_it_by_name(
    kit: Kit,
    context: WorkerContext,
    store_photo: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "_package_dir", lambda _model: tmp_path)
    job_id = kit.job(store_photo("p", jpeg()))
    settings = context.settings.model_copy(update={"home": tmp_path / "home"})
    run(kit, replace(context, settings=settings))
    (row,) = rows(kit, job_id).values()
    assert (row.state, row.error_code) == (ItemState.FAILED, "model_file_invalid")
    assert "reinstall" in (row.error_detail or "")


def test_a_process_without_models_starts_all_the_same(
    context: WorkerContext, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    settings = context.settings.model_copy(update={"home": tmp_path / "file"})
    WorkerContext.from_settings(settings)
    assert "model_cache_unusable" in capsys.readouterr().out


def test_a_job_cancelled_meanwhile_gets_no_result(
    kit: Kit, context: WorkerContext, store_photo: Callable
) -> None:
    job_id = kit.job(store_photo("p", jpeg()))
    chunks = kit.dispatch()
    with transaction(kit.database) as session:
        control.cancel_job(session, kit.tenant_id, job_id)
    for chunk in chunks:
        process_chunk(context, chunk)
    view = kit.view(job_id)
    assert (view.n_cancelled, view.n_no_face) == (1, 0)


def test_a_verification_whose_subject_is_gone_searches_nobody_else(
    kit: Kit, context: WorkerContext, store_photo: Callable, photos_dir: Path
) -> None:
    demo = photos_dir / "demo"
    gallery_id = enrolled_demo(kit, context, store_photo, demo / "people")
    with transaction(kit.database) as session:
        obama = session.execute(text("SELECT id FROM subject WHERE name = 'obama'")).scalar_one()
    photo = (demo / "photos" / "obama1.jpg").read_bytes()
    job_id = kit.job(
        store_photo("p", photo), kind=JobKind.VERIFY, gallery_id=gallery_id, subject_id=obama
    )
    with transaction(kit.database) as session:
        # What a deletion leaves of an item that was added while it ran.
        session.execute(text("UPDATE item SET subject_id = NULL WHERE name = 'p'"))
    run(kit, context)
    row = rows(kit, job_id)["p"]
    assert (row.state, row.error_code) == (ItemState.FAILED, "subject_not_found")
    assert [face.candidates for face in row.faces] == [()]


def test_a_photo_that_another_worker_searches_is_searched_by_no_second(
    kit: Kit, context: WorkerContext, store_photo: Callable
) -> None:
    photo = jpeg()
    kit.job(store_photo("first", photo))
    job_id = kit.job(store_photo("second", photo))
    others, chunk = kit.dispatch()
    (other,) = kit.claim(others)
    with transaction(kit.database) as session:
        sha256 = hashlib.sha256(photo).digest()
        assert begin_extracting(session, {sha256: other}, mine=[]) == {sha256}
    process_chunk(context, chunk)
    (row,) = rows(kit, job_id).values()
    assert (row.state, row.attempt) == (ItemState.QUEUED, 0)
    assert kit.dispatch() == []  # Not before the other may be through.

    with transaction(kit.database) as session:
        release(session, [other], delay_s=60)  # As if it had died, or stopped.
    process_chunk(context, chunk)
    (row,) = rows(kit, job_id).values()
    assert row.state is not ItemState.QUEUED
    with transaction(kit.database) as session:
        assert session.execute(text("SELECT count(*) FROM extracting")).scalar_one() == 0


def test_what_dead_workers_were_searching_is_forgotten(kit: Kit, store_photo: Callable) -> None:
    kit.job(store_photo("one", jpeg()))
    (chunk,) = kit.dispatch()
    (claim,) = kit.claim(chunk)
    with transaction(kit.database) as session:
        begin_extracting(session, {b"x" * 32: claim}, mine=[])
        assert forget_extracting(session) == 0
        release(session, [claim], delay_s=0)
        assert forget_extracting(session) == 1
