"""Names and extra fields of zip records, which the directory and the headers have alike."""

import struct
import zlib
from collections.abc import Iterator

from pipeline.archives.entry import UTF8

ZIP64, UNICODE_PATH = 0x0001, 0x7075
_UNICODE_PATH_BYTES = struct.pack("<H", UNICODE_PATH)
FULL_32, FULL_16 = 0xFFFF_FFFF, 0xFFFF
"""What stands for a number that is too large for its field, and is found in an extra field."""


def fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    """The extra fields, by their numbers, up to where they break off: aligners pad with zeros."""
    at = 0
    while at + 4 <= len(extra):
        number, length = struct.unpack_from("<HH", extra, at)
        at += 4
        if at + length > len(extra):
            return
        yield number, extra[at : at + length]
        at += length


def widened(values: tuple[int, ...], disk: int, extra: bytes) -> tuple[int, ...] | None:
    """Numbers of 32 bits and a disk's of 16, those that are full taken from the ZIP64 field.

    It has them in this order and none that are not full (4.5.3); more at its end is passed over.
    None where it does not have them, or stands there twice.
    """
    found = [body for number, body in fields(extra) if number == ZIP64]
    layout = struct.Struct("<" + "Q" * values.count(FULL_32) + "L" * (disk == FULL_16))
    if len(found) != 1 or len(found[0]) < layout.size:
        return None
    wide = iter(layout.unpack_from(found[0]))
    numbers = [next(wide) if value == FULL_32 else value for value in values]
    return (*numbers, next(wide, disk))


def file_name(raw: bytes, flags: int, extra: bytes) -> str:
    """An entry's name: UTF-8 where it says so, by its Unicode field, or where it reads as such.

    Else code page 437, as the specification has it. What says that it is UTF-8 and is not keeps
    its bytes as halves of characters. macOS writes UTF-8 without saying so, and hardly a name in
    code page 437 that is not ASCII happens to be UTF-8.
    """
    if flags & UTF8:
        return cleaned(raw.decode("utf-8", "surrogateescape"))
    # Programs put an ASCII stand-in for the name, too. Most entries have no such field at all.
    told = _unicode_path(raw, extra) if _UNICODE_PATH_BYTES in extra else None
    return cleaned(told or _utf8_or_cp437(raw))


def possible_names(raw: bytes, extra: bytes) -> set[str]:
    """All names that `raw` can stand for, for a header that says less of it than the directory."""
    names = {raw.decode("utf-8", "surrogateescape"), raw.decode("cp437")}
    told = _unicode_path(raw, extra)
    return {cleaned(name) for name in (names | {told} if told else names)}


def cleaned(name: str) -> str:
    """The path without empty parts and those that are a dot, as some programs write them."""
    if "//" not in name and "./" not in name:
        return name
    parts = [part for part in name.split("/") if part not in {"", "."}]
    begin, end = "/" if name.startswith("/") else "", "/" if name.endswith("/") and parts else ""
    return begin + "/".join(parts) + end


def _unicode_path(raw: bytes, extra: bytes) -> str | None:
    """The name in Info-ZIP's field, where it was made for `raw` (4.6.9)."""
    for number, body in fields(extra):
        if number == UNICODE_PATH and len(body) > 5 and body[0] == 1:
            (crc32,) = struct.unpack_from("<L", body, 1)
            if crc32 == zlib.crc32(raw):
                return body[5:].decode("utf-8", "surrogateescape")
    return None


def _utf8_or_cp437(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")
