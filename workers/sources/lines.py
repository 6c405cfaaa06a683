"""The lines of an object, read by ranges and never held whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

RANGE_BYTES = 1_000_000
MAX_LINE_BYTES = 16_384
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, without its end; None: it is longer than any may be."""

    number: int
    """From 1."""
    data: bytes | None
    next_offset: int
    """Where the next line begins."""


def lines(
    read: Callable[[int, int], bytes],
    size_bytes: int,
    *,
    offset: int = 0,
    number: int = 0,
    range_bytes: int = RANGE_BYTES,
) -> Iterator[Line]:
    """The lines of an object of `size_bytes`, from `offset` on, behind the line `number`.

    They end with LF or CRLF, the last one with the object. A byte order mark is no part of them.
    """
    buffer, cut = bytearray(), False
    at = fetched = offset
    while at < size_bytes:
        end = buffer.find(b"\n")
        if end < 0 and fetched < size_bytes:
            if len(buffer) > MAX_LINE_BYTES:
                at, cut = at + len(buffer), True
                buffer.clear()
            data = read(fetched, min(range_bytes, size_bytes - fetched))
            buffer += data
            fetched += len(data)
            if not data:
                return  # The object is shorter than it was, which its version would have told.
            continue
        length = len(buffer) if end < 0 else end + 1
        line = bytes(buffer[:length])
        del buffer[:length]
        number += 1
        is_long = cut or length > MAX_LINE_BYTES
        at, cut = at + length, False
        yield Line(number=number, data=None if is_long else _bare(line, number), next_offset=at)


def _bare(line: bytes, number: int) -> bytes:
    bare = line.removesuffix(b"\n").removesuffix(b"\r")
    return bare.removeprefix(_BOM) if number == 1 else bare
