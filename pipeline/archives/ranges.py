"""Which bytes to ask for, so that neighbouring entries cost one request."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.archives.entry import LOCAL_HEADER_BYTES, EntryPlace

MAX_RANGE_BYTES = 16_000_000
MAX_GAP_BYTES = 128_000
"""Bytes between two entries that are read along: they cost less than another request."""
MARGIN_BYTES = 512
"""Room for what a header may have beyond its name: times, owners, padding. A header that has more
costs a second request, and no more than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRange:
    """Bytes of an archive, and the entries that lie in them, in order."""

    offset: int
    length: int
    """The archive may end before."""
    places: tuple[EntryPlace, ...]


def plan_ranges(
    places: Iterable[EntryPlace],
    *,
    max_bytes: int = MAX_RANGE_BYTES,
    max_gap_bytes: int = MAX_GAP_BYTES,
) -> list[EntryRange]:
    """Ranges that hold all `places`, in the archive's order.

    None is longer than `max_bytes`, unless it holds one entry, which alone is.
    """
    ranges: list[EntryRange] = []
    group: list[EntryPlace] = []
    for place in sorted(places, key=lambda one: one.header_offset):
        if group and not (
            place.header_offset - likely_end(group[-1]) <= max_gap_bytes
            and likely_end(place) - group[0].header_offset <= max_bytes
        ):
            ranges.append(_range(group))
            group = []
        group.append(place)
    return [*ranges, _range(group)] if group else []


def likely_end(place: EntryPlace) -> int:
    """The first byte that is another's, for all but few entries; for them it lies further on."""
    name_bytes = len(place.name.encode("utf-8", "surrogateescape"))
    header_bytes = LOCAL_HEADER_BYTES + name_bytes + MARGIN_BYTES
    return place.header_offset + header_bytes + place.packed_bytes


def _range(group: list[EntryPlace]) -> EntryRange:
    first = group[0].header_offset
    end = max(map(likely_end, group))
    return EntryRange(offset=first, length=end - first, places=tuple(group))
