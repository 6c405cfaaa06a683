"""Photos go into a job once each: by hash where the server knows them, else whole."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_kit import TinyApi, serving

import facebatch.client.photos
from cli.sending import PhotoFile
from cli.submission import Submission
from facebatch.client import Client

JOB = "0192f3b2-7d8e-7f90-8a1b-3c4d5e6f7081"


@pytest.fixture
def api() -> Iterator[TinyApi]:
    with serving(TinyApi(jobs={JOB: {}})) as api:
        yield api


@pytest.fixture
def submission(api: TinyApi) -> Iterator[Submission]:
    with Client(api.url, patience_s=2) as client:
        yield Submission(client=client, job_id=JOB)


def photos(folder: Path, *names: str) -> list[PhotoFile]:
    """Files whose bytes are their names."""
    for name in names:
        (folder / name).write_bytes(name.encode())
    return [PhotoFile(client_id=name, path=folder / name) for name in names]


def test_known_photos_travel_as_hashes_and_the_others_whole(
    api: TinyApi, submission: Submission, tmp_path: Path
) -> None:
    submission.add(photos(tmp_path, "a", "b"))
    assert api.sent == [["a", "b"]]
    submission.add(photos(tmp_path, "b", "c"))
    assert api.sent == [["a", "b"], ["c"]]
    assert list(api.jobs[JOB]) == ["a", "b", "c"]
    assert (submission.sent, submission.refused) == (4, {})


def test_requests_hold_a_bounded_number_of_photos(
    api: TinyApi, submission: Submission, tmp_path: Path
) -> None:
    names = [f"{n:03}" for n in range(70)]
    submission.add(photos(tmp_path, *names))
    assert [len(sent) for sent in api.sent] == [64, 6]
    assert list(api.jobs[JOB]) == names


def test_requests_hold_a_bounded_number_of_bytes(
    api: TinyApi, submission: Submission, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facebatch.client.photos, "SENT_BYTES", 5)
    submission.add(photos(tmp_path, "aaa", "bbb", "cccccccc", "d"))
    assert api.sent == [["aaa", "bbb"], ["cccccccc"], ["d"]]


def test_progress_is_told_after_each_batch(submission: Submission, tmp_path: Path) -> None:
    told: list[int] = []
    submission.add(photos(tmp_path, *(f"{n:03}" for n in range(70))), progress=told.append)
    assert told == [64, 70]


def test_photos_may_come_from_an_iterator(
    api: TinyApi, submission: Submission, tmp_path: Path
) -> None:
    submission.add(iter(photos(tmp_path, "a", "b")))
    assert list(api.jobs[JOB]) == ["a", "b"]


def test_files_that_cannot_be_read_are_refused_and_the_others_sent(
    api: TinyApi, submission: Submission, tmp_path: Path
) -> None:
    good = photos(tmp_path, "good")
    (tmp_path / "folder").mkdir()
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    os.mkfifo(tmp_path / "pipe")
    bad = ["absent", "folder", "nowhere", "circle", "pipe"]
    files = [PhotoFile(client_id=name, path=tmp_path / name) for name in bad]
    submission.add([*files, *good])
    assert submission.refused == dict.fromkeys(bad, "unreadable")
    assert list(api.jobs[JOB]) == ["good"]


def test_a_batch_of_nothing_but_unreadable_files_asks_for_nothing(
    api: TinyApi, submission: Submission, tmp_path: Path
) -> None:
    submission.add([PhotoFile(client_id="a", path=tmp_path / "absent")])
    assert (submission.refused, submission.sent) == ({"a": "unreadable"}, 1)
    assert api.sent == []


def test_a_refused_photo_takes_no_neighbour_along(
    api: TinyApi, submission: Submission, tmp_path: Path
) -> None:
    api.refuse = lambda name: "file_name_invalid" if name == "b" else None
    submission.add(photos(tmp_path, "a", "b", "c"))
    assert submission.refused == {"b": "file_name_invalid"}
    assert list(api.jobs[JOB]) == ["a", "c"]
    assert api.sent == [["a", "b", "c"], ["a"], ["b"], ["c"]]


def test_a_file_that_goes_between_hashing_and_sending_takes_no_neighbour_along(
    api: TinyApi, submission: Submission, tmp_path: Path
) -> None:
    files = photos(tmp_path, "a", "b")

    def vanish(_name: str) -> str | None:
        # The first request is refused, and the file is gone when its photos are sent one by one.
        if len(api.sent) > 1:
            return None
        (tmp_path / "b").unlink()
        return "once"

    api.refuse = vanish
    submission.add(files)
    assert submission.refused == {"b": "unreadable"}
    assert list(api.jobs[JOB]) == ["a"]
