"""How much an archive may hold."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveLimits:
    """What one archive may have. More entries or bytes, and it is refused as a whole."""

    max_entries: int
    """Entries of any kind, folders and what is left out too."""
    max_total_bytes: int
    """Unpacked bytes of all that calls itself a photo."""
    max_photo_bytes: int
    """Unpacked bytes of one photo; one that has more is refused, its neighbours are not."""
