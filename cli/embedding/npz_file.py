"""Faces as an `.npz`: an array for each field, for `numpy.load`, without pickles."""

import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cli.embedding.face_file import Failure
from cli.embedding.rows import Rows, row_type
from pipeline.engine_spec import EngineSpec

IN_MEMORY_BYTES = 64_000_000
BLOCK_ROWS = 4096

Block = NDArray[np.generic]


class NpzFile:
    """Gathers rows and writes them field by field at the end: a zip holds one after the other.

    What is too much for memory is gathered in a nameless file in `folder`.
    """

    def __init__(
        self, file: BinaryIO, spec: EngineSpec, photos: Sequence[str], folder: Path
    ) -> None:
        self._file = file
        self._spec = spec
        self._photos = photos
        self._rows = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by `__exit__`.
            max_size=IN_MEMORY_BYTES, dir=str(folder)
        )
        self._count = 0
        self._longest = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rows.close()

    def add(self, rows: Rows) -> None:
        """See `FaceFile`."""
        self._rows.write(rows.tobytes())
        self._count += len(rows)
        for number in np.unique(rows["photo"]):
            self._longest = max(self._longest, len(self._photos[number]))

    def finish(self, failures: Sequence[Failure]) -> None:
        """See `FaceFile`."""
        kinds = row_type(self._spec.dimension)
        with zipfile.ZipFile(self._file, "w") as archive:
            names = np.dtype((np.str_, self._longest))
            self._write(archive, "photo", names, (), self._names)
            for name in kinds.names or ():
                if name != "photo":
                    kind = kinds[name]
                    self._write(archive, name, kind.base, kind.shape, _field(name))
            for name, value in self._scalars(failures):
                with archive.open(f"{name}.npy", "w") as member:
                    npy.write_array(member, value, allow_pickle=False)

    def _write(
        self,
        archive: zipfile.ZipFile,
        name: str,
        kind: np.dtype[np.generic],
        shape: tuple[int, ...],
        values: Callable[[Rows], Block],
    ) -> None:
        header = {
            "descr": npy.dtype_to_descr(kind),
            "fortran_order": False,
            "shape": (self._count, *shape),
        }
        with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
            npy.write_array_header_1_0(member, header)
            for rows in self._blocks():
                member.write(values(rows).astype(kind, copy=False).tobytes())

    def _blocks(self) -> Iterator[Rows]:
        kind = row_type(self._spec.dimension)
        self._rows.seek(0)
        while data := self._rows.read(BLOCK_ROWS * kind.itemsize):
            yield np.frombuffer(data, dtype=kind)

    def _names(self, rows: Rows) -> Block:
        return np.array([self._photos[number] for number in rows["photo"]], dtype=np.str_)

    def _scalars(self, failures: Sequence[Failure]) -> Iterator[tuple[str, Block]]:
        yield "failed_photo", np.array([one.photo for one in failures], dtype=np.str_)
        yield "failed_code", np.array([one.code for one in failures], dtype=np.str_)
        yield "engine", np.array(self._spec.name)
        yield "engine_version", np.array(self._spec.version)
        yield "dimension", np.array(self._spec.dimension)


def _field(name: str) -> Callable[[Rows], Block]:
    return lambda rows: rows[name]
