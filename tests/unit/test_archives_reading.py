"""An entry that is not what the directory says is not taken for a photo, and takes no memory."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import pytest
from archive_kit import (
    PHOTO,
    STREAMED,
    UTF8,
    File,
    Source,
    archive,
    deflated,
    fetched,
    outcomes,
    places,
    read_all,
    unicode_extra,
    usual,
    zip64_extra,
)

from pipeline.archives.entry import EntryPlace
from pipeline.archives.errors import ArchiveEntryError, MethodUnsupportedError
from pipeline.archives.ranges import plan_ranges
from pipeline.archives.reading import read_entries, unpack

NEIGHBOUR = File(name=b"z.jpg", data=PHOTO * 2, method=8)
CRC = zlib.crc32(PHOTO)
ZEROS = {"crc32": 0, "packed": 0, "size": 0}
FULL = 0xFFFF_FFFF
NAME = "\u00e9\u5c71.jpg"


def _outcome(file: File) -> bytes | str:
    """The bytes or the code; the neighbour is read all the same."""
    one, other = outcomes(archive(file, NEIGHBOUR))
    assert other == NEIGHBOUR.data
    return one


def _descriptor(*, wide: bool = False, signature: bytes = b"PK\7\x08") -> bytes:
    return signature + struct.pack("<LQQ" if wide else "<LLL", CRC, len(PHOTO), len(PHOTO))


GOOD = {
    "stored": File(),
    "deflated": File(method=8),
    "streamed": File(flags=STREAMED, local=ZEROS, after=_descriptor()),
    "streamed, deflated": File(method=8, flags=STREAMED, local=ZEROS, after=_descriptor()),
    "streamed, no signature": File(flags=STREAMED, local=ZEROS, after=_descriptor(signature=b"")),
    "streamed, sizes known": File(flags=STREAMED, after=_descriptor()),
    "streamed, ZIP64": File(
        flags=STREAMED,
        local={"crc32": 0, "packed": FULL, "size": FULL},
        local_extra=zip64_extra(0, 0),
        after=_descriptor(wide=True),
    ),
    "ZIP64": File(
        local={"packed": FULL, "size": FULL}, local_extra=zip64_extra(len(PHOTO), len(PHOTO))
    ),
    "other extra fields": File(extra=b"UT\1\0x", local_extra=b"UT\5\0xxxxx"),
    "a long extra field": File(local_extra=struct.pack("<HH", 0xD935, 4000) + bytes(4000)),
    "the longest": File(local_extra=struct.pack("<HH", 0xD935, 65_000) + bytes(65_000)),
    "UTF-8 told in one place": File(
        name=NAME.encode(), central={"flags": UTF8}, local={"flags": 0}
    ),
    "UTF-8 told in the other": File(
        name=NAME.encode(), central={"flags": 0}, local={"flags": UTF8}
    ),
    "a name in a field": File(
        name=b"_.jpg",
        extra=unicode_extra(b"_.jpg", NAME),
        local_extra=unicode_extra(b"_.jpg", NAME),
    ),
    "a name with dots": File(name=b"./b//c.jpg"),
}  # fmt: skip


@pytest.mark.parametrize("file", GOOD.values(), ids=GOOD)
def test_an_honest_entry_is_read(file: File) -> None:
    assert _outcome(file) == PHOTO


BAD = {
    "another name": (File(local_name=b"b.jpg"), "archive_header_mismatch"),
    "a longer name": (File(local_name=b"a.jpgx"), "archive_header_mismatch"),
    "the name above": (File(local_name=b"../a.jpg"), "archive_header_mismatch"),
    "a name that the field denies": (
        File(name=b"_.jpg", extra=unicode_extra(b"_.jpg", NAME)),
        "archive_header_mismatch",
    ),
    "another method": (File(local={"method": 8}), "archive_header_mismatch"),
    "encrypted": (File(local={"flags": 1}), "archive_header_mismatch"),
    "another size": (File(local={"size": 71}), "archive_header_mismatch"),
    "another packed size": (File(local={"packed": 71}), "archive_header_mismatch"),
    "another checksum": (File(local={"crc32": 1}), "archive_header_mismatch"),
    "no size, though not streamed": (File(local={"size": 0}), "archive_header_mismatch"),
    "streamed, and another size": (
        File(flags=STREAMED, local={**ZEROS, "size": 71}),
        "archive_header_mismatch",
    ),
    "ZIP64 without its field": (File(local={"size": FULL}), "archive_header_mismatch"),
    "ZIP64, another size": (
        File(local={"packed": FULL, "size": FULL}, local_extra=zip64_extra(71, len(PHOTO))),
        "archive_header_mismatch",
    ),
    "another checksum in both": (
        File(local={"crc32": 1}, central={"crc32": 1}),
        "archive_crc_mismatch",
    ),
    "other bytes": (File(body=PHOTO.replace(b"p", b"q")), "archive_crc_mismatch"),
    "other bytes, deflated": (
        File(method=8, body=deflated(PHOTO.replace(b"p", b"q"))),
        "archive_crc_mismatch",
    ),
    "more than told": (
        File(method=8, local={"size": 71}, central={"size": 71}),
        "archive_size_mismatch",
    ),
    "less than told": (
        File(method=8, local={"size": 73}, central={"size": 73}),
        "archive_size_mismatch",
    ),
    "bytes behind the end": (
        File(method=8, body=deflated(PHOTO) + b"!"),
        "archive_size_mismatch",
    ),
    "breaks off": (File(method=8, body=deflated(PHOTO)[:-1]), "archive_entry_damaged"),
    "no deflate": (File(method=8, body=b"\xff" * 60), "archive_entry_damaged"),
    "nothing": (File(method=8, body=b""), "archive_entry_damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "code"), BAD.values(), ids=BAD)
def test_an_entry_that_is_not_what_the_directory_says_costs_one_item(file: File, code: str) -> None:
    assert _outcome(file) == code


def test_an_entry_without_a_header_costs_one_item() -> None:
    data = archive(File(), NEIGHBOUR).replace(b"PK\3\4", b"PK\3\5", 1)
    assert outcomes(data) == ["archive_header_mismatch", NEIGHBOUR.data]


@pytest.mark.parametrize(
    "start",
    [
        usual([("a.jpg", PHOTO)]),
        b"Rar!\x1a\7\1\0",
        b"7z\xbc\xaf\x27\x1c\0\4",
        b"\x1f\x8b\x08\0",
        b"BZh91AY&SY",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        bytes(257) + b"ustar\0",
        b"PK\7\x08PK\3\4",
    ],
)
def test_an_archive_that_calls_itself_a_photo_is_found_out(start: bytes) -> None:
    assert _outcome(File(data=start + bytes(300), method=8)) == "archive_nested"


def test_an_entry_takes_no_more_memory_than_it_was_said_to_need() -> None:
    bomb = deflated(bytes(50_000_000))
    data = archive(File(data=b"x" * 300_000, method=8, body=bomb))
    (place,) = places(data)
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveEntryError) as caught:
            unpack(place, memoryview(data), Source(data))
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.code == "archive_size_mismatch"


def test_a_place_of_an_unknown_method_is_not_read() -> None:
    place = EntryPlace(
        header_offset=0, packed_bytes=1, size_bytes=1, method=12, crc32=0, name="a.jpg"
    )
    with pytest.raises(MethodUnsupportedError):
        unpack(place, b"", Source(b""))


def test_an_entry_whose_archive_breaks_off_is_damaged() -> None:
    data = archive(File())
    (place,) = places(data)
    for length in (0, 29, 30, 34, 35, 106):
        with pytest.raises(ArchiveEntryError) as caught:
            unpack(place, data[:length], Source(data[:length]))
        assert caught.value.code == "archive_entry_damaged", length


# ---------------------------------------------------------------- ranges


def _many(count: int, *, extra: int = 0, size: int = 1000) -> bytes:
    field = struct.pack("<HH", 0xD935, extra) + bytes(extra) if extra else b""
    return archive(
        *[
            File(name=b"%03d.jpg" % n, data=b"%03d" % n * (size // 3), local_extra=field)
            for n in range(count)
        ]
    )


def test_neighbours_cost_one_request() -> None:
    data = _many(16)
    source = Source(data)
    (planned,) = plan_ranges(reversed(places(data)))
    got = [photo for _, photo in read_entries(planned, fetched(source, planned), source)]
    assert got == [b"%03d" % n * 333 for n in range(16)]
    assert len(source.reads) == 1


def test_only_the_last_of_many_long_headers_costs_a_second_request() -> None:
    data = _many(16, extra=4000)
    source = Source(data)
    (planned,) = plan_ranges(places(data))
    got = [photo for _, photo in read_entries(planned, fetched(source, planned), source)]
    assert got == [b"%03d" % n * 333 for n in range(16)]
    assert len(source.reads) == 2


def test_a_range_is_no_longer_than_allowed_and_bridges_no_large_gap() -> None:
    data = _many(30)
    wanted = places(data)
    short = plan_ranges(wanted, max_bytes=5000)
    assert [len(one.places) for one in short] == [4] * 7 + [2]
    assert all(one.length <= 5000 for one in short)
    far = [*wanted[:3], *wanted[20:]]
    assert [len(one.places) for one in plan_ranges(far, max_gap_bytes=2000)] == [3, 10]
    assert [len(one.places) for one in plan_ranges(far, max_gap_bytes=50_000)] == [13]
    assert [len(one.places) for one in plan_ranges(wanted[:2], max_bytes=10)] == [1, 1]
    assert plan_ranges([]) == []


@pytest.mark.parametrize("max_bytes", [1, 700, 3000, 1_000_000])
def test_photos_come_whole_however_they_are_read(max_bytes: int) -> None:
    data = _many(20, extra=700)
    got = read_all(data, places(data), max_bytes=max_bytes, max_gap_bytes=max_bytes)
    assert [photo for _, photo in got] == [b"%03d" % n * 333 for n in range(20)]


def test_what_reading_raises_comes_through() -> None:
    data = archive(File(local_extra=bytes(4000)))
    (planned,) = plan_ranges(places(data))

    def away(_offset: int, _length: int) -> bytes:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        [*read_entries(planned, data[:100], away)]


def test_a_place_is_rebuilt_from_its_columns() -> None:
    data = _many(2)
    place = places(data)[1]
    columns = ("header_offset", "packed_bytes", "size_bytes", "method", "crc32", "name")
    row = {column: getattr(place, column) for column in columns}
    assert read_all(data, [EntryPlace(**row)]) == [(place, b"001" * 333)]


def test_what_pythons_reader_reads_is_read_alike() -> None:
    files = [("a.jpg", PHOTO), (f"b/{NAME}", PHOTO * 1000), ("c.jpg", bytes(100))]
    data = usual(files, streamed=True)
    with zipfile.ZipFile(io.BytesIO(data)) as reader:
        theirs = [(one.filename, reader.read(one)) for one in reader.infolist()]
    ours = [(place.name, photo) for place, photo in read_all(data, places(data))]
    assert ours == theirs == files
