"""Whether an entry is a photo to take, one to refuse, or nothing to look at."""

import re
import stat
from collections.abc import Iterator

from pipeline.archives.entry import (
    DEFLATED,
    ENCRYPTED,
    PATCHED,
    STORED,
    STRONGLY_ENCRYPTED,
    Entry,
)
from pipeline.archives.errors import (
    EntryEncryptedError,
    EntryNameError,
    EntrySpecialError,
    MethodUnsupportedError,
    NestedArchiveError,
    PathOutsideError,
    RatioTooHighError,
    SizeMismatchError,
)
from pipeline.archives.limits import ArchiveLimits
from pipeline.archives.signatures import calls_itself_archive
from pipeline.errors import EmptyFileError, FileTooLargeError, PhotoError
from pipeline.names import MAX_FILE_NAME_CHARS, calls_itself_photo, is_hidden, storable

MAX_RATIO = 200
"""Most unpacked bytes for a packed one. Noise keeps photos below 5 even where they come as raw
pixels; a picture of one colour reaches 1,000, and more deflate cannot do."""
SMALL_BYTES = 1_000_000
"""Unpacked bytes up to which the ratio does not matter: a small drawing may be packed tightly."""
NESTED = "the entry is an archive itself; unpack it, and pack its photos into one zip"

_MAC_FOLDER = "__MACOSX"
_OUTSIDE = re.compile(r"/|[A-Za-z]:|(?:.*/)?\.\.(?:/|$)", re.DOTALL)
_AES = 99
_METHODS = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    12: "bzip2",
    14: "LZMA",
    93: "Zstandard",
    95: "xz",
    96: "JPEG variant",
    98: "PPMd",
}


def is_item(entry: Entry) -> bool:
    """Whether the entry is somebody's business: it calls itself a photo, or an archive.

    The rest is left out as it is of a folder: folders themselves, hidden files, and what is no
    photo by its name; and what macOS adds to an archive, which no folder has.
    """
    folders, _, file = entry.name.rpartition("/")
    if _is_passed_over(file) or not (calls_itself_photo(file) or calls_itself_archive(file)):
        return False
    parts = folders.split("/")
    return parts[0] != _MAC_FOLDER and not any(map(_is_passed_over, parts))


def _is_passed_over(part: str) -> bool:
    """Whether a part of a path is hidden. Two dots are not, they lead elsewhere."""
    return is_hidden(part) and part.partition("\\")[0] != ".."


def flaw(entry: Entry, limits: ArchiveLimits) -> PhotoError | None:
    """Why the item is not taken, as far as the directory tells; None where nothing is wrong."""
    return next(_flaws(entry, limits), None)


def _flaws(entry: Entry, limits: ArchiveLimits) -> Iterator[PhotoError]:
    yield from _flaws_of_name(entry.name)
    if stat.S_IFMT(entry.unix_mode) not in {0, stat.S_IFREG}:
        yield EntrySpecialError("the entry is a link or a device; pack the photo itself")
    if calls_itself_archive(entry.name):
        yield NestedArchiveError(NESTED)
    if entry.flags & (ENCRYPTED | STRONGLY_ENCRYPTED) or entry.method == _AES:
        yield EntryEncryptedError("the entry is encrypted; pack the photo without a password")
    if entry.method not in {STORED, DEFLATED} or entry.flags & PATCHED:
        how = _METHODS.get(entry.method, f"method {entry.method}")
        yield MethodUnsupportedError(
            f"the entry is packed with {how}; store or deflate it, as zip does by itself"
        )
    yield from _flaws_of_size(entry, limits)


def _flaws_of_name(name: str) -> Iterator[PhotoError]:
    if _OUTSIDE.match(name):
        yield PathOutsideError(
            "the entry's name leads out of the archive; pack it with names below one folder"
        )
    if len(name) > MAX_FILE_NAME_CHARS:
        yield EntryNameError(
            f"the entry's name has {len(name)} characters; at most {MAX_FILE_NAME_CHARS} are "
            "allowed"
        )
    if "\\" in name:
        yield EntryNameError("the entry's name has a backslash in it; folders are parted by /")
    if not storable(name):
        yield EntryNameError("the entry's name has control characters in it; rename the file")


def _flaws_of_size(entry: Entry, limits: ArchiveLimits) -> Iterator[PhotoError]:
    if not entry.size_bytes:
        yield EmptyFileError("the file is empty; send the photo's bytes")
    if entry.size_bytes > limits.max_photo_bytes:
        yield FileTooLargeError(
            f"the file has more than the {limits.max_photo_bytes} bytes allowed; send a smaller one"
        )
    if _packs_too_much(entry):
        yield SizeMismatchError("the entry's packed bytes are not of its size; pack the photo anew")
    if entry.size_bytes > max(SMALL_BYTES, MAX_RATIO * entry.packed_bytes):
        yield RatioTooHighError(
            f"the entry unpacks to more than {MAX_RATIO} times its size, as no photo does; "
            "send it as PNG or JPEG"
        )


def _packs_too_much(entry: Entry) -> bool:
    """Whether it has more packed bytes than the worst packer makes of its unpacked ones."""
    if entry.method == STORED:
        return entry.packed_bytes != entry.size_bytes
    return entry.packed_bytes > entry.size_bytes + entry.size_bytes // 8 + 1024
