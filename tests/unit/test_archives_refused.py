"""A hostile or broken archive is refused as a whole, for its own reason."""

import io
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace

import pytest
from archive_kit import (
    LIMITS,
    PHOTO,
    File,
    Source,
    archive,
    deflated,
    end64_records,
    end_record,
    inspected,
    listed,
    usual,
    zip64_extra,
)

from pipeline.archives.errors import ArchiveError
from pipeline.archives.inspection import inspect

GOOD = (File(), File(name=b"b/c.jpg", method=8))
A, B = GOOD
FULL = 0xFFFF_FFFF


def _refusal(data: bytes, **limits: int) -> str:
    """The code; the message says what to do, in a sentence without a name of an entry."""
    with pytest.raises(ArchiveError) as caught:
        inspected(data, replace(LIMITS, **limits))
    assert caught.value.permanent
    assert re.search(r"; (send|pack|join)\b|holds no photos", str(caught.value))
    assert ".jpg" not in str(caught.value).replace("ending in .jpg", "")
    return caught.value.code


# ---------------------------------------------------------------- what is accepted


HONEST = {
    "plain": archive(*GOOD),
    "a comment": archive(*GOOD, comment=b"a comment that says PK\5 and PK\1\2"),
    "the longest comment": archive(*GOOD, comment=bytes(0xFFFF)),
    "ZIP64": archive(*GOOD, end64={}),
    "ZIP64, the longest comment": archive(*GOOD, end64={}, comment=bytes(0xFFFF), more64=b"more"),
    "ZIP64, counted twice": archive(*GOOD, end64={}, end={"here": 2, "entries": 2}),
    "ZIP64, no disks": archive(*GOOD, end64={}, locator={"disks": 0}),
    "ZIP64, all in the field": archive(
        File(
            central={"size": FULL, "packed": FULL, "offset": FULL, "disk": 0xFFFF},
            extra=struct.pack("<HHQQQL", 1, 28, len(PHOTO), len(PHOTO), 0, 0),
        ),
        B,
    ),
    "ZIP64, padding and more": archive(
        File(central={"packed": FULL}, extra=bytes(8) + zip64_extra(len(PHOTO), 1) + b"\0\0"), B
    ),
    "ZIP64, the disk alone": archive(
        File(central={"disk": 0xFFFF}, extra=struct.pack("<HHL", 1, 4, 0)), B
    ),
    "as Python packs it": usual([("a.jpg", PHOTO), ("b.jpg", PHOTO)]),
}


@pytest.mark.parametrize("data", HONEST.values(), ids=HONEST)
def test_an_honest_archive_is_not_refused(data: bytes) -> None:
    found = inspected(data)
    assert (found.items, found.left_out, found.duplicates.tolist()) == (2, 0, [])
    assert [one.error for one in listed(data)] == [None, None]


def test_what_stands_before_an_archive_that_knows_of_it_does_not_matter() -> None:
    buffer = io.BytesIO(b"#!/bin/sh\n")
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a") as writer:
        writer.writestr("a.jpg", PHOTO)
    assert inspected(buffer.getvalue()).items == 1


def test_exactly_as_many_entries_as_a_narrow_end_can_count_are_no_lie() -> None:
    files = [File(name=b"%d.jpg" % n, data=b"x") for n in range(0xFFFF)]
    assert inspected(archive(*files), replace(LIMITS, max_entries=0xFFFF)).items == 0xFFFF


def test_a_directory_may_have_another_order_than_the_entries() -> None:
    files = [File(name=b"%d.jpg" % n) for n in range(3)]
    data = b"".join(one.local_record() for one in files)
    length = len(data) // 3
    central = b"".join(files[n].central_record(n * length) for n in (2, 0, 1))
    data += central + end_record(here=3, entries=3, size=len(central), offset=len(data))
    assert [one.entry.name for one in listed(data)] == ["2.jpg", "0.jpg", "1.jpg"]


# ---------------------------------------------------------------- its end


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        member = tarfile.TarInfo("a.jpg")
        member.size = len(PHOTO)
        writer.addfile(member, io.BytesIO(PHOTO))
    return buffer.getvalue()


ENDS = {
    "nothing": (b"", "archive_not_zip"),
    "a photo": (PHOTO, "archive_not_zip"),
    "text": (b"PK is how it begins " * 9000, "archive_not_zip"),
    "rar": (b"Rar!\x1a\7\1\0" + bytes(100), "archive_not_zip"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(100_000), "archive_not_zip"),
    "tar": (_tar(), "archive_not_zip"),
    "no end": (archive(*GOOD)[:-22], "archive_truncated"),
    "no end, and long": (archive(File(data=bytes(200_000)))[:-22], "archive_truncated"),
    "bytes behind it": (archive(*GOOD) + b"\n", "archive_truncated"),
    "comment breaks off": (archive(*GOOD, comment=b"remark")[:-1], "archive_truncated"),
    "bytes missing inside": (archive(*GOOD)[7:], "archive_truncated"),
    "the same of ZIP64": (archive(*GOOD, end64={})[7:], "archive_truncated"),
    "a second end in the comment": (
        archive(*GOOD, comment=archive(*GOOD)),
        "archive_ambiguous",
    ),
    "one that fits in the comment": (
        archive(*GOOD, comment=b"x" + end_record()),
        "archive_ambiguous",
    ),
    "one that does not fit in the comment": (
        archive(*GOOD, comment=end_record() + b"x"),
        "archive_ambiguous",
    ),
    "two ends in a row": (archive(*GOOD) + end_record(), "archive_inconsistent"),
    "two archives in a row": (archive(*GOOD) * 2, "archive_prefixed"),
    "a program before it": (b"MZ" + bytes(500) + archive(*GOOD), "archive_prefixed"),
    "one before ZIP64": (b"MZ" + bytes(500) + archive(*GOOD, end64={}), "archive_prefixed"),
    "bytes behind the directory": (archive(*GOOD, between=b"x"), "archive_inconsistent"),
    "directory too long": (archive(*GOOD, end={"size": 5000}), "archive_truncated"),
    "directory too short": (archive(*GOOD, end={"size": 90}), "archive_inconsistent"),
    "directory elsewhere": (archive(*GOOD, end={"offset": 1}), "archive_prefixed"),
    "directory beyond the end": (archive(*GOOD, end={"offset": FULL}), "archive_truncated"),
    "directory encrypted": (
        PHOTO + b"PK\6\x08" + bytes(60)
        + end_record(entries=1, here=1, size=64, offset=len(PHOTO)),
        "archive_directory_encrypted",
    ),
    "on another disk": (archive(*GOOD, end={"disk": 1}), "archive_multi_disk"),
    "directory on another": (archive(*GOOD, end={"directory_disk": 1}), "archive_multi_disk"),
    "entries on another": (archive(*GOOD, end={"here": 1}), "archive_multi_disk"),
    "ZIP64, on another disk": (archive(*GOOD, end64={"disk": 1}), "archive_inconsistent"),
    "ZIP64, that disk told": (
        archive(*GOOD, end64={"disk": 1}, end={"disk": 0xFFFF}),
        "archive_multi_disk",
    ),
    "ZIP64, of two disks": (archive(*GOOD, end64={}, locator={"disks": 2}), "archive_multi_disk"),
    "ZIP64, end on another": (archive(*GOOD, end64={}, locator={"disk": 1}), "archive_multi_disk"),
    "ZIP64, locator lies": (
        archive(*GOOD, end64={}, locator={"offset": 0}),
        "archive_prefixed",
    ),
    "ZIP64, locator lies on": (
        archive(*GOOD, end64={}, locator={"offset": 0}, more64=b"more"),
        "archive_inconsistent",
    ),
    "ZIP64, locator beyond": (
        archive(*GOOD, end64={}, locator={"offset": (1 << 64) - 1}, more64=b"more"),
        "archive_inconsistent",
    ),
    "ZIP64, record too long": (archive(*GOOD, end64={"length": 45}), "archive_inconsistent"),
    "ZIP64, record endless": (
        archive(*GOOD, end64={"length": (1 << 64) - 1}),
        "archive_inconsistent",
    ),
    "ZIP64, no record": (
        archive(*GOOD, end64={}).replace(b"PK\6\6", b"PK\6\5"),
        "archive_inconsistent",
    ),
    "ZIP64, ends differ": (archive(*GOOD, end64={}, end={"offset": 1}), "archive_inconsistent"),
    "ZIP64, counts differ": (
        archive(*GOOD, end64={}, end={"entries": 3}),
        "archive_inconsistent",
    ),
    "ZIP64, offset negative": (
        archive(*GOOD, end64={"offset": (1 << 64) - 9}),
        "archive_truncated",
    ),
    "ZIP64, size negative": (archive(*GOOD, end64={"size": (1 << 64) - 9}), "archive_truncated"),
    "ZIP64, endless entries": (
        archive(*GOOD, end64={"entries": 1 << 63, "here": 1 << 63}),
        "archive_too_many_entries",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("data", "code"), ENDS.values(), ids=ENDS)
def test_an_archive_whose_end_is_not_right_is_refused(data: bytes, code: str) -> None:
    assert _refusal(data) == code


def test_an_archive_without_its_wide_end_is_refused() -> None:
    whole = archive(*GOOD, end64={})
    assert _refusal(whole[:-98] + whole[-22:]) == "archive_truncated"


def test_a_locator_alone_is_no_end() -> None:
    narrow = archive(*GOOD)
    locator = end64_records(0, {"here": 0, "entries": 0, "size": 0, "offset": 0}, {})[-20:]
    assert _refusal(narrow[:-22] + locator + narrow[-22:]) == "archive_inconsistent"


# ---------------------------------------------------------------- its directory


def _bomb(count: int, *, quoted: bool) -> bytes:
    """David Fifield's bombs: entries that share a kernel, with or without quoting each header."""
    kernel = deflated(bytes(100_000))
    if not quoted:
        first = File(data=bytes(100_000), method=8, body=kernel)
        twins = (
            File(data=bytes(100_000), method=8, body=b"", central={"packed": len(kernel)})
            for _ in range(count)
        )
        whole = [first, *(replace(one, name=b"%d.jpg" % n) for n, one in enumerate(twins))]
        end = sum(len(one.local_record()) for one in whole)
        data = b"".join(one.local_record() for one in whole)
        central = b"".join(one.central_record(0) for one in whole)
        return (
            data
            + central
            + end_record(here=len(whole), entries=len(whole), size=len(central), offset=end)
        )
    # From the last entry on: each begins with a stored block that holds the next one's header.
    data, records = b"", []
    for n in range(count):
        body = kernel if not n else struct.pack("<BHH", 0, 42, 0xFFFF ^ 42) + data
        file = File(name=b"%08d.jpg" % n, data=bytes(100_000), method=8, body=body)
        data = file.local_record()
        records.append((file, len(data)))
    central = b"".join(file.central_record(len(data) - length) for file, length in records)
    ends = {"here": count, "entries": count, "size": len(central), "offset": len(data)}
    return data + central + end_record(**ends)


DIRECTORIES: dict[str, tuple[bytes | Callable[[], bytes], str]] = {
    "full overlap": (lambda: _bomb(5, quoted=False), "archive_overlap"),
    "quoted overlap": (lambda: _bomb(5, quoted=True), "archive_overlap"),
    "the same entry twice": (
        archive(A, replace(B, central={"offset": 0})),
        "archive_overlap",
    ),
    "an entry in another's bytes": (
        archive(A, replace(B, central={"offset": 40})),
        "archive_overlap",
    ),
    "an entry before, into the next": (
        archive(replace(A, central={"packed": 200}), B, File(name=b"c.jpg", data=bytes(500))),
        "archive_overlap",
    ),
    "an entry into the directory": (
        archive(A, replace(B, central={"packed": 1000})),
        "archive_entry_outside",
    ),
    "an entry a byte into the directory": (
        archive(A, replace(A, name=b"b.jpg", central={"packed": len(PHOTO) + 1})),
        "archive_entry_outside",
    ),
    "an entry in the directory": (
        archive(A, replace(B, central={"offset": 230})),
        "archive_entry_outside",
    ),
    "an entry beyond the file": (
        archive(A, replace(B, central={"offset": FULL - 1})),
        "archive_entry_outside",
    ),
    "ZIP64, an entry far beyond": (
        archive(A, replace(B, central={"offset": FULL}, extra=zip64_extra(1 << 40))),
        "archive_entry_outside",
    ),
    "ZIP64, a negative offset": (
        archive(A, replace(B, central={"offset": FULL}, extra=zip64_extra((1 << 64) - 1))),
        "archive_entry_outside",
    ),
    "ZIP64, a negative length": (
        archive(A, replace(B, central={"packed": FULL}, extra=zip64_extra((1 << 64) - 99))),
        "archive_entry_outside",
    ),
    "ZIP64, an endless size": (
        archive(A, replace(B, central={"size": FULL}, extra=zip64_extra((1 << 64) - 1))),
        "archive_too_large",
    ),
    "ZIP64, no field": (
        archive(A, replace(B, central={"size": FULL})),
        "archive_record_broken",
    ),
    "ZIP64, a short field": (
        archive(A, replace(B, central={"size": FULL, "packed": FULL}, extra=zip64_extra(1))),
        "archive_record_broken",
    ),
    "ZIP64, a field that says it is longer": (
        archive(A, replace(B, central={"size": FULL}, extra=struct.pack("<HHQ", 1, 16, 1))),
        "archive_record_broken",
    ),
    "ZIP64, two fields": (
        archive(A, replace(B, central={"size": FULL}, extra=zip64_extra(1) * 2)),
        "archive_record_broken",
    ),
    "ZIP64, a field that breaks off": (
        archive(A, replace(B, central={"size": FULL}, extra=zip64_extra(1)[:-1])),
        "archive_record_broken",
    ),
    "on another disk": (archive(A, replace(B, central={"disk": 1})), "archive_multi_disk"),
    "ZIP64, on another disk": (
        archive(A, replace(B, central={"disk": 0xFFFF}, extra=struct.pack("<HHL", 1, 4, 1))),
        "archive_multi_disk",
    ),
    "masked headers": (archive(A, replace(B, flags=1 << 13)), "archive_directory_encrypted"),
    "fewer entries than told": (
        archive(*GOOD, end={"here": 3, "entries": 3}),
        "archive_count_mismatch",
    ),
    "more entries than told": (
        archive(*GOOD, end={"here": 1, "entries": 1}),
        "archive_count_mismatch",
    ),
    "more than there is room for": (
        archive(*GOOD, end={"here": 900, "entries": 900}),
        "archive_count_mismatch",
    ),
    "a record too long": (
        archive(A, replace(B, central={"comment": 9})),
        "archive_record_broken",
    ),
    "a record that is none": (
        archive(*GOOD).replace(b"PK\1\2", b"PK\1\3"),
        "archive_record_broken",
    ),
    "less than a record": (
        archive(A, between=b"PK\1\2" + bytes(40), end={"size": 95, "here": 2, "entries": 2}),
        "archive_record_broken",
    ),
    "a bloated directory": (
        lambda: archive(*[replace(A, name=b"%d.jpg" % n, extra=bytes(60_000)) for n in range(5)]),
        "archive_directory_too_large",
    ),
    "nothing": (archive(), "archive_without_photos"),
    "no photo": (
        archive(File(name=b"a.txt"), File(name=b"b/"), File(name=b".c.jpg")),
        "archive_without_photos",
    ),
}


@pytest.mark.parametrize(("data", "code"), DIRECTORIES.values(), ids=DIRECTORIES)
def test_an_archive_whose_directory_is_not_right_is_refused(
    data: bytes | Callable[[], bytes], code: str
) -> None:
    assert _refusal(data if isinstance(data, bytes) else data()) == code


def test_an_archive_of_too_many_entries_is_refused_before_its_directory_is_read() -> None:
    data = archive(*[File(name=b"%d.txt" % n, data=bytes(700)) for n in range(1001)])
    source = Source(data)
    with pytest.raises(ArchiveError, match="1001 entries; at most 1000"):
        inspect(len(data), source, LIMITS)
    assert sum(length for _, length in source.reads) < 70_000


def test_photos_that_are_too_much_in_total_are_refused_and_what_is_left_out_does_not_count() -> (
    None
):
    files = [File(name=b"%d.jpg" % n, data=bytes(1000)) for n in range(10)]
    film = File(name=b"film.mov", data=bytes(50_000))
    assert inspected(archive(film, *files), replace(LIMITS, max_total_bytes=10_000)).items == 10
    assert _refusal(archive(film, *files), max_total_bytes=9_999) == "archive_too_large"


def test_every_archive_that_breaks_off_is_refused() -> None:
    for whole in (archive(*GOOD, comment=b"remark"), archive(*GOOD, end64={})):
        for length in range(len(whole)):
            expected = "archive_truncated" if length > 3 else "archive_not_zip"
            assert _refusal(whole[:length]) == expected, length


def test_an_archive_that_is_shorter_than_it_was_said_to_be_is_refused() -> None:
    data = archive(*GOOD)
    for missing in (1, 22, 100, len(data)):
        with pytest.raises(ArchiveError) as caught:
            inspect(len(data), Source(data[:-missing]), LIMITS)
        assert caught.value.code == "archive_truncated"
