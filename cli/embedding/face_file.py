"""The file that embeddings go to: what every form of it has, and which form a name asks for."""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from cli.embedding.rows import Rows, row_type
from cli.files import whole_binary_file
from pipeline.engine_spec import EngineSpec

SUFFIXES = (".npz", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A photo without a result."""

    photo: str
    code: str


class FaceFile(Protocol):
    """A file in the making."""

    def add(self, rows: Rows) -> None:
        """Faces, in the order in which they come."""

    def finish(self, failures: Sequence[Failure]) -> None:
        """Writes what is left to write."""


@contextlib.contextmanager
def face_file(path: Path, spec: EngineSpec, photos: Sequence[str]) -> Iterator[FaceFile]:
    """Becomes the file at `path`, whole or not at all; raises `OSError` where it cannot.

    `photos` are the paths that the faces' rows count on.
    """
    with whole_binary_file(path) as file, contextlib.ExitStack() as opened:
        # A face for each photo must find room: no hours of work end at a disk that was full.
        _reserve(file, len(photos) * row_type(spec.dimension).itemsize)
        if path.suffix.lower() == ".parquet":
            from cli.embedding.parquet_file import ParquetFile  # A large library, seldom needed.

            yield opened.enter_context(ParquetFile(file, spec, photos))
        else:
            from cli.embedding.npz_file import NpzFile

            yield opened.enter_context(NpzFile(file, spec, photos, path.resolve().parent))


def _reserve(file: BinaryIO, size_bytes: int) -> None:
    """Raises `OSError` where the disk has less room than that."""
    handle = file.fileno()
    if size_bytes and stat.S_ISREG(os.fstat(handle).st_mode):
        os.posix_fallocate(handle, 0, size_bytes)
        os.ftruncate(handle, 0)
