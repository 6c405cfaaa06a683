"""The items of an archive that was inspected: each entry that is somebody's business."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.archives.directory import RANGE_BYTES, entries
from pipeline.archives.entry import Entry, Position, ReadRange
from pipeline.archives.errors import DuplicateNameError, EntryNameError, PathOutsideError
from pipeline.archives.inspection import Inspection
from pipeline.archives.judging import flaw, is_item
from pipeline.archives.limits import ArchiveLimits
from pipeline.errors import PhotoError
from pipeline.names import spelt

_MOST_SPELT_CHARS = 450


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveItem:
    """An entry that becomes an item: to be read at `entry.place`, or failed from the start."""

    entry: Entry
    error: PhotoError | None
    """Why it is not taken."""

    @property
    def label(self) -> str:
        """What to call the item: the entry's name, where that can be kept and is no other's.

        Else its name written out, and its number. It has at most 500 characters, none of them a
        control character, and is no other item's: no good name has `//` in it.
        """
        if not isinstance(self.error, DuplicateNameError | EntryNameError | PathOutsideError):
            return self.entry.name
        return f"{spelt(self.entry.name)[:_MOST_SPELT_CHARS]}//entry {self.entry.index}"


def items(
    inspection: Inspection,
    read: ReadRange,
    limits: ArchiveLimits,
    start: Position | None = None,
    *,
    range_bytes: int = RANGE_BYTES,
) -> Iterator[ArchiveItem]:
    """The items from `start` on, in the directory's order; to go on later, `item.entry.after`.

    The archive must be the one that was inspected: whoever reads it over days asks for one version
    of the object. Raises `ArchiveError` where the directory cannot be read any more.
    """
    first = start.index if start else 0
    ahead = inspection.duplicates.searchsorted(first)
    again = iter(inspection.duplicates[ahead:].tolist())
    duplicate = next(again, -1)
    for entry in entries(inspection.directory, read, start, range_bytes=range_bytes):
        if not is_item(entry):
            continue
        error = flaw(entry, limits)
        if entry.index == duplicate:
            duplicate = next(again, -1)
            if not isinstance(error, EntryNameError | PathOutsideError):
                error = DuplicateNameError(
                    "an earlier entry of the archive has this name; give each photo its own"
                )
        yield ArchiveItem(entry=entry, error=error)
