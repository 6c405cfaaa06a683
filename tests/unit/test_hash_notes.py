"""A folder's hashes are kept over interruptions, and believed only while the files are the same."""

import os
import stat
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cli.scan import PhotoWalk
from cli.submitting.hashes import HashNotes, Noted, Stamp

STAMP = Stamp(size_bytes=3, mtime_ns=10**18, inode=7)
NAMES = ("a.jpg", "b/1.jpg", "b/c/2.jpg", "b0/3.jpg")


def noted(relative: str, sha256: str = "5a") -> Noted:
    return Noted(relative=relative, stamp=STAMP, sha256=sha256)


def note(folder: Path, *some: Noted, whole: bool) -> None:
    with HashNotes(folder) as notes:
        for one in some:
            notes.note(one)
        if whole:
            notes.settle()


def known(folder: Path, names: Sequence[str] = NAMES) -> list[str | None]:
    with HashNotes(folder) as notes:
        return [notes.known(name, STAMP) for name in names]


def test_a_whole_walk_is_remembered_and_what_it_did_not_meet_forgotten(tmp_path: Path) -> None:
    note(tmp_path, *map(noted, NAMES), whole=True)
    assert known(tmp_path) == ["5a"] * 4
    note(tmp_path, noted("b/1.jpg"), whole=True)
    assert known(tmp_path) == [None, "5a", None, None]


def test_a_walk_that_broke_off_adds_to_the_last_and_its_notes_count(tmp_path: Path) -> None:
    note(tmp_path, *map(noted, NAMES[1:]), whole=True)
    note(tmp_path, noted("a.jpg", "01"), noted("b/1.jpg", "02"), whole=False)
    note(tmp_path, whole=False)
    assert known(tmp_path) == ["01", "02", "5a", "5a"]


def test_a_line_that_was_not_written_whole_ends_the_notes(tmp_path: Path) -> None:
    note(tmp_path, *map(noted, NAMES), whole=False)
    part = tmp_path / "hashes.part"
    os.truncate(part, part.stat().st_size - 20)
    assert known(tmp_path) == ["5a", "5a", "5a", None]


@pytest.mark.parametrize("name", ["size_bytes", "mtime_ns", "inode"])
def test_a_file_that_is_another_by_now_is_read_again(tmp_path: Path, name: str) -> None:
    note(tmp_path, noted("a.jpg"), whole=True)
    with HashNotes(tmp_path) as notes:
        assert notes.known("a.jpg", replace(STAMP, **{name: 1})) is None


def test_a_file_that_has_just_changed_is_not_noted(tmp_path: Path) -> None:
    fresh = replace(STAMP, mtime_ns=time.time_ns())
    note(tmp_path, replace(noted("a.jpg"), stamp=fresh), whole=True)
    with HashNotes(tmp_path) as notes:
        assert notes.known("a.jpg", fresh) is None


def test_every_name_is_found_again_in_the_order_of_a_walk(tmp_path: Path) -> None:
    photos, notes = tmp_path / "photos", tmp_path / "notes"
    notes.mkdir()
    odd = (
        "new\nline.jpg",
        os.fsdecode(b"\xff.jpg"),
        "\U0001f600/\u00e9.jpg",
        "a.jpg/b.jpg",
        "Z.jpg",
    )
    for name in (*odd, "a/b/c.jpg", "a b.jpg", "a!/b.jpg", "a/b.jpg", "a/b!.jpg"):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).touch()
    found = list(PhotoWalk(photos))
    assert len(found) == 10
    note(notes, *map(noted, found), whole=True)
    assert known(notes, found) == ["5a"] * 10
    # Two that lie far apart are found as well, and those between them passed over.
    assert known(notes, [found[1], found[8]]) == ["5a"] * 2


def test_nobody_else_can_read_them(tmp_path: Path) -> None:
    note(tmp_path, noted("a.jpg"), whole=True)
    note(tmp_path, noted("a.jpg"), whole=False)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"hashes": 0o600, "hashes.part": 0o600}
