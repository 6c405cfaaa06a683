"""The columns of the flat formats: their names, their kinds, and the spreadsheet's traps."""

import csv
import enum
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from db.exports.lines import Line, face_rows, subject_row


class Kind(enum.Enum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    MOMENT = "moment"
    """RFC 3339, in UTC."""
    CANDIDATES = "candidates"
    """A list of objects with `rank`, `subject_id`, `subject`, `gallery` and `distance`."""
    POINTS = "points"
    """A list of [x, y]."""


FACE_COLUMNS: dict[str, Kind] = {
    **dict.fromkeys(("client_id", "key", "name", "status", "error_code", "error_detail"),
                    Kind.TEXT),
    "sha256": Kind.TEXT,
    "size_bytes": Kind.INTEGER,
    "taken_at": Kind.TEXT,
    **dict.fromkeys(("width", "height", "orientation", "rotation", "faces_left_out"),
                    Kind.INTEGER),
    **dict.fromkeys(("face", "face_id", "left", "top", "right", "bottom"), Kind.INTEGER),
    "score": Kind.NUMBER,
    "quality": Kind.NUMBER,
    "quality_limit": Kind.TEXT,
    "face_width": Kind.INTEGER,
    **dict.fromkeys(("sharpness", "yaw", "pitch", "roll"), Kind.NUMBER),
    **dict.fromkeys(("decision", "subject_id", "subject"), Kind.TEXT),
    "distance": Kind.NUMBER,
    "enrolled": Kind.BOOLEAN,
    "candidates": Kind.CANDIDATES,
    "landmarks": Kind.POINTS,
    "engine": Kind.TEXT,
    "engine_version": Kind.TEXT,
    "threshold": Kind.NUMBER,
    "attempts": Kind.INTEGER,
    "finished_at": Kind.MOMENT,
}  # fmt: skip
"""One row a face, and one for a photo that has none."""
SUBJECT_COLUMNS: dict[str, Kind] = {
    **dict.fromkeys(("subject_id", "subject", "gallery"), Kind.TEXT),
    **dict.fromkeys(("photos", "faces"), Kind.INTEGER),
    **dict.fromkeys(("first_taken_at", "last_taken_at", "best_name", "best_client_id",
                     "best_key", "best_sha256"), Kind.TEXT),
    "best_face": Kind.INTEGER,
    "best_distance": Kind.NUMBER,
}  # fmt: skip
"""One row a subject."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_QUOTE = "'"


def csv_chunks(pages: Iterable[Sequence[Line]]) -> Iterator[bytes]:
    """A job's faces as CSV (RFC 4180, UTF-8), under a line of the columns' names."""
    return _csv(pages, FACE_COLUMNS, face_rows)


def subjects_csv_chunks(pages: Iterable[Sequence[Line]]) -> Iterator[bytes]:
    """A job's subjects likewise."""
    return _csv(pages, SUBJECT_COLUMNS, lambda line: [subject_row(line)])


def guarded(value: str) -> str:
    """Text that no spreadsheet takes for a formula: one that might be gets an apostrophe in front.

    Names come from strangers, and `=HYPERLINK(…)` runs where the file is opened (OWASP, CSV
    injection). Text that begins with an apostrophe gets one more, so that whoever takes one away
    has the text as it was.
    """
    return _QUOTE + value if value.startswith((*_FORMULA, _QUOTE)) else value


def _csv(
    pages: Iterable[Sequence[Line]],
    columns: dict[str, Kind],
    rows_of: Callable[[Line], Iterable[Line]],
) -> Iterator[bytes]:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for page in pages:
        for line in page:
            writer.writerows(
                [_cell(row[name], kind) for name, kind in columns.items()] for row in rows_of(line)
            )
        yield _taken(buffer)
    yield _taken(buffer)


def _cell(value: object, kind: Kind) -> object:
    """None stays None, which the csv module writes as an empty cell."""
    if value is None:
        return None
    if kind is Kind.TEXT:
        return guarded(str(value))
    if kind is Kind.BOOLEAN:
        return "true" if value else "false"
    if kind in {Kind.CANDIDATES, Kind.POINTS}:
        return json.dumps(value, ensure_ascii=False)
    return value


def _taken(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()
