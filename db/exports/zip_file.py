"""Sidecars in one zip, written as they come."""

import pickle
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence

from db.exports.lines import Line
from db.exports.paths import SidecarPaths
from db.exports.sink import PIECE_BYTES, Sink
from db.exports.xmp import sidecar

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The same photos make the same bytes, whenever they are written."""


class _EntriesOnDisk(list[zipfile.ZipInfo]):
    """What the zip's directory will need of each entry, in a file: a million would fill memory."""

    def __init__(self) -> None:
        super().__init__()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - it goes with us.
        self._count = 0

    def append(self, entry: zipfile.ZipInfo) -> None:
        pickle.dump(entry, self._file)
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[zipfile.ZipInfo]:
        self._file.seek(0)
        for _ in range(self._count):
            yield pickle.load(self._file)  # noqa: S301 - nobody else has written it.


class _NoNames(dict[str, zipfile.ZipInfo]):
    """Nobody asks for entries by name, and each name is written once."""

    def __setitem__(self, name: str, entry: zipfile.ZipInfo) -> None:
        pass


def xmp_chunks(pages: Iterable[Sequence[Line]], *, unknown_faces: bool = True) -> Iterator[bytes]:
    """A zip of the sidecars of a job's photos."""
    sink, paths = Sink(), SidecarPaths()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.filelist, archive.NameToInfo = _EntriesOnDisk(), _NoNames()
        for page in pages:
            for line in page:
                text = sidecar(line, unknown_faces=unknown_faces)
                if text is not None:
                    archive.writestr(_entry(paths.path(line)), text.encode())
                if sink.held_bytes >= PIECE_BYTES:
                    yield from sink.pieces()
    yield from sink.pieces()


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry
