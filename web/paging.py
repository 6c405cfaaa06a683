"""Lists by cursor: one entry more than asked for tells whether there is a next page.

A cursor says nothing to its reader, and is good for the list that has handed it out alone: it is
signed together with the list's path and its tenant. Whoever makes one up gets nowhere.
"""

import base64
import binascii
import hashlib
import hmac
import uuid
from collections.abc import Sequence
from typing import TypeVar

from flask import request

from web.errors import CursorError
from web.services import Services

T = TypeVar("T")
REFUSED = "the cursor is none that this list has handed out; begin without one"
VERSION = 1
"""Of what stands in a cursor. With another one, those that are under way begin anew."""
TAG_BYTES = 16
NUMBER_BYTES = 8
MAX_CHARS = 100
"""Far more than a cursor has."""


class Cursors:
    """Of one list of one tenant."""

    def __init__(self, key: bytes, tenant_id: int, path: str) -> None:
        self._key = key
        self._list = f"{tenant_id} {path}\0".encode()

    def behind(self, position: uuid.UUID | int | bytes) -> str:
        """Leads to the page behind the entry with this id or number, or at this place."""
        if isinstance(position, int):
            position = position.to_bytes(NUMBER_BYTES, "big")
        elif isinstance(position, uuid.UUID):
            position = position.bytes
        data = bytes([VERSION]) + position
        return _encoded(data + self._tag(data))

    def next_id(self, cursor: str | None) -> uuid.UUID | None:
        """The id behind which the page begins; raises `CursorError`."""
        data = self._read(cursor, uuid.NAMESPACE_OID.bytes)
        return None if data is None else uuid.UUID(bytes=data)

    def next_number(self, cursor: str | None) -> int:
        """Likewise for rows with numbers, which begin behind 0."""
        data = self._read(cursor, bytes(NUMBER_BYTES))
        return 0 if data is None else int.from_bytes(data, "big")

    def next_place(self, cursor: str | None, size_bytes: int) -> bytes | None:
        """Likewise for places of so many bytes; None at the beginning."""
        return self._read(cursor, bytes(size_bytes))

    def _read(self, cursor: str | None, like: bytes) -> bytes | None:
        """What a cursor of ours says, as long as `like`."""
        if cursor is None:
            return None
        raw = _decoded(cursor)
        data, tag = raw[:-TAG_BYTES], raw[-TAG_BYTES:]
        if len(data) != 1 + len(like) or not hmac.compare_digest(tag, self._tag(data)):
            raise CursorError(REFUSED)
        if data[0] != VERSION:
            raise CursorError(REFUSED)
        return data[1:]

    def _tag(self, data: bytes) -> bytes:
        return hmac.digest(self._key, self._list + data, hashlib.sha256)[:TAG_BYTES]


def cursors(here: Services, path: str | None = None) -> Cursors:
    """Of the list that is asked for, or of the one at `path`."""
    return Cursors(here.cursor_key, here.tenant_id, path or request.path)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(cursor: str) -> bytes:
    """Of one spelling alone: the decoder would pass over what is no part of it."""
    try:
        padded = cursor[:MAX_CHARS] + "=" * (-len(cursor) % 4)
        raw = base64.urlsafe_b64decode(padded)
    except (ValueError, binascii.Error) as exc:
        raise CursorError(REFUSED) from exc
    if _encoded(raw) != cursor:
        raise CursorError(REFUSED)
    return raw


def page_of(entries: Sequence[T], limit: int) -> tuple[Sequence[T], bool]:
    """The first `limit` entries, and whether there are more."""
    return entries[:limit], len(entries) > limit
