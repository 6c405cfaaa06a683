"""XMP sidecars beside the photos of a folder, and never outside of it."""

from collections.abc import Iterator
from pathlib import Path

from cli.files import whole_file
from cli.telling import counted
from db.exports.lines import Line
from db.exports.paths import ELSEWHERE, SidecarPaths, elsewhere
from db.exports.xmp import TOOLKIT, sidecar

_HEAD_BYTES = 1024
_OURS = f'x:xmptk="{TOOLKIT}'.encode()
_NO_PLACE = (NotADirectoryError, FileExistsError, IsADirectoryError)
"""One photo is called as a folder of another."""


class Sidecars:
    """Writes one after the other; ids of photos come from strangers."""

    def __init__(self, folder: Path, *, unknown_faces: bool) -> None:
        self._folder = folder.resolve()
        self._unknown_faces = unknown_faces
        self._paths = SidecarPaths()
        self._written = self._elsewhere = self._foreign = 0

    def write(self, line: Line) -> None:
        """Writes the photo's sidecar, where it has something to tell. Raises `OSError`."""
        text = sidecar(line, unknown_faces=self._unknown_faces)
        if text is None:
            return
        relative = self._paths.path(line)
        if not self._is_below(relative):
            relative = elsewhere(relative)
        try:
            self._put(relative, text)
        except _NO_PLACE:
            relative = elsewhere(relative)
            self._put(relative, text)
        self._elsewhere += relative.startswith(f"{ELSEWHERE}/")

    def told(self) -> Iterator[str]:
        """What the user should know at the end, a line each."""
        yield f"{counted(self._written, 'sidecar')} written to {self._folder}"
        if self._elsewhere:
            yield (
                f"{counted(self._elsewhere, 'photo')} with names that are no paths below it have "
                f"theirs in {self._folder / ELSEWHERE}"
            )
        if self._foreign:
            yield f"{counted(self._foreign, 'sidecar')} of other programs left as they are"

    def _is_below(self, relative: str) -> bool:
        """Whether the path stays in the folder, whatever links there are on the way."""
        return (self._folder / relative).parent.resolve().is_relative_to(self._folder)

    def _put(self, relative: str, text: str) -> None:
        path = self._folder / relative
        if _is_foreign(path) or not self._is_below(relative):
            self._foreign += 1
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(text)
        self._written += 1


def _is_foreign(path: Path) -> bool:
    """Whether something is there that we have not written: a photo manager keeps its work so."""
    if path.is_symlink():
        return True
    try:
        with path.open("rb") as file:
            return _OURS not in file.read(_HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return False
