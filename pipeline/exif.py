"""What EXIF data tells of how a photo was taken."""

import re
from typing import Any

from PIL import ExifTags, Image

from pipeline.blame import BROKEN
from pipeline.shot import Shot

_TIME = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_ZONE = re.compile(r"[+-](?:0\d|1[0-4]):[0-5]\d|Z")
_FRACTION = re.compile(r"\d{1,9}")
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def shot_of(exif: Image.Exif, *, orientation: int) -> Shot:
    """The shot of a photo whose EXIF data was read; broken parts of it are not told.

    The time is DateTimeOriginal with SubSecTimeOriginal and OffsetTimeOriginal (CIPA DC-008,
    4.6.5). DateTime is passed over: it is that of the last change.
    """
    try:
        taken_at = _taken_at(exif.get_ifd(ExifTags.IFD.Exif))
    except (*BROKEN, MemoryError):
        taken_at = None
    return Shot(taken_at=taken_at, orientation=orientation)


def _taken_at(tags: dict[int, Any]) -> str | None:
    found = _TIME.match(_text(tags.get(ExifTags.Base.DateTimeOriginal)))
    if found is None:
        return None
    year, month, day, hour, minute, second = found.groups()
    if not (_is_day(int(year), int(month), int(day)) and _is_time(hour, minute, second)):
        return None  # Cameras without a clock write zeros.
    zone = _text(tags.get(ExifTags.Base.OffsetTimeOriginal))
    fraction = _text(tags.get(ExifTags.Base.SubsecTimeOriginal))
    return "".join(
        (
            f"{year}-{month}-{day}T{hour}:{minute}:{second}",
            f".{fraction}" if _FRACTION.fullmatch(fraction) else "",
            zone if _ZONE.fullmatch(zone) else "",
        )
    )


def _is_day(year: int, month: int, day: int) -> bool:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return (
        year >= 1
        and 1 <= month <= 12
        and 1 <= day <= _DAYS[month - 1]
        and (leap or (month, day) != (2, 29))
    )


def _is_time(hour: str, minute: str, second: str) -> bool:
    # A leap second is written as the one before it by all that reads our times.
    return int(hour) < 24 and int(minute) < 60 and int(second) < 60


def _text(value: object) -> str:
    """An ASCII tag without the padding that cameras put around it."""
    return value.strip("\0 ") if isinstance(value, str) and value.isascii() else ""
