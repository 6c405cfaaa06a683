"""A folder goes into a job photo by photo, each once, and no more than a few batches are held."""

import os
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_kit import TinyApi, serving

import cli.submitting.folder
import facebatch.client.photos
from cli.progress import LineSteps, Step
from cli.scan import PhotoWalk
from cli.sending import Sender
from cli.submitting.folder import FolderPass
from cli.submitting.hashes import HashNotes
from cli.submitting.report import Report
from facebatch.client import Client
from facebatch.errors import ApiError

JOB = "0192f3b2-7d8e-7f90-8a1b-3c4d5e6f7081"


@pytest.fixture
def api() -> Iterator[TinyApi]:
    with serving(TinyApi(jobs={JOB: {}})) as api:
        yield api


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.submitting.folder, "BATCH", 8)
    monkeypatch.setattr(facebatch.client.photos, "SENT_AT_ONCE", 3)


class Folder:
    """Photos, the notes on them, and where they are to go."""

    def __init__(self, root: Path, api_url: str | None = None) -> None:
        self.photos, self.notes = root / "photos", root / "notes"
        for path in (self.photos, self.notes):
            path.mkdir()
        self._api_url = api_url

    def fill(self, count: int, *, of: int | None = None) -> None:
        """Files in several sub-folders; `of` so many different contents."""
        for n in range(count):
            path = self.photos / f"{n // 50}" / f"{n}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"%d" % (n % (of or count)))
            os.utime(path, (1, 1))

    def run(self, threads: int = 3) -> tuple[Report, str]:
        report = Report(as_json=False)
        with (
            Client(self._api_url or "http://127.0.0.1:1", patience_s=2) as client,
            HashNotes(self.notes) as notes,
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            Step(LineSteps(nowhere), "photos", 1) as step,
        ):
            sender = Sender(client=client, job_id=JOB) if self._api_url else None
            walk = PhotoWalk(self.photos)
            content = FolderPass(walk, notes, report, threads=threads, sender=sender).run(step)
            notes.settle()
        return report, content


def test_every_photo_goes_in_once_and_of_copies_one_is_sent(api: TinyApi, tmp_path: Path) -> None:
    folder = Folder(tmp_path, api.url)
    folder.fill(120, of=45)
    report, content = folder.run()
    assert (report.sent, report.known, report.n_refused) == (45, 75, 0)
    assert len(api.jobs[JOB]) == 120
    sent = [(folder.photos / name).read_bytes() for names in api.sent for name in names]
    assert Counter(sent) == Counter(b"%d" % n for n in range(45))
    assert max(map(len, api.sent)) == 3
    again, same = folder.run()
    assert (again.sent, again.known, same) == (0, 120, content)


def test_what_is_noted_is_not_read_again(
    api: TinyApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(tmp_path, api.url)
    folder.fill(20)
    _, content = folder.run()
    # Whoever reads a file falls over this.
    monkeypatch.setattr(cli.submitting.folder, "hashed", None)
    report, same = folder.run()
    assert (report.known, same) == (20, content)


def test_a_photo_that_is_refused_is_told_and_is_no_part_of_what_was_submitted(
    api: TinyApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path, api.url)
    folder.fill(20)
    (folder.photos / "0" / "nowhere.jpg").symlink_to(tmp_path / "absent")
    api.refuse = lambda name: "file_name_invalid" if name == "0/7.jpg" else None
    report, content = folder.run()
    assert report.refused == {"file_name_invalid": 1, "unreadable": 1}
    said = capsys.readouterr().err
    assert "0/7.jpg is not in the job: refused: file_name_invalid (file_name_invalid)" in said
    assert "0/nowhere.jpg is not in the job: " in said
    assert "0/7.jpg" not in api.jobs[JOB]
    api.refuse = lambda _name: None
    report, more = folder.run()
    assert (report.sent, report.known, more == content) == (1, 19, False)


def test_a_job_that_takes_no_more_ends_it(api: TinyApi, tmp_path: Path) -> None:
    folder = Folder(tmp_path, api.url)
    folder.fill(20)
    api.refuse = lambda _name: "job_sealed"
    with pytest.raises(ApiError, match="job_sealed"):
        folder.run()
    assert len(api.sent) <= 3 * 2 * 2


def test_no_more_than_a_few_batches_are_held(tmp_path: Path) -> None:
    peaks = []
    for number, count in enumerate((400, 400, 8000)):  # The first fills what is filled once.
        (tmp_path / str(number)).mkdir()
        folder = Folder(tmp_path / str(number))
        folder.fill(count)
        tracemalloc.start()
        folder.run()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 3 * peaks[1], peaks
