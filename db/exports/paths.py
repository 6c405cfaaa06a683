"""Where a photo's sidecar belongs, below a folder that it never leaves."""

import hashlib
import re

from db.exports.lines import Line

SUFFIX = ".xmp"
ELSEWHERE = "other-names"
"""The folder of sidecars of photos whose names are no paths that we would write to."""
MAX_PART_BYTES, MAX_PATH_BYTES = 255, 1024
# Control characters, what Windows takes for a separator or a drive, and text without a spelling.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\\\\:\u2028\u2029\ud800-\udfff]")


class SidecarPaths:
    """The paths of one job's sidecars, relative, each given once."""

    def __init__(self) -> None:
        self._unnamed: set[str] = set()

    def path(self, line: Line) -> str:
        """`<client id>.xmp`, where the id is a plain relative path; else one made of its hash.

        Ids are their job's alone. Photos that were sent without one have their file's name, of
        which a job may have several: the second gets a number.
        """
        client_id = line["client_id"]
        if client_id is not None:
            return _path_of(client_id)
        name, number = line["name"], 1
        while name in self._unnamed:
            number += 1
            name = f"{line['name']} ({number})"
        self._unnamed.add(name)
        return _path_of(name)


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
