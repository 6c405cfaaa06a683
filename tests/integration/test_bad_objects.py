"""An object that its bucket does not give costs one photo, or one source, and nobody else."""

import hashlib
import json
import uuid
from collections.abc import Iterator

import pytest
from api_kit import image
from bucket_kit import EVERYTHING, Front, Refused, in_front_of
from ledger_kit import Kit
from source_kit import Lister, at_key, prefix
from sqlalchemy import text

from db import control
from db.models import Item
from db.session import transaction
from db.settings import Settings
from db.states import JobState, SourceKind, SourceState
from db.storage import ObjectStore
from db.views import NewItem
from workers.context import WorkerContext
from workers.stages.chunk import process_chunk

NAMES = ("0.png", "1.png", "2.png", "bad.png", "4.png")
INTERNAL = Refused(status=500, code="InternalError")


@pytest.fixture
def front(settings: Settings) -> Iterator[Front]:
    # A short lease lets an object that is not given be left soon.
    with in_front_of(settings.model_copy(update={"lease_s": 0.8})) as front:
        yield front


@pytest.fixture
def lister(kit: Kit, front: Front) -> Lister:
    store = ObjectStore.from_settings(front.settings)
    return Lister(kit=kit, settings=front.settings, store=store)


def filled(lister: Lister, *names: str) -> str:
    """A folder with photos of nobody, each of its own bytes."""
    folder = lister.folder()
    for name in names:
        lister.store.put(folder + name, [image(64, 64), name.encode(), folder.encode()])
    return folder


def listed(lister: Lister, *names: str) -> uuid.UUID:
    """A job with the photos of such a folder."""
    job_id = lister.job(prefix(filled(lister, *names)))
    lister.list_all()
    return job_id


def of_lines(lister: Lister, *lines: dict[str, str]) -> uuid.UUID:
    """A job with what a manifest of these lines names."""
    key = lister.file("\n".join(map(json.dumps, lines)).encode())
    job_id = lister.job(at_key(SourceKind.MANIFEST, key))
    lister.list_all()
    return job_id


def run(lister: Lister) -> None:
    """What is due, once."""
    context: WorkerContext = lister.context
    for chunk in lister.kit.dispatch():
        process_chunk(context, chunk)


def retry(lister: Lister, job_id: uuid.UUID) -> None:
    with transaction(lister.kit.database) as session:
        assert control.retry_job(session, lister.kit.tenant_id, job_id) == 1


def make_due(lister: Lister) -> None:
    lister.execute("UPDATE item SET due_at = now() WHERE state = 'queued'")


def items(lister: Lister, job_id: uuid.UUID) -> dict[str, Item]:
    return {one.name.rpartition("/")[2]: one for one in lister.items(job_id)}


def ends(lister: Lister, job_id: uuid.UUID) -> dict[str, tuple[str, str | None]]:
    return {name: (one.state.value, one.error_code) for name, one in items(lister, job_id).items()}


GOOD = {name: ("no_face", None) for name in NAMES if name != "bad.png"}


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        (Refused(status=400, code="InvalidRequest"), "InvalidRequest"),
        (Refused(status=400, code="KeyTooLongError"), "KeyTooLongError"),
        (Refused(status=403, code="InvalidObjectState"), "InvalidObjectState"),
        (Refused(status=405, code=""), "status 405"),
    ],
)
def test_a_photo_that_the_bucket_refuses_for_good_fails_at_once_and_alone(
    lister: Lister, front: Front, refused: Refused, told: str
) -> None:
    job_id = listed(lister, *NAMES)
    front.refused["bad.png"] = refused
    run(lister)
    assert ends(lister, job_id) == {**GOOD, "bad.png": ("failed", "object_refused")}
    detail = items(lister, job_id)["bad.png"].error_detail
    assert detail == f"the bucket refuses to give the object: {told}"
    assert lister.kit.view(job_id).state is JobState.PARTIALLY_FAILED


@pytest.mark.parametrize("key", ["a//bad.png", "bad.png"])
def test_a_refusal_is_told_from_a_fault_whichever_client_asks(
    lister: Lister, front: Front, key: str
) -> None:
    job_id = of_lines(lister, {"key": filled(lister) + key, "id": "bad.png"})
    front.refused["bad.png"] = Refused(status=400, code="InvalidRequest")
    run(lister)
    assert ends(lister, job_id) == {"bad.png": ("failed", "object_refused")}


@pytest.mark.parametrize(
    "refused",
    [
        INTERNAL,
        Refused(status=503, code="SlowDown"),
        Refused(status=429, code=""),
        Refused(status=400, code="ExpiredToken"),
        Refused(status=403, code="AccessDenied"),
    ],
)
def test_a_photo_that_alone_is_not_given_waits_and_its_neighbours_do_not(
    lister: Lister, front: Front, refused: Refused
) -> None:
    stored = [
        lister.store.put(f"{uuid.uuid4()}/{name}", [image(64, 64), name.encode()]) for name in NAMES
    ]
    job_id = lister.kit.job(
        *(
            NewItem(
                name=name,
                client_id=name,
                sha256=one.sha256,
                size_bytes=one.size_bytes,
                object_key=one.key,
            )
            for name, one in zip(NAMES, stored, strict=True)
        )
    )
    front.refused["bad.png"] = refused
    run(lister)
    assert ends(lister, job_id) == {**GOOD, "bad.png": ("queued", None)}
    assert items(lister, job_id)["bad.png"].attempt == 1
    assert lister.kit.dispatch() == []  # Not now.
    make_due(lister)
    front.refused.clear()
    run(lister)
    assert lister.kit.view(job_id).state is JobState.SUCCEEDED


def waits_s(lister: Lister) -> float:
    with transaction(lister.kit.database) as session:
        query = "SELECT extract(epoch FROM due_at - now()) FROM item WHERE state = 'queued'"
        return float(session.execute(text(query)).scalar_one())


def test_a_photo_that_is_never_given_ends_with_its_own_code(lister: Lister, front: Front) -> None:
    job_id = listed(lister, *NAMES)
    front.refused["bad.png"] = INTERNAL
    waited_s = []
    for _ in range(lister.settings.max_attempts - 1):
        run(lister)
        assert ends(lister, job_id) == {**GOOD, "bad.png": ("queued", None)}
        waited_s.append(waits_s(lister))
        make_due(lister)
    first_s, second_s = waited_s
    assert second_s > 2 * first_s > 0
    assert second_s < 300  # Or what is healed would be done too late.
    run(lister)
    assert ends(lister, job_id) == {**GOOD, "bad.png": ("failed", "object_unreadable")}
    assert lister.kit.view(job_id).state is JobState.PARTIALLY_FAILED


@pytest.mark.parametrize("method", [None, "GET", "PUT"])
def test_a_bucket_that_is_away_counts_no_attempt_even_of_a_photo_that_was_not_given(
    lister: Lister, front: Front, method: str | None
) -> None:
    job_id = listed(lister, *NAMES)
    late_folder = filled(lister, *NAMES)
    front.refused["bad.png"] = INTERNAL
    run(lister)
    front.refused.clear()
    late = lister.job(prefix(late_folder))
    lister.list_all()
    front.refused[EVERYTHING] = Refused(status=500, code="InternalError", method=method)
    if method == "PUT":
        front.refused["png"] = INTERNAL
    for _ in range(lister.settings.max_attempts + 1):
        make_due(lister)
        run(lister)
    assert items(lister, job_id)["bad.png"].attempt == 1
    assert {one.attempt for one in lister.items(late)} == {0}
    front.refused.clear()
    make_due(lister)
    run(lister)
    assert lister.kit.view(job_id).state is JobState.SUCCEEDED
    assert lister.kit.view(late).state is JobState.SUCCEEDED


@pytest.mark.parametrize("kind", [SourceKind.ARCHIVE, SourceKind.MANIFEST])
@pytest.mark.parametrize("method", [None, "GET"])
def test_a_source_that_the_bucket_refuses_for_good_fails_with_its_own_code(
    lister: Lister, front: Front, kind: SourceKind, method: str | None
) -> None:
    job_id = lister.job(at_key(kind, lister.file(b"{}")))
    front.refused["/file"] = Refused(status=400, code="KeyTooLongError", method=method)
    lister.list_all()
    (view,) = lister.views(job_id)
    assert (view.state, view.error_code) == (SourceState.FAILED, "source_refused")
    assert view.error_detail == "the bucket refuses to give the object: KeyTooLongError"


def make_sources_due(lister: Lister) -> None:
    lister.execute("UPDATE source SET due_at = now() WHERE state = 'queued'")


def test_a_source_that_is_never_given_ends_with_its_own_code(lister: Lister, front: Front) -> None:
    folder = filled(lister, *NAMES)
    lines = "\n".join(json.dumps({"key": folder + name}) for name in NAMES)
    job_id = lister.job(at_key(SourceKind.MANIFEST, lister.file(lines.encode())))
    front.refused["/file"] = INTERNAL
    for _ in range(lister.settings.max_attempts - 1):
        lister.list_all()
        assert lister.views(job_id)[0].state is SourceState.QUEUED
        make_sources_due(lister)
    lister.list_all()
    (view,) = lister.views(job_id)
    assert (view.state, view.error_code) == (SourceState.FAILED, "source_unreadable")
    assert lister.kit.view(job_id).state is JobState.FAILED


def test_a_source_in_a_bucket_that_is_away_waits_for_as_long_as_it_is(
    lister: Lister, front: Front
) -> None:
    job_id = lister.job(prefix(filled(lister, *NAMES)))
    front.refused[EVERYTHING] = INTERNAL
    for _ in range(lister.settings.max_attempts + 1):
        make_sources_due(lister)
        lister.list_all()
    assert lister.views(job_id)[0].state is SourceState.QUEUED
    front.refused.clear()
    make_sources_due(lister)
    lister.list_all()
    assert len(lister.items(job_id)) == len(NAMES)


def test_keys_that_have_expired_are_no_fault_of_a_source(lister: Lister, front: Front) -> None:
    job_id = lister.job(at_key(SourceKind.MANIFEST, lister.file(b"{}")))
    front.refused["/file"] = Refused(status=400, code="ExpiredToken")
    lister.list_all()
    assert lister.views(job_id)[0].state is SourceState.QUEUED


def test_a_photo_of_a_manifest_is_the_one_that_was_read_first(lister: Lister) -> None:
    folder = filled(lister, "good.png")
    cut = image(640, 480)[:600]
    lister.store.put(f"{folder}bad.png", [cut])
    job_id = of_lines(lister, *({"key": folder + name} for name in ("good.png", "bad.png")))
    run(lister)
    assert ends(lister, job_id)["bad.png"] == ("failed", "image_truncated")
    lister.store.put(f"{folder}bad.png", [image(64, 64)])
    retry(lister, job_id)
    run(lister)
    assert ends(lister, job_id)["bad.png"] == ("failed", "object_changed")
    # Submitted again, it is another photo.
    again = of_lines(lister, {"key": f"{folder}bad.png"})
    run(lister)
    assert ends(lister, again) == {"bad.png": ("no_face", None)}
    hashes = {photo.sha256 for photo in lister.photos().values()}
    assert {hashlib.sha256(one).digest() for one in (cut, image(64, 64))} < hashes


def test_of_no_object_more_is_asked_for_than_a_photo_may_have(lister: Lister, front: Front) -> None:
    folder = filled(lister, "bad.png")
    job_id = of_lines(lister, {"key": f"{folder}bad.png"})
    lister = lister.with_settings(max_upload_bytes=50_000)
    lister.store.put(f"{folder}bad.png", [image(640, 480)[:600]])
    run(lister)
    lister.store.put(f"{folder}bad.png", [b"x" * 60_000])
    retry(lister, job_id)
    run(lister)
    listed(lister, *NAMES)
    run(lister)
    asked = {key: spans for key, spans in front.spans.items() if key.endswith(".png")}
    assert len(asked) == 1 + len(NAMES)
    assert {span for spans in asked.values() for span in spans} == {"bytes=0-50000"}
