"""An archive of 20 GB costs little memory, and few bytes of it are read."""

import struct
import tracemalloc
import zlib
from collections.abc import Callable

from archive_kit import LIMITS, end64_records, end_record

from pipeline.archives.inspection import inspect
from pipeline.archives.limits import ArchiveLimits
from pipeline.archives.listing import items
from pipeline.archives.ranges import plan_ranges
from pipeline.archives.reading import read_entries

COUNT = 300_000
PHOTO = b"\xff\xd8\xff" + bytes(70_000)
CRC = zlib.crc32(PHOTO)
ENTRY_BYTES = 30 + 17 + len(PHOTO)
RECORD_BYTES = 46 + 17 + 12
LARGE = ArchiveLimits(
    max_entries=COUNT, max_total_bytes=30_000_000_000, max_photo_bytes=LIMITS.max_photo_bytes
)


def _local(n: int) -> bytes:
    sizes = (CRC, len(PHOTO), len(PHOTO), 17, 0)
    head = struct.pack("<4sHHHLLLLHH", b"PK\3\4", 45, 0, 0, 0, *sizes)
    return head + b"photos/%06d.jpg" % n + PHOTO


def _central(n: int) -> bytes:
    sizes = (CRC, len(PHOTO), len(PHOTO), 17, 12, 0, 0, 0, 0, 0xFFFF_FFFF)
    head = struct.pack("<4sHHHHLLLLHHHHHLL", b"PK\1\2", 45, 45, 0, 0, 0, *sizes)
    return head + b"photos/%06d.jpg" % n + struct.pack("<HHQ", 1, 8, n * ENTRY_BYTES)


class Sparse:
    """An archive that is made up as it is read."""

    def __init__(self, count: int = COUNT) -> None:
        self.read_bytes = self.reads = 0
        self.directory_at, directory_bytes = count * ENTRY_BYTES, count * RECORD_BYTES
        self.end_at = self.directory_at + directory_bytes
        wide = {"here": count, "entries": count}
        wide |= {"size": directory_bytes, "offset": self.directory_at}
        narrow = {"here": 0xFFFF, "entries": 0xFFFF, "size": 0xFFFF_FFFF, "offset": 0xFFFF_FFFF}
        self.end = end64_records(self.end_at, wide, {}) + end_record(**narrow)
        self.size_bytes = self.end_at + len(self.end)

    def __call__(self, offset: int, length: int) -> bytes:
        stop = min(offset + length, self.size_bytes)
        self.read_bytes += stop - offset
        self.reads += 1
        begin = max(offset - self.directory_at, 0)
        end = min(stop, self.end_at) - self.directory_at
        return (
            _part(_local, ENTRY_BYTES, offset, min(stop, self.directory_at))
            + _part(_central, RECORD_BYTES, begin, end)
            + self.end[max(offset - self.end_at, 0) : max(stop - self.end_at, 0)]
        )


def _part(make: Callable[[int], bytes], length: int, begin: int, end: int) -> bytes:
    if end <= begin:
        return b""
    first = begin // length
    whole = b"".join(map(make, range(first, -(-end // length))))
    return whole[begin - first * length : end - first * length]


def test_a_large_archive_is_inspected_in_little_memory() -> None:
    count = COUNT // 4  # To trace memory takes time.
    source = Sparse(count)
    tracemalloc.start()
    try:
        found = inspect(source.size_bytes, source, LARGE, range_bytes=500_000)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.items, found.left_out, found.total_bytes) == (count, 0, count * len(PHOTO))
    assert peak_bytes / count < 110


def test_photos_at_the_end_of_a_large_archive_are_read_by_one_request() -> None:
    source = Sparse()
    assert source.size_bytes > 20_000_000_000
    found = inspect(source.size_bytes, source, LARGE)
    assert (found.items, found.total_bytes) == (COUNT, COUNT * len(PHOTO))
    assert source.read_bytes < COUNT * RECORD_BYTES + 70_000
    listing = items(found, source, LARGE)
    position = next(one.entry.after for one in listing if one.entry.index == COUNT - 17)
    rest = [*items(found, source, LARGE, position)]
    assert [one.entry.name for one in rest][-1] == f"photos/{COUNT - 1:06d}.jpg"
    (planned,) = plan_ranges(one.entry.place for one in rest)
    source.reads = source.read_bytes = 0
    data = source(planned.offset, planned.length)
    assert [photo for _, photo in read_entries(planned, data, source)] == [PHOTO] * 16
    assert (source.reads, source.read_bytes) == (1, 16 * ENTRY_BYTES + 512)
