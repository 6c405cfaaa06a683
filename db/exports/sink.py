"""A file that others write to and that is fetched in pieces, as it grows."""

import io
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PIECE_BYTES = 256 * 1024
IN_MEMORY_BYTES = 1024 * 1024
"""More than that waits on the disk: the directory of a large zip comes all at once."""


class Sink(io.RawIOBase):
    """Keeps what is written until it is fetched; nobody can go back in it."""

    def __init__(self) -> None:
        super().__init__()
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - it goes with us.
        self._fetched_bytes = 0
        self.held_bytes = 0

    def writable(self) -> bool:
        """It is for writing alone."""
        return True

    def write(self, data: "ReadableBuffer") -> int:
        """Takes all of it."""
        written = self._file.write(data)
        self.held_bytes += written
        return written

    def tell(self) -> int:
        """How much has been written from the beginning."""
        return self._fetched_bytes + self.held_bytes

    def pieces(self) -> Iterator[bytes]:
        """What has come since the last call; nothing more may come before its end."""
        self._file.seek(0)
        while piece := self._file.read(PIECE_BYTES):
            yield piece
        self._file.seek(0)
        self._file.truncate()
        self._fetched_bytes += self.held_bytes
        self.held_bytes = 0
