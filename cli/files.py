"""Files that appear whole or not at all."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """As `whole_binary_file`, for text in UTF-8; what is no text is escaped."""
    with (
        whole_binary_file(path) as file,
        os.fdopen(
            os.dup(file.fileno()), "w", encoding="utf-8", newline="", errors="backslashreplace"
        ) as text,
    ):
        yield text


@contextlib.contextmanager
def whole_binary_file(path: Path) -> Iterator[BinaryIO]:
    """A stream that becomes `path` when all is written, and leaves nothing where it is not.

    A device or a pipe is written to as it is; a link stays one, and a file keeps its mode. Raises
    `OSError`, also for a file that could be replaced but not written.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    mode = _mode_of_writable(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".facebatch-")
    try:
        os.fchmod(handle, mode)
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _mode_of_writable(path: Path) -> int:
    """The mode of the file, or of a new one where there is none; raises `OSError`."""
    try:
        handle = os.open(path, os.O_WRONLY)
    except FileNotFoundError:
        return 0o666 & ~_umask()
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
