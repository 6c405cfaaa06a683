"""Looks through a whole directory before any entry is taken, and refuses a hostile archive."""

from array import array
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from pipeline.archives.directory import RANGE_BYTES, entries
from pipeline.archives.end import Directory, find_directory
from pipeline.archives.entry import Entry, ReadRange
from pipeline.archives.errors import (
    ArchiveDirectoryTooLargeError,
    ArchiveEntryOutsideError,
    ArchiveOverlapError,
    ArchiveTooLargeError,
    ArchiveTooManyEntriesError,
    ArchiveWithoutPhotosError,
)
from pipeline.archives.judging import is_item
from pipeline.archives.limits import ArchiveLimits

Indexes = NDArray[np.int64]

_MOST_RECORD_BYTES = 4096
"""Room in the directory for each entry, on an average that no honest archive comes near."""
_HASH_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inspection:
    """An archive that may be read, and what a look through its directory brought."""

    directory: Directory
    items: int
    """Entries that are somebody's business, good or bad."""
    left_out: int
    """Files that are no photos, and hidden ones. Folders do not count."""
    total_bytes: int
    """Unpacked bytes of all items."""
    duplicates: Indexes
    """The indexes of items whose name an earlier item has, ascending, (n,) int64."""


def inspect(
    size_bytes: int, read: ReadRange, limits: ArchiveLimits, *, range_bytes: int = RANGE_BYTES
) -> Inspection:
    """Checks the archive of `size_bytes` as a whole.

    Reads its end and its directory, and keeps some 40 bytes for an entry, at the peak 80. Raises
    `ArchiveError`s, each with what is wrong and what to do.
    """
    directory = find_directory(size_bytes, read)
    _check_size(directory, limits)
    seen = _Seen(directory=directory, limits=limits)
    for entry in entries(directory, read, range_bytes=range_bytes):
        seen.add(entry)
    _check_overlaps(seen.begins, seen.ends)
    if not seen.items:
        raise ArchiveWithoutPhotosError(
            "the archive holds no photos (files ending in .jpg, .png and the like)"
        )
    return Inspection(
        directory=directory,
        items=len(seen.items),
        left_out=seen.left_out,
        total_bytes=seen.total_bytes,
        duplicates=_duplicates(seen.hashes, seen.items),
    )


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What is kept of the entries. Raises what a single entry is enough to refuse them all for."""

    directory: Directory
    limits: ArchiveLimits
    left_out: int = 0
    total_bytes: int = 0
    begins: "array[int]" = field(default_factory=lambda: array("q"))
    ends: "array[int]" = field(default_factory=lambda: array("q"))
    items: "array[int]" = field(default_factory=lambda: array("q"))
    """Indexes of items."""
    hashes: bytearray = field(default_factory=bytearray)
    """Of their names. No two names of 128 bits' hash are alike, be they made for it."""

    def add(self, entry: Entry) -> None:
        end = entry.least_end
        if end > self.directory.offset:
            raise ArchiveEntryOutsideError(
                "an entry is said to lie where the archive's directory or its end is, or beyond; "
                "pack the photos anew"
            )
        self.begins.append(entry.header_offset)
        self.ends.append(end)
        if not is_item(entry):
            self.left_out += not entry.is_dir
            return
        self.items.append(entry.index)
        name = entry.name.encode("utf-8", "surrogateescape")
        self.hashes += blake2b(name, digest_size=_HASH_BYTES).digest()
        self.total_bytes += entry.size_bytes
        if self.total_bytes > self.limits.max_total_bytes:
            raise ArchiveTooLargeError(
                f"the archive's photos have more than the {self.limits.max_total_bytes} bytes "
                "allowed; send them in several archives"
            )


def _check_size(directory: Directory, limits: ArchiveLimits) -> None:
    """Refuses what can be refused by the archive's end alone."""
    if directory.entries > limits.max_entries:
        raise ArchiveTooManyEntriesError(
            f"the archive has {directory.entries} entries; at most {limits.max_entries} are "
            "allowed; send them in several archives"
        )
    if directory.size_bytes > _MOST_RECORD_BYTES * (directory.entries + 16):
        raise ArchiveDirectoryTooLargeError(
            f"the archive's directory has {directory.size_bytes} bytes for "
            f"{directory.entries} entries; pack the photos anew, without comments"
        )


def _check_overlaps(begins: "array[int]", ends: "array[int]") -> None:
    """Refuses entries that share bytes.

    In bombs like those of David Fifield ("A better zip bomb", 2019) thousands of entries have most
    of their bytes in common, be it that they begin at the same place, or that the header of one
    stands among the bytes of another.
    """
    starts, stops = np.frombuffer(begins, dtype=np.int64), np.frombuffer(ends, dtype=np.int64)
    if np.any(starts[1:] < stops[:-1]):  # Most archives have their entries in order.
        order = np.argsort(starts, kind="stable")
        if np.any(starts[order[1:]] < stops[order[:-1]]):
            raise ArchiveOverlapError("entries of the archive share bytes; pack the photos anew")


def _duplicates(hashes: bytearray, items: "array[int]") -> Indexes:
    """The indexes of the items whose name an earlier one has."""
    halves = np.frombuffer(hashes, dtype=np.uint64).reshape(-1, 2)
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # Stable: equal names stay in their order.
    ordered = halves[order]
    again = order[1:][(ordered[1:] == ordered[:-1]).all(axis=1)]
    indexes: Indexes = np.frombuffer(items, dtype=np.int64)[np.sort(again)]
    return indexes
