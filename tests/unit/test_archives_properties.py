"""Whatever honest archive comes back as it was, and whatever broken one ends in a code."""

import random
import tracemalloc
import zipfile
import zlib
from collections import Counter
from dataclasses import replace

from archive_kit import (
    LIMITS,
    STREAMED,
    File,
    Source,
    archive,
    inspected,
    places,
    read_all,
    usual,
    zip64_extra,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.archives.entry import EntryPlace
from pipeline.archives.errors import ArchiveEntryError
from pipeline.archives.listing import items
from pipeline.archives.signatures import archive_format
from pipeline.errors import FaceBatchError
from pipeline.names import storable

PARTS = st.text(min_size=1, max_size=12).filter(
    lambda part: (
        storable(part) and not set(part) & {*"/\\:"} and not part.startswith((".", "__MACOSX"))
    )
)
NAMES = st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".jpg")
PHOTOS = st.binary(min_size=1, max_size=3000).filter(lambda data: not archive_format(data))
FILES = st.dictionaries(NAMES, PHOTOS, min_size=1, max_size=8)


@settings(max_examples=100, deadline=None)
@given(
    files=FILES,
    packing=st.tuples(
        st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]), st.booleans(), st.booleans()
    ),
    range_bytes=st.integers(1, 300),
    max_bytes=st.integers(1, 5000),
)
def test_photos_come_back_as_they_were_packed(
    files: dict[str, bytes],
    packing: tuple[int, bool, bool],
    range_bytes: int,
    max_bytes: int,
) -> None:
    method, streamed, wide = packing
    data = usual(files.items(), method=method, streamed=streamed, wide=wide)
    found = [*items(inspected(data), Source(data), LIMITS, range_bytes=range_bytes)]
    assert [(one.entry.name, one.error) for one in found] == [(name, None) for name in files]
    wanted = [one.entry.place for one in found]
    got = read_all(data, wanted, max_bytes=max_bytes, max_gap_bytes=range_bytes)
    assert {place.name: photo for place, photo in got} == files


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300), at=st.integers(0, 60))
def test_garbage_ends_in_a_code(data: bytes, at: int) -> None:
    whole = archive(File(), File(name=b"b.jpg", method=8), end64={})
    for one in (data, whole[:-at] + data, data + whole, data + whole[at:], whole[:200] + data):
        _read(one)


# ---------------------------------------------------------------- mutations

ODD = (b"\0", b"\xff", b"\0\0", b"\xff\xff", bytes(4), b"\xff" * 4, bytes(8), b"\xff" * 8)
ODD += (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"\0\0\0\x80", b"\1\0", b"\x08\0")
PHOTO = b"\xff\xd8\xff" + bytes(range(256)) * 20
ORIGINALS = (
    usual([("a.jpg", PHOTO), ("b/c.jpg", PHOTO), ("d.txt", b"x")]),
    usual([("a.jpg", PHOTO), ("b.jpg", PHOTO)], streamed=True, wide=True),
    archive(
        File(data=PHOTO, method=8),
        File(
            name=b"b.jpg",
            data=PHOTO,
            flags=STREAMED,
            local={"size": 0, "packed": 0, "crc32": 0},
            central={"size": 0xFFFF_FFFF, "packed": 0xFFFF_FFFF},
            extra=zip64_extra(len(PHOTO), len(PHOTO)),
        ),
        comment=b"a comment",
        end64={},
    ),
)


def _mutant(chance: random.Random) -> bytes:
    mutant = bytearray(chance.choice(ORIGINALS))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        # Headers, the directory and the end matter; they are at both ends.
        at = chance.choice((chance.randrange(60), len(mutant) - 1 - chance.randrange(300), -1))
        at = chance.randrange(len(mutant)) if at < 0 else min(at, len(mutant) - 1)
        how = chance.randrange(6)
        if how < 2:
            mutant[at] ^= 1 << chance.randrange(8)
        elif how < 4:
            odd = chance.choice(ODD)
            mutant[at : at + len(odd)] = odd
        elif how == 4:
            del mutant[at : at + chance.choice((1, 4, 22, 1000))]
        else:
            mutant[at:at] = mutant[at : at + chance.choice((1, 22, 46, 1000))]
        if not mutant:
            break
    return bytes(mutant)


def _read(data: bytes) -> str:
    """What became of the archive: a code, or "read". What is read is what was told."""
    limits = replace(LIMITS, max_photo_bytes=100_000)
    try:
        wanted: list[EntryPlace] = places(data, limits)
        for place, photo in read_all(data, wanted):
            if not isinstance(photo, ArchiveEntryError):
                assert (len(photo), zlib.crc32(photo)) == (place.size_bytes, place.crc32)
    except FaceBatchError as error:
        return error.code
    return "read"


def test_a_broken_archive_ends_in_a_code_and_takes_no_memory() -> None:
    endings: Counter[str] = Counter()
    tracemalloc.start()
    try:
        for seed in range(1000):
            mutant = _mutant(random.Random(seed))
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            endings[_read(mutant)] += 1
            assert tracemalloc.get_traced_memory()[1] - before < 1_000_000, seed
    finally:
        tracemalloc.stop()
    assert endings["read"] > 50
    assert len(endings) > 8
