"""Lines as JSON lines."""

import json
from collections.abc import Iterable, Iterator, Sequence

from db.exports.lines import Line


def jsonl_chunks(pages: Iterable[Sequence[Line]]) -> Iterator[bytes]:
    """A JSON object a line, in UTF-8."""
    for page in pages:
        yield b"".join(encoded(line) for line in page)


def encoded(line: Line) -> bytes:
    """The line with its end."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
