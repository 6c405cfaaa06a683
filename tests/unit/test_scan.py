"""Folders of people and of photos are read as a user would."""

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.scan import FolderError, PhotoWalk, find_people, find_photos, open_photo, walk_order


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_photos_are_found_however_deep_and_come_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "b.jpg", "a/z.PNG", "a/b/c.JPeG", "a.webp", "d.heic", "e.gif")
    found = find_photos(tmp_path)
    assert found.relative == ("a.webp", "a/b/c.JPeG", "a/z.PNG", "b.jpg", "d.heic", "e.gif")
    assert found.path("a/z.PNG").is_file()
    assert (found.left_out, found.linked) == (0, ())


def test_what_is_no_photo_is_counted_and_what_is_hidden_is_not_seen(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "notes.txt", "b/jpg", ".c.jpg", ".thumbs/d.jpg", "b/.e/f.txt")
    found = find_photos(tmp_path)
    assert (found.relative, found.left_out) == (("a.jpg",), 2)


def test_odd_names_are_kept_as_they_are(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff\n.jpg")
    touch(tmp_path, "new\nline.jpg", "\u00e9.jpg", "e\u0301.jpg", "\U0001f600.jpg", odd, "%22.jpg")
    assert set(find_photos(tmp_path).relative) == {
        "new\nline.jpg",
        "\u00e9.jpg",
        "e\u0301.jpg",
        "\U0001f600.jpg",
        odd,
        "%22.jpg",
    }


def test_a_linked_photo_is_a_photo_and_a_broken_link_is_not_lost(tmp_path: Path) -> None:
    touch(tmp_path / "photos", "a.jpg")
    (tmp_path / "photos" / "b.jpg").symlink_to(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "c.jpg").symlink_to(tmp_path / "absent")
    assert find_photos(tmp_path / "photos").relative == ("a.jpg", "b.jpg", "c.jpg")


def test_a_linked_folder_is_named_and_not_followed(tmp_path: Path) -> None:
    touch(tmp_path / "photos", "a.jpg", "sub/b.jpg")
    circle = tmp_path / "photos" / "sub" / "circle"
    circle.symlink_to(tmp_path / "photos")
    found = find_photos(tmp_path / "photos")
    assert (found.relative, found.linked) == (("a.jpg", "sub/b.jpg"), (circle,))


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    touch(tmp_path / "real", "a.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert find_photos(tmp_path / "link").relative == ("a.jpg",)


@pytest.mark.parametrize("find", [find_photos, find_people])
def test_a_folder_with_nothing_to_work_on_is_refused(tmp_path: Path, find: object) -> None:
    touch(tmp_path, "empty/.hidden.jpg", "file.txt")
    for folder in (".", "empty", "file.txt", "absent"):
        with pytest.raises(FolderError, match=re.escape(str(tmp_path / folder))):
            find(tmp_path / folder)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Closes a folder to everybody: what its mode says, root would not be told."""
    scandir = os.scandir

    def close(folder: Path) -> None:
        def refusing(path: os.PathLike[str] | str) -> object:
            if Path(path) == folder:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)

    return close


@pytest.mark.parametrize("find", [find_photos, find_people])
def test_a_folder_that_cannot_be_read_is_refused(
    tmp_path: Path, closed: Callable[[Path], None], find: object
) -> None:
    touch(tmp_path, "a.jpg")
    closed(tmp_path)
    with pytest.raises(FolderError, match=f"{tmp_path} cannot be read: Permission denied"):
        find(tmp_path)


def test_one_folder_that_cannot_be_read_does_not_hide_the_others(
    tmp_path: Path, closed: Callable[[Path], None]
) -> None:
    touch(tmp_path, "a.jpg", "closed/b.jpg", "open/c.jpg")
    closed(tmp_path / "closed")
    reason = f"{tmp_path / 'closed'} cannot be read: Permission denied"
    photos = find_photos(tmp_path)
    assert (photos.relative, photos.unreadable) == (("a.jpg", "open/c.jpg"), (reason,))
    people = find_people(tmp_path)
    assert (list(people.photos), people.empty) == (["a", "open"], ())
    assert people.unreadable == (reason,)


def test_a_person_is_a_folder_or_a_file_or_both(tmp_path: Path) -> None:
    touch(tmp_path, "anna/1.jpg", "anna/deep/2.jpg", "anna.png", "ben.jpg", "carl.txt")
    found = find_people(tmp_path)
    assert {
        name: [path.relative_to(tmp_path).as_posix() for path in paths]
        for name, paths in found.photos.items()
    } == {"anna": ["anna/1.jpg", "anna/deep/2.jpg", "anna.png"], "ben": ["ben.jpg"]}
    assert list(found.photos) == ["anna", "ben"]


def test_a_persons_folder_without_a_photo_is_told(tmp_path: Path) -> None:
    touch(tmp_path, "anna/1.jpg", "ben/notes.txt", ".git/x", "elsewhere/1.jpg")
    (tmp_path / "linked").symlink_to(tmp_path / "elsewhere")
    found = find_people(tmp_path)
    assert found.empty == ("ben",)
    assert found.linked == (tmp_path / "linked",)


def test_a_persons_name_can_be_shown_whatever_the_folder_is_called(tmp_path: Path) -> None:
    touch(tmp_path, "Jos\u00e9 (\u5c71\u7530)/1.jpg", "two\nlines/1.jpg")
    touch(tmp_path, os.fsdecode(b"caf\xe9") + "/1.jpg")
    names = set(find_people(tmp_path).photos)
    assert names == {"Jos\u00e9 (\u5c71\u7530)", "two\\nlines", "caf\\udce9"}
    for name in names:
        name.encode()


def test_only_a_regular_file_can_be_opened_as_a_photo(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("a.jpg", "link.jpg"):
        with open_photo(tmp_path / name) as file:
            assert file.read() == b""
    for name in ("pipe.jpg", "absent.jpg", ""):
        with pytest.raises(OSError, match="is no file"):
            open_photo(tmp_path / name)


def test_a_walk_meets_the_photos_of_a_folder_in_order_and_before_its_sub_folders(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "b.jpg", "a.jpg", "c/2.jpg", "c/1.jpg", "a/z.jpg", "notes.txt", "c/d/3.jpg")
    walk = PhotoWalk(tmp_path)
    found = list(walk)
    assert found == ["a.jpg", "b.jpg", "a/z.jpg", "c/1.jpg", "c/2.jpg", "c/d/3.jpg"]
    assert found == sorted(found, key=walk_order)
    assert (list(walk), walk.left_out) == (found, 1)
