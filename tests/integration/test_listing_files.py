"""Listing what a file tells of: a zip's directory, a manifest's lines, another job's photos."""

import hashlib
import json
import zipfile
from dataclasses import replace

import pytest
from ledger_kit import done, item, photo_of
from source_kit import Lister, at_key, zipped

from db import erase, erase_jobs
from db.errors import JobNotFoundError
from db.session import transaction
from db.sources import NewSource
from db.states import ItemState, JobState, SourceKind, SourceState
from workers.sources import archive, lines, manifest, other_job
from workers.stages import listing as stage

PHOTO = b"\xff\xd8\xff a photo"


def of_zip(lister: Lister, data: bytes) -> NewSource:
    return at_key(SourceKind.ARCHIVE, lister.file(data))


def of_lines(lister: Lister, *told: object, end: str = "\n", start: str = "") -> NewSource:
    text = start + end.join(one if isinstance(one, str) else json.dumps(one) for one in told)
    return at_key(SourceKind.MANIFEST, lister.file(text.encode()))


def turn_by_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page has two entries, and a turn one page."""
    monkeypatch.setattr(stage, "TURN_S", 0)
    monkeypatch.setattr(stage, "TURN_PREPARATIONS", 0)
    monkeypatch.setattr(archive, "PAGE_ITEMS", 2)
    monkeypatch.setattr(manifest, "PAGE_LINES", 2)
    monkeypatch.setattr(other_job, "PAGE_ITEMS", 2)


def failure(lister: Lister, new: NewSource) -> str:
    """The code with which the source fails; nothing of it is taken, and its job fails."""
    job_id = lister.job(new)
    lister.list_all()
    (view,) = lister.views(job_id)
    assert view.error_detail
    assert (view.state, lister.ids(job_id)) == (SourceState.FAILED, [])
    assert lister.kit.view(job_id).state is JobState.FAILED
    return str(view.error_code)


def test_the_photos_in_a_zip_become_items_and_lie_where_they_are(lister: Lister) -> None:
    data = zipped(
        {"a.jpg": PHOTO, "b/": b"", "b/c.jpg": PHOTO * 9, "notes.txt": b"n", "d.jpg": b""}
    )
    source = of_zip(lister, data)
    job_id = lister.job(source)
    lister.list_all()
    items = {one.client_id: one for one in lister.items(job_id)}
    assert {name: one.error_code for name, one in items.items()} == {
        "a.jpg": None,
        "b/c.jpg": None,
        "d.jpg": "empty_file",
    }
    (view,) = lister.views(job_id)
    assert (view.state, view.n_items, view.n_skipped) == (SourceState.DONE, 3, 1)
    photo = lister.photos()[items["b/c.jpg"].photo_id]
    with zipfile.ZipFile(lister.opened(source.object_key)) as opened:
        info = opened.getinfo("b/c.jpg")
    assert (photo.bucket, photo.object_key, photo.archive_id) == (
        "facebatch",
        source.object_key,
        None,
    )
    assert (
        photo.entry_offset, photo.entry_packed_bytes, photo.size_bytes, photo.entry_method,
        photo.entry_crc32, photo.entry_name,
    ) == (
        info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC,
        "b/c.jpg",
    )  # fmt: skip
    assert photo.etag == lister.store.head(source.object_key).etag


@pytest.mark.parametrize("kind", [SourceKind.ARCHIVE, SourceKind.MANIFEST, SourceKind.JOB])
def test_a_listing_of_many_turns_misses_nothing_and_has_nothing_twice(
    lister: Lister, monkeypatch: pytest.MonkeyPatch, kind: SourceKind
) -> None:
    names = [f"{n}.jpg" for n in range(7)]
    folder = lister.folder()
    new = {
        SourceKind.ARCHIVE: lambda: of_zip(lister, zipped(dict.fromkeys(names, PHOTO))),
        SourceKind.MANIFEST: lambda: of_lines(
            lister, *({"key": folder + name, "id": name} for name in names)
        ),
        SourceKind.JOB: lambda: NewSource(kind=kind, from_job_id=finished_job(lister, *names)),
    }[kind]()
    turn_by_turn(monkeypatch)
    job_id = lister.job(new)
    turns = 0
    while found := lister.due():
        stage.list_source(lister.context, found[0])
        turns += 1
    assert turns == 5
    assert lister.ids(job_id) == names


def test_a_zip_that_changes_while_it_is_listed_fails_and_keeps_what_was_listed(
    lister: Lister, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_by_turn(monkeypatch)
    source = of_zip(lister, zipped({f"{n}.jpg": PHOTO for n in range(4)}))
    job_id = lister.job(source)
    stage.list_source(lister.context, lister.due()[0])
    lister.store.put(source.object_key, [zipped({f"{n}.png": PHOTO for n in range(9)})])
    lister.list_all()
    assert lister.ids(job_id) == ["0.jpg", "1.jpg"]
    assert lister.views(job_id)[0].error_code == "source_changed"


def test_what_is_no_zip_or_not_there_is_refused_with_its_reason(lister: Lister) -> None:
    whole = zipped({"a.jpg": PHOTO})
    assert failure(lister, of_zip(lister, PHOTO)) == "archive_not_zip"
    assert failure(lister, of_zip(lister, whole[:-9])) == "archive_truncated"
    assert failure(lister, of_zip(lister, zipped({"a.txt": b"a"}))) == "archive_without_photos"
    absent = at_key(SourceKind.ARCHIVE, f"{lister.folder()}absent.zip")
    assert failure(lister, absent) == "source_missing"


def test_a_zip_beyond_the_settings_is_refused(lister: Lister) -> None:
    new = of_zip(lister, zipped({"a.jpg": PHOTO, "b.jpg": PHOTO}))
    for update, code in (
        ({"max_archive_entries": 1}, "archive_too_many_entries"),
        ({"max_archive_bytes": 20}, "archive_too_large"),
    ):
        assert failure(lister.with_settings(**update), new) == code


def test_a_manifest_gives_objects_the_clients_own_ids(lister: Lister) -> None:
    folder = lister.folder()
    job_id = lister.job(
        of_lines(
            lister,
            {"key": f"{folder}a", "id": "one", "name": "The first.jpg"},
            "",
            {"key": f"{folder}b.jpg"},
            start="\ufeff",
            end="\r\n",
        )
    )
    lister.list_all()
    first, second = lister.items(job_id)
    assert (first.client_id, first.name, first.source_key) == (
        "one",
        "The first.jpg",
        f"{folder}a",
    )
    assert (second.client_id, second.name) == (f"{folder}b.jpg", f"{folder}b.jpg")
    photo = lister.photos()[first.photo_id]
    assert (photo.bucket, photo.object_key, photo.etag) == ("facebatch", f"{folder}a", None)
    assert lister.kit.view(job_id).n_items == 2


def test_a_line_whose_bytes_are_known_needs_no_reading(lister: Lister) -> None:
    lister.kit.job(item("known"))
    sha256 = hashlib.sha256(b"known").hexdigest()
    key = f"{lister.folder()}a"
    job_id = lister.job(of_lines(lister, {"key": key, "sha256": sha256}))
    lister.list_all()
    photo = lister.photos()[lister.items(job_id)[0].photo_id]
    assert photo.sha256 == bytes.fromhex(sha256)


BAD_LINES = {
    "no JSON": '{"key": ',
    "no object": "[1]",
    "no key": '{"id": "a"}',
    "an unknown member": '{"key": "KEY", "subject": "x"}',
    "a member twice": '{"key": "KEY", "key": "KEY"}',
    "a number for a key": '{"key": 1}',
    "an empty key": '{"key": ""}',
    "a hash that is none": '{"key": "KEY", "sha256": "abc"}',
    "a name with a control character": '{"key": "KEY", "name": "a\\u0007b"}',
    "half a character": '{"key": "KEY", "id": "\\ud800"}',
    "a zero byte in its key": '{"key": "FOLDER\\u0000"}',
    "a zero byte in its key, beside an id": '{"key": "FOLDER\\u0000", "id": "a"}',
    "half a character in its key": '{"key": "FOLDER\\ud800", "id": "a"}',
    "a key of too many bytes": '{"key": "FOLDER' + 512 * "\u00e4" + '", "id": "a"}',
    "a long id": '{"key": "KEY", "id": "' + 501 * "x" + '"}',
    "a long line": '{"key": "KEY", "name": "' + lines.MAX_LINE_BYTES * " " + '"}',
    "deep nesting": 10_000 * "[",
    "a place of a stranger": '{"key": "sources/stranger/a.jpg"}',
    "a way out": '{"key": "FOLDER../../stranger/a.jpg"}',
    "another bucket": '{"key": "KEY", "bucket": "elsewhere"}',
}


@pytest.mark.parametrize("what", BAD_LINES)
def test_a_bad_line_costs_one_item(lister: Lister, what: str) -> None:
    folder = lister.folder()
    bad = BAD_LINES[what].replace("KEY", f"{folder}bad").replace("FOLDER", folder)
    job_id = lister.job(of_lines(lister, {"key": f"{folder}a"}, bad, {"key": f"{folder}b"}))
    lister.list_all()
    first, failed, last = lister.items(job_id)
    assert (first.state, last.state) == (ItemState.QUEUED, ItemState.QUEUED)
    assert (failed.name, failed.client_id) == ("line 2", None)
    assert failed.error_code == "manifest_line_invalid"
    assert failed.error_detail.startswith("line 2 of the manifest ")
    assert lister.views(job_id)[0].state is SourceState.DONE


def test_bytes_that_are_no_text_cost_one_item(lister: Lister) -> None:
    key = lister.file(b'{"key": "\xff"}\n')
    job_id = lister.job(at_key(SourceKind.MANIFEST, key))
    lister.list_all()
    assert lister.items(job_id)[0].error_detail == "line 1 of the manifest is not in UTF-8"


def test_an_empty_manifest_fails(lister: Lister) -> None:
    assert failure(lister, of_lines(lister, "", "")) == "source_empty"


def test_a_manifest_that_was_sent_to_us_goes_when_it_is_listed(lister: Lister) -> None:
    key = of_lines(lister, {"key": f"{lister.folder()}a"}).object_key
    job_id = lister.job(NewSource(kind=SourceKind.MANIFEST, object_key=key))
    lister.list_all()
    assert lister.views(job_id)[0].state is SourceState.DONE
    with transaction(lister.kit.database) as session:
        assert erase.doomed_objects(session) == [key]


def finished_job(lister: Lister, *names: str) -> object:
    job_id = lister.kit.job(*(item(name) for name in names))
    lister.kit.record(*(done(one, photo_of(1)) for one in lister.kit.claim_all()))
    return job_id


def test_another_jobs_photos_are_the_same_photos(lister: Lister) -> None:
    other = finished_job(lister, "a", "b")
    lister.execute("UPDATE item SET photo_id = NULL WHERE name = 'b'")
    job_id = lister.job(NewSource(kind=SourceKind.JOB, from_job_id=other))
    lister.list_all()
    (before, _), (after,) = lister.items(other), lister.items(job_id)
    assert (after.photo_id, after.client_id, after.name) == (before.photo_id, "a", "a")
    (claimed,) = lister.kit.claim_all()
    assert claimed.extraction_id == before.extraction_id


def test_another_job_that_is_deleted_before_it_is_listed_fails_the_source(lister: Lister) -> None:
    other = finished_job(lister, "a")
    job_id = lister.job(NewSource(kind=SourceKind.JOB, from_job_id=other))
    with transaction(lister.kit.database) as session:
        erase.delete_job(session, lister.kit.tenant_id, other)
    lister.list_all()
    assert lister.views(job_id)[0].error_code == "source_missing"


def test_another_job_that_is_being_deleted_while_it_is_listed_fails_the_source(
    lister: Lister, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_by_turn(monkeypatch)
    monkeypatch.setattr(erase_jobs, "BATCH_ITEMS", 3)
    other = finished_job(lister, "a", "b", "c", "d")
    job_id = lister.job(NewSource(kind=SourceKind.JOB, from_job_id=other))
    for source_id in lister.due():
        stage.list_source(lister.context, source_id)
    with transaction(lister.kit.database) as session:
        erase_jobs.begin_delete(session, lister.kit.tenant_id, other)
        erase_jobs.delete_some(session, other)
    lister.list_all()
    assert lister.ids(job_id) == ["a", "b"]
    assert lister.views(job_id)[0].error_code == "source_missing"
    with pytest.raises(JobNotFoundError):
        lister.views(other)
    with pytest.raises(JobNotFoundError):
        lister.job(NewSource(kind=SourceKind.JOB, from_job_id=other))


@pytest.mark.parametrize("bucket", ["facebatch", None])
def test_a_manifest_that_is_added_again_brings_what_is_new(
    lister: Lister, bucket: str | None
) -> None:
    folder = lister.folder()
    told = [{"key": f"{folder}{name}", "id": name, "bucket": "facebatch"} for name in "abc"]
    job_id = lister.kit.job(seal=False)
    for some in (told[:2], told):
        lister.add(job_id, replace(of_lines(lister, *some), bucket=bucket))
        lister.list_all()
    # One of the photos has turned out to be another's bytes since.
    lister.execute("UPDATE item SET photo_id = NULL WHERE name = 'a'")
    lister.add(job_id, of_lines(lister, *told))
    lister.list_all()
    assert [(one.client_id, one.error_code) for one in lister.items(job_id)] == [
        ("a", None),
        ("b", None),
        ("c", None),
    ]


@pytest.mark.parametrize("page_lines", [1, 1000])
def test_a_line_that_comes_twice_is_one_photo_and_its_id_no_other_photos(
    lister: Lister, monkeypatch: pytest.MonkeyPatch, page_lines: int
) -> None:
    monkeypatch.setattr(manifest, "PAGE_LINES", page_lines)
    folder = lister.folder()
    keys = [f"{folder}{name}" for name in ("a", "a", "b")]
    job_id = lister.job(of_lines(lister, *({"key": key, "id": "one"} for key in keys)))
    lister.list_all()
    assert [(one.client_id, one.error_code) for one in lister.items(job_id)] == [
        ("one", None),
        (None, "duplicate_item"),
    ]
