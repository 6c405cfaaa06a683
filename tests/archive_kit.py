"""Zip archives written field by field, so that any of them can lie, and what reads them."""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.archives.entry import EntryPlace
from pipeline.archives.errors import ArchiveEntryError
from pipeline.archives.inspection import Inspection, inspect
from pipeline.archives.limits import ArchiveLimits
from pipeline.archives.listing import ArchiveItem, items
from pipeline.archives.ranges import EntryRange, plan_ranges
from pipeline.archives.reading import read_entries

LIMITS = ArchiveLimits(max_entries=1000, max_total_bytes=100_000_000, max_photo_bytes=10_000_000)
PHOTO = b"\xff\xd8\xff the bytes of a photo" * 3
STREAMED, UTF8 = 1 << 3, 1 << 11
Numbers = Mapping[str, int]


class Source:
    """An archive that is read by ranges, and remembers which."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []

    def __call__(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert length > 0
        self.reads.append((offset, length))
        return self.data[offset : offset + length]


@dataclass(frozen=True, kw_only=True)
class File:
    """One entry. `central` and `local` are fields that lie in the directory or before the data."""

    name: bytes = b"a.jpg"
    data: bytes = PHOTO
    method: int = 0
    flags: int = 0
    mode: int = 0
    body: bytes | None = None
    """What stands in place of the packed data."""
    after: bytes = b""
    """What stands behind it, such as a data descriptor."""
    extra: bytes = b""
    local_extra: bytes = b""
    local_name: bytes | None = None
    central: Numbers = field(default_factory=dict)
    local: Numbers = field(default_factory=dict)

    def packed(self) -> bytes:
        if self.body is not None:
            return self.body
        return deflated(self.data) if self.method == 8 else self.data

    def numbers(self, lies: Numbers) -> dict[str, int]:
        told = {"flags": self.flags, "method": self.method, "crc32": zlib.crc32(self.data)}
        return {**told, "packed": len(self.packed()), "size": len(self.data), **lies}

    def local_record(self) -> bytes:
        n = self.numbers(self.local)
        name = self.name if self.local_name is None else self.local_name
        head = struct.pack(
            "<4sHHHLLLLHH", b"PK\3\4", 20, n["flags"], n["method"], 0,
            n["crc32"], n["packed"], n["size"], len(name), len(self.local_extra),
        )  # fmt: skip
        return head + name + self.local_extra + self.packed() + self.after

    def central_record(self, offset: int) -> bytes:
        n = {"disk": 0, "offset": offset, "comment": 0, **self.numbers(self.central)}
        head = struct.pack(
            "<4sHHHHLLLLHHHHHLL", b"PK\1\2", 0x0314, 20, n["flags"], n["method"], 0,
            n["crc32"], n["packed"], n["size"], len(self.name), len(self.extra), n["comment"],
            n["disk"], 0, self.mode << 16, n["offset"],
        )  # fmt: skip
        return head + self.name + self.extra


def deflated(data: bytes) -> bytes:
    """A raw deflate stream."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def zip64_extra(*numbers: int) -> bytes:
    """The field of numbers that are too large for their own."""
    return struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers)


def unicode_extra(raw: bytes, name: str, crc32: int | None = None) -> bytes:
    """Info-ZIP's field of a name in UTF-8."""
    crc32 = zlib.crc32(raw) if crc32 is None else crc32
    body = struct.pack("<BL", 1, crc32) + name.encode()
    return struct.pack("<HH", 0x7075, len(body)) + body


def end_record(comment: bytes = b"", **numbers: int) -> bytes:
    """The last record."""
    n = {"disk": 0, "directory_disk": 0, "here": 0, "entries": 0, "size": 0, "offset": 0}
    n |= {"comment": len(comment)} | numbers
    head = struct.pack("<4sHHHHLLH", b"PK\5\6", *n.values())
    return head + comment


def end64_records(place: int, wide: Numbers, locator: Numbers, more: bytes = b"") -> bytes:
    """The ZIP64 end record that stands at `place`, and its locator."""
    n = {"length": 44 + len(more), "disk": 0, "directory_disk": 0} | wide
    record = struct.pack(
        "<4sQHHLLQQQQ", b"PK\6\6", n["length"], 45, 45, n["disk"], n["directory_disk"],
        n["here"], n["entries"], n["size"], n["offset"],
    )  # fmt: skip
    at = {"disk": 0, "offset": place, "disks": 1} | locator
    return record + more + struct.pack("<4sLQL", b"PK\6\7", at["disk"], at["offset"], at["disks"])


def archive(
    *files: File,
    comment: bytes = b"",
    end: Numbers | None = None,
    end64: Numbers | None = None,
    locator: Numbers | None = None,
    more64: bytes = b"",
    between: bytes = b"",
) -> bytes:
    """An archive of the files; `end` and the like are fields of its end that lie.

    With `end64`, even an empty one, it ends as ZIP64. `between` stands behind the directory.
    """
    data, directory = bytearray(), bytearray()
    for file in files:
        directory += file.central_record(len(data))
        data += file.local_record()
    numbers = {"here": len(files), "entries": len(files)}
    numbers |= {"size": len(directory), "offset": len(data)}
    data += directory + between
    if end64 is not None:
        data += end64_records(len(data), numbers | end64, locator or {}, more64)
        numbers |= {"here": 0xFFFF, "entries": 0xFFFF, "size": 0xFFFF_FFFF, "offset": 0xFFFF_FFFF}
    return bytes(data) + end_record(comment, **(numbers | (end or {})))


def usual(
    files: Iterable[tuple[str, bytes]],
    *,
    method: int = 8,
    streamed: bool = False,
    wide: bool = False,
) -> bytes:
    """An archive as Python's library writes it."""
    buffer = io.BytesIO()
    stream = _Pipe(buffer) if streamed else buffer
    with zipfile.ZipFile(stream, "w", method) as writer:
        for name, data in files:
            with writer.open(name, "w", force_zip64=wide) as file:
                file.write(data)
    return buffer.getvalue()


class _Pipe(io.RawIOBase):
    """What can be written and not gone back in, so that sizes come behind the data."""

    def __init__(self, to: io.BytesIO) -> None:
        self._to = to

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        return self._to.write(data)


def inspected(data: bytes, limits: ArchiveLimits = LIMITS) -> Inspection:
    """What a look through the archive brings."""
    return inspect(len(data), Source(data), limits)


def listed(data: bytes, limits: ArchiveLimits = LIMITS) -> list[ArchiveItem]:
    """All items of the archive."""
    return [*items(inspected(data, limits), Source(data), limits)]


def codes(data: bytes, limits: ArchiveLimits = LIMITS) -> list[str | None]:
    """The error of each item, None where it is taken."""
    return [one.error.code if one.error else None for one in listed(data, limits)]


def places(data: bytes, limits: ArchiveLimits = LIMITS) -> list[EntryPlace]:
    """Where the good items lie."""
    return [one.entry.place for one in listed(data, limits) if one.error is None]


def read_all(
    data: bytes, wanted: Sequence[EntryPlace], **plan: int
) -> list[tuple[EntryPlace, bytes | ArchiveEntryError]]:
    """The items, read by as few ranges as may be."""
    source = Source(data)
    return [
        one
        for planned in plan_ranges(wanted, **plan)
        for one in read_entries(planned, fetched(source, planned), source)
    ]


def fetched(source: Source, planned: EntryRange) -> bytes:
    """The bytes of a planned range."""
    return source(planned.offset, planned.length)


def outcomes(data: bytes) -> list[bytes | str]:
    """What reading each good item of the archive brings: its bytes, or its error's code."""
    return [
        got.code if isinstance(got, ArchiveEntryError) else got
        for _, got in read_all(data, places(data))
    ]
