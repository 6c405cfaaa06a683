"""Lists by cursor: one entry more than asked for tells whether there is a next page."""

import uuid
from collections.abc import Sequence
from typing import TypeVar

from web.errors import CursorError

T = TypeVar("T")
REFUSED = "the cursor is none that this list has handed out; begin without one"


def uuid_cursor(cursor: str | None) -> uuid.UUID | None:
    """The id behind which the page begins; raises `CursorError`."""
    try:
        return None if cursor is None else uuid.UUID(cursor)
    except ValueError as exc:
        raise CursorError(REFUSED) from exc


def number_cursor(cursor: str | None) -> int:
    """Likewise for rows with numbers, which begin behind 0."""
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise CursorError(REFUSED)
    return int(cursor)


def page_of(entries: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """The first `limit` entries, and whether there are more."""
    return entries[:limit], len(entries) > limit
