"""A file that others write to and that is fetched in pieces, as it grows."""

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Sink(io.RawIOBase):
    """Keeps what is written until it is fetched; nobody can go back in it."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._fetched_bytes = 0
        self.held_bytes = 0

    def writable(self) -> bool:
        """It is for writing alone."""
        return True

    def write(self, data: "ReadableBuffer") -> int:
        """Takes all of it."""
        part = bytes(data)
        self._parts.append(part)
        self.held_bytes += len(part)
        return len(part)

    def tell(self) -> int:
        """How much has been written from the beginning."""
        return self._fetched_bytes + self.held_bytes

    def taken(self) -> bytes:
        """What has come since the last call."""
        parts, self._parts = self._parts, []
        self._fetched_bytes += self.held_bytes
        self.held_bytes = 0
        return b"".join(parts)
