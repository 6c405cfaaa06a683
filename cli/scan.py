"""Finds people and photos in folders."""

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from pipeline.errors import FaceBatchError
from pipeline.names import calls_itself_photo, is_hidden, spelt


class FolderError(FaceBatchError):
    """A folder that was named is missing, unreadable, or has nothing to work on."""

    code = "folder_unusable"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPhotos:
    """Photos below a folder, as sorted paths relative to it, and how many files were left out."""

    root: Path
    relative: tuple[str, ...]
    left_out: int
    linked: tuple[Path, ...]
    """Links to folders, which are not followed: they can lead in circles, or anywhere."""
    unreadable: tuple[str, ...]
    """Sub-folders that the system does not let us read, and why, as sentences."""

    def path(self, relative: str) -> Path:
        """Where the photo lies."""
        return self.root / relative


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPeople:
    """Photos by person."""

    root: Path
    photos: dict[str, tuple[Path, ...]]
    empty: tuple[str, ...]
    """Sub-folders without a photo."""
    linked: tuple[Path, ...]
    """Links to folders, which are not followed."""
    unreadable: tuple[str, ...]
    """Sub-folders that the system does not let us read, and why, as sentences."""


class PhotoWalk:
    """The photos below a folder, one at a time and never all: paths relative to it.

    Those of a folder come sorted, and before those of its sub-folders. What was passed by is known
    at the end. Walking raises `FolderError` where the folder itself cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.left_out = 0
        self._passed = _Passed()

    def __iter__(self) -> Iterator[str]:
        self.left_out, self._passed = 0, _Passed()
        for path in _files(self.root, self._passed):
            if calls_itself_photo(path.name):
                yield path.relative_to(self.root).as_posix()
            else:
                self.left_out += 1

    @property
    def linked(self) -> tuple[Path, ...]:
        """Links to folders, which are not followed."""
        return tuple(self._passed.linked)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Sub-folders that the system does not let us read, and why, as sentences."""
        return tuple(self._passed.unreadable.values())


def walk_order(relative: str) -> tuple[tuple[bool, str], ...]:
    """A key by which paths sort in the order of a `PhotoWalk`."""
    *folders, file = relative.split("/")
    return (*((True, name) for name in folders), (False, file))


def no_photos(folder: Path) -> FolderError:
    """What is raised for a folder that holds none."""
    return FolderError(f"{folder} holds no photos (files ending in .jpg, .png and the like)")


def find_photos(folder: Path) -> FoundPhotos:
    """All photos below `folder`, however deep; raises `FolderError` where there is none."""
    walk = PhotoWalk(folder)
    relative = tuple(sorted(walk))
    if not relative:
        raise no_photos(folder)
    return FoundPhotos(
        root=folder,
        relative=relative,
        left_out=walk.left_out,
        linked=walk.linked,
        unreadable=walk.unreadable,
    )


def find_people(folder: Path) -> FoundPeople:
    """The people in `folder`: a sub-folder for each, or files that are named for them.

    Raises `FolderError` where there is nobody.
    """
    photos: dict[str, list[Path]] = defaultdict(list)
    passed = _Passed()
    for path in _files(folder, passed):
        if calls_itself_photo(path.name):
            below = path.relative_to(folder).parts
            photos[spelt(below[0] if len(below) > 1 else path.stem)].append(path)
    if not photos:
        raise FolderError(
            f"{folder} holds nobody: put a sub-folder per person into it, or photos named for them"
        )
    folders = {
        spelt(entry.name)
        for entry in folder.iterdir()
        if _is_own_folder(entry) and entry not in passed.unreadable
    }
    return FoundPeople(
        root=folder,
        photos={name: tuple(sorted(paths)) for name, paths in sorted(photos.items())},
        empty=tuple(sorted(folders - photos.keys())),
        linked=tuple(passed.linked),
        unreadable=tuple(passed.unreadable.values()),
    )


def open_photo(path: Path) -> BufferedReader:
    """The file, for reading; raises `OSError` where it is no file, such as a pipe to wait on."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file")
    return path.open("rb")


@dataclass(slots=True)
class _Passed:
    """Folders that a walk has passed by."""

    linked: list[Path] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)


def _files(folder: Path, passed: _Passed) -> Iterator[Path]:
    """Every file below `folder` that is not hidden, nor in a hidden folder.

    Adds folders that were not entered to `passed`; raises `FolderError` for `folder` itself.
    """
    if not folder.is_dir():
        raise FolderError(f"{folder} is no folder")

    def note(exc: OSError) -> None:
        reason = f"{exc.filename} cannot be read: {exc.strerror}"
        if Path(exc.filename) == folder:
            raise FolderError(reason) from exc
        passed.unreadable[Path(exc.filename)] = reason

    for here, folders, files in os.walk(folder, onerror=note):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        passed.linked += (path for name in folders if (path := Path(here, name)).is_symlink())
        yield from (Path(here, name) for name in sorted(files) if not is_hidden(name))


def _is_own_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not is_hidden(path.name)
