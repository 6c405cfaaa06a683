"""Where a photo's sidecar belongs, below a folder that it never leaves."""

import hashlib
import re

from db.exports.lines import Line

SUFFIX = ".xmp"
ELSEWHERE = "other-names"
"""The folder of sidecars of photos whose names are no paths that we would write to."""
_IN_NO_ID = "\0"
"""The database takes no text with it, and a path with it is made of a hash."""
MAX_PART_BYTES, MAX_PATH_BYTES = 255, 1024
# Control characters, what Windows takes for a separator or a drive, and text without a spelling.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\\\\:\u2028\u2029\ud800-\udfff]")


class SidecarPaths:
    """The paths of one job's sidecars, relative, each given once."""

    def __init__(self) -> None:
        self._unnamed: set[str] = set()
        self._has_ids = False

    def path(self, line: Line) -> str:
        """`<client id>.xmp`, where the id is a plain relative path; else one made of its hash.

        Ids are their job's alone, and too many to remember. Photos that were sent without one have
        their file's name, of which a job may have several: the second gets a number. Once there
        are ids such a photo gets a path that no id has, and so does an id that is like the name of
        a photo before it.
        """
        client_id = line["client_id"]
        if client_id is None:
            return _path_of(self._numbered(line["name"]))
        self._has_ids = True
        return _path_of(client_id + _IN_NO_ID if client_id in self._unnamed else client_id)

    def _numbered(self, name: str) -> str:
        if self._has_ids:
            name = _IN_NO_ID + name
        numbered, number = name, 1
        while numbered in self._unnamed:
            number += 1
            numbered = f"{name} ({number})"
        self._unnamed.add(numbered)
        return numbered


def elsewhere(name: str) -> str:
    """A path for a name that is none; equal names get equal ones."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{ELSEWHERE}/{digest[:32]}{SUFFIX}"


def _path_of(name: str) -> str:
    return name + SUFFIX if _is_plain(name) else elsewhere(name)


def _is_plain(name: str) -> bool:
    """Whether the name, taken for a path, leads to a file below the folder and nowhere else."""
    parts = name.split("/")
    return (
        not _UNSAFE.search(name)
        and parts[0] != ELSEWHERE
        and all(part not in {"", ".", ".."} for part in parts)
        and not any(part.endswith((" ", ".")) for part in parts)  # Windows drops them.
        and all(len(part.encode()) + len(SUFFIX) <= MAX_PART_BYTES for part in parts)
        and len(name.encode()) + len(SUFFIX) <= MAX_PATH_BYTES
    )
