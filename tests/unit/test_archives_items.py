"""A bad entry costs one item, and what is no photo costs nothing."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest
from archive_kit import (
    LIMITS,
    PHOTO,
    UTF8,
    File,
    Source,
    archive,
    codes,
    deflated,
    inspected,
    listed,
    places,
    unicode_extra,
    usual,
)

from cli.scan import find_photos
from pipeline.archives.inspection import Inspection
from pipeline.archives.listing import items
from pipeline.names import storable

NEIGHBOUR = File(name=b"z.jpg")
JPG = "\u5c71.jpg"


def _code(file: File, **limits: int) -> str | None:
    """What becomes of the entry; its neighbour is taken, and the error says what to do."""
    data = archive(file, NEIGHBOUR)
    one, other = listed(data, replace(LIMITS, **limits))
    assert other.error is None
    assert one.error is None or (one.error.permanent and len(str(one.error)) > 20)
    assert ".jpg" not in str(one.error)
    return one.error.code if one.error else None


# ---------------------------------------------------------------- bad entries

NAMES = {
    "absolute": (b"/etc/a.jpg", "archive_path_outside"),
    "of a drive": (b"C:/a.jpg", "archive_path_outside"),
    "on a drive": (b"c:a.jpg", "archive_path_outside"),
    "to the folder above": (b"../a.jpg", "archive_path_outside"),
    "through a folder": (b"b/../../a.jpg", "archive_path_outside"),
    "above by a detour": (b"./..//./a.jpg", "archive_path_outside"),
    "above behind a line's end": (b"b\n/../a.jpg", "archive_path_outside"),
    "of a share": (b"\\\\host\\a.jpg", "archive_name_invalid"),
    "above, in Windows": (b"..\\a.jpg", "archive_name_invalid"),
    "parted by backslashes": (b"b\\a.jpg", "archive_name_invalid"),
    "with a NUL": (b"a.txt\0.jpg", "archive_name_invalid"),
    "with an end of line": (b"a\nb.jpg", "archive_name_invalid"),
    "with an escape": (b"\x1b[2Ja.jpg", "archive_name_invalid"),
    "turned round": ("\u202egpj.a.jpg".encode(), "archive_name_invalid"),
    "of 501 characters": (b"a" * 497 + b".jpg", "archive_name_invalid"),
    "of 500 characters": (b"a" * 496 + b".jpg", None),
    "with three dots": (b"b..c/d.jpg/a...jpg", None),
    "with two dots in it": (b"a../b.jpg", None),
    "with a space": (b" a b .jpg", None),
}


@pytest.mark.parametrize(("name", "code"), NAMES.values(), ids=NAMES)
def test_a_name_that_leads_astray_costs_one_item(name: bytes, code: str | None) -> None:
    assert _code(File(name=name)) == code


ENTRIES = {
    "encrypted": (File(flags=1), "archive_entry_encrypted"),
    "strongly encrypted": (File(flags=1 << 6), "archive_entry_encrypted"),
    "by AES": (File(method=99), "archive_entry_encrypted"),
    "Deflate64": (File(method=9), "archive_method_unsupported"),
    "bzip2": (File(method=12), "archive_method_unsupported"),
    "LZMA": (File(method=14), "archive_method_unsupported"),
    "Zstandard": (File(method=93), "archive_method_unsupported"),
    "of the future": (File(method=777), "archive_method_unsupported"),
    "a patch": (File(flags=1 << 5), "archive_method_unsupported"),
    "a link": (File(mode=stat.S_IFLNK | 0o777), "archive_entry_special"),
    "a device": (File(mode=stat.S_IFCHR), "archive_entry_special"),
    "a pipe": (File(mode=stat.S_IFIFO), "archive_entry_special"),
    "a folder that ends as none": (File(mode=stat.S_IFDIR), "archive_entry_special"),
    "a file with its mode": (File(mode=stat.S_IFREG | 0o600), None),
    "a mode without a kind": (File(mode=0o600), None),
    "a zip": (File(name=b"b/a.zip"), "archive_nested"),
    "a ZIP": (File(name=b"a.ZIP"), "archive_nested"),
    "a tar.gz": (File(name=b"a.tar.gz"), "archive_nested"),
    "a 7z": (File(name=b"a.7z"), "archive_nested"),
    "a rar": (File(name=b"a.jpg.rar"), "archive_nested"),
    "empty": (File(data=b""), "empty_file"),
    "empty, deflated": (File(data=b"", method=8), "empty_file"),
    "too large": (File(data=bytes(1001)), "file_too_large"),
    "just not too large": (File(data=bytes(1000)), None),
    "stored in fewer bytes": (File(body=PHOTO[:-1]), "archive_size_mismatch"),
    "stored in more bytes": (File(body=PHOTO + b"!"), "archive_size_mismatch"),
    "deflated to ten times": (File(method=8, body=bytes(2000)), "archive_size_mismatch"),
}


@pytest.mark.parametrize(("file", "code"), ENTRIES.values(), ids=ENTRIES)
def test_a_bad_entry_costs_one_item(file: File, code: str | None) -> None:
    assert _code(file, max_photo_bytes=1000) == code


def test_an_entry_that_is_packed_tighter_than_a_photo_costs_one_item() -> None:
    bomb = File(data=bytes(1_000_001), method=8)
    assert len(bomb.data) > 900 * len(bomb.packed())
    assert _code(bomb) == "archive_ratio_too_high"
    assert _code(replace(bomb, data=bytes(1_000_000))) is None
    tight = bytes(6_000_000) + bytes(range(256)) * 100
    assert _code(File(data=tight, method=8, body=deflated(tight) + bytes(40_000))) is None


def test_archives_within_archives_are_never_opened() -> None:
    # As 42.zip: sixteen archives, each of sixteen more. As a quine: one that holds itself.
    inner = usual([(f"{n}.zip", b"PK\3\4" + bytes(100)) for n in range(16)])
    outer = usual([(f"lib {n}.zip", inner) for n in range(16)])
    assert codes(outer) == ["archive_nested"] * 16
    assert places(outer) == []


def test_the_second_entry_of_a_name_costs_one_item_wherever_it_stands() -> None:
    names = ["a.jpg", "b.jpg", "a.jpg", "./a.jpg", "A.jpg", "b.txt", "b.txt", "b.jpg"]
    data = archive(*[File(name=name.encode()) for name in names])
    assert inspected(data).duplicates.tolist() == [2, 3, 7]
    assert inspected(data).left_out == 2
    twice = "archive_duplicate_name"
    assert codes(data) == [None, None, twice, twice, None, twice]


def test_a_bad_name_that_is_there_twice_is_bad_and_not_double() -> None:
    data = archive(File(name=b"a\n.jpg"), File(name=b"a\n.jpg"), File(name=b"../b.jpg"))
    assert codes(data) == ["archive_name_invalid"] * 2 + ["archive_path_outside"]


def test_a_label_can_be_kept_and_is_no_other_items() -> None:
    names = [b"a.jpg", b"a.jpg", b"/a.jpg", b"a\n.jpg", b"a\n.jpg", b"a" * 600 + b".jpg", b"\\.jpg"]
    data = archive(*[File(name=name) for name in names], File(name=b"b.jpg", flags=1))
    labels = [one.label for one in listed(data)]
    assert labels[:4] == ["a.jpg", "a.jpg//entry 1", "/a.jpg//entry 2", "a\\n.jpg//entry 3"]
    assert labels[-1] == "b.jpg"
    assert len(set(labels)) == len(labels)
    assert all(len(label) <= 500 and storable(label) for label in labels)


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("file", "name"),
    [
        (File(name=JPG.encode(), flags=UTF8), JPG),
        (File(name=JPG.encode()), JPG),
        (File(name="\u00e9\u00e4.jpg".encode("cp437")), "\u00e9\u00e4.jpg"),
        (File(name=b"_.jpg", extra=unicode_extra(b"_.jpg", JPG)), JPG),
        (File(name=b"\x82.jpg", extra=b"UT\0\0" + unicode_extra(b"\x82.jpg", JPG)), JPG),
        (File(name=b"_.jpg", extra=unicode_extra(b"_.jpg", JPG, crc32=7)), "_.jpg"),
        (File(name=b"./b//./c.jpg"), "b/c.jpg"),
        (File(name=b"a.\xff.jpg", flags=UTF8), "a.\udcff.jpg"),
    ],
)
def test_names_are_read_as_they_were_meant(file: File, name: str) -> None:
    assert [one.entry.name for one in listed(archive(file))] == [name]


def test_a_name_in_broken_utf8_costs_one_item() -> None:
    assert _code(File(name=b"a\xff.jpg", flags=UTF8)) == "archive_name_invalid"


# ---------------------------------------------------------------- what is left out

FOLDER = {
    "a.jpg": True,
    "b/c/d.PNG": True,
    "e.gif": True,
    "f.jpg/g.tiff": True,
    "b/h.HEIC": True,
    "notes.txt": False,
    "a.xmp": False,
    "a.json": False,
    "film.mov": False,
    "Thumbs.db": False,
    "b/desktop.ini": False,
    "jpg": False,
    ".hidden.jpg": False,
    ".thumbs/i.jpg": False,
    "b/.j/k/l.jpg": False,
    "b/._a.jpg": False,
    ".DS_Store": False,
}


def test_a_zip_of_a_folder_has_the_photos_that_the_folder_has(tmp_path: Path) -> None:
    for name in FOLDER:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PHOTO)
    files = sorted(one for one in tmp_path.rglob("*"))
    names = [one.relative_to(tmp_path).as_posix() + "/" * one.is_dir() for one in files]
    found = listed(archive(*[File(name=name.encode()) for name in names]))
    in_folder = find_photos(tmp_path)
    assert [one.entry.name for one in found] == list(in_folder.relative)
    assert list(in_folder.relative) == sorted(name for name, photo in FOLDER.items() if photo)
    assert all(one.error is None for one in found)


def test_what_is_left_out_is_counted_and_folders_and_what_macos_adds_are_no_photos() -> None:
    names = ["a.jpg", "b/", "c.jpg/", "__MACOSX/._a.jpg", "__MACOSX/b/c.jpg", "n.txt", ".x/a.zip"]
    found = inspected(archive(*[File(name=name.encode()) for name in names]))
    assert (found.items, found.left_out) == (1, 4)
    assert codes(archive(File(name=b"b/__MACOSX/a.jpg"))) == [None]


def test_what_is_left_out_may_be_bad_in_any_way() -> None:
    bad = [replace(one, name=b"%d.txt" % n) for n, (one, _) in enumerate(ENTRIES.values())]
    assert codes(archive(*bad, NEIGHBOUR)) == [None]


# ---------------------------------------------------------------- going on


def test_listing_goes_on_behind_any_entry_in_another_process() -> None:
    names = ["a.jpg", "x.txt", "b.jpg", "a.jpg", "b/", "c.jpg", "b.jpg", "b.jpg", "y.txt"]
    data = archive(*[File(name=name.encode(), extra=bytes(n)) for n, name in enumerate(names)])
    whole = listed(data)
    assert [one.entry.index for one in whole] == [0, 2, 3, 5, 6, 7]
    for n, last in enumerate(whole):
        rest = [*items(inspected(data), Source(data), LIMITS, last.entry.after)]
        assert [(one.entry, one.label) for one in rest] == [
            (one.entry, one.label) for one in whole[n + 1 :]
        ]


@pytest.mark.parametrize("range_bytes", [1, 17, 46, 1000])
def test_listing_does_not_depend_on_how_much_is_read_at_once(range_bytes: int) -> None:
    data = archive(*[File(name=b"%d.jpg" % n, extra=bytes(n)) for n in range(20)])
    source = Source(data)
    found: Inspection = inspected(data)
    assert [one.entry for one in items(found, source, LIMITS, range_bytes=range_bytes)] == [
        one.entry for one in listed(data)
    ]
    assert max(length for _, length in source.reads) <= range_bytes
