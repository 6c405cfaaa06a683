"""How a photo was taken, as far as its file tells."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What EXIF data tells of the moment of a photo."""

    taken_at: str | None = None
    """As the camera wrote it, in ISO 8601: mostly without a zone. None where it is not told."""
    orientation: int = 1
    """How the stored pixels lie: the EXIF orientation, 1 (upright) to 8."""


NOT_TOLD = Shot()
