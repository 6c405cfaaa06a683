"""What the server accepted, written down by the client before it goes on."""

import json
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from bench.soak.photos import SoakPhoto


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A photo that a 2xx answer took into a job."""

    job_id: str
    kind: str
    way: str
    name: str
    """The file's name; unique in its job, whether it is the photo's client id or not."""
    sha256: str


class Journal:
    """A file that grows by a line for each answer, each on the disk before the next request."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def accepted(self, job_id: str, kind: str, way: str, photos: Sequence[SoakPhoto]) -> None:
        """The server has said that it has these photos."""
        lines = [
            asdict(Accepted(job_id=job_id, kind=kind, way=way, name=one.name, sha256=one.sha256))
            for one in photos
        ]
        self._write(*(json.dumps({"accepted": line}) for line in lines))

    def sealed(self, job_id: str) -> None:
        """The server has said that the job takes no further photos."""
        self._write(json.dumps({"sealed": job_id}))

    def _write(self, *lines: str) -> None:
        with self._lock:
            self._file.writelines(line + "\n" for line in lines)
            self._file.flush()
            os.fsync(self._file.fileno())


def read_journal(path: Path) -> tuple[list[Accepted], set[str]]:
    """The accepted photos, and the jobs that were sealed."""
    accepted, sealed = [], set()
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if "accepted" in entry:
            accepted.append(Accepted(**entry["accepted"]))
        else:
            sealed.add(entry["sealed"])
    return accepted, sealed
