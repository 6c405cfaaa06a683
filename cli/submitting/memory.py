"""What is remembered of submissions, so that one that broke off goes on with its job."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from cli.asking import Json
from cli.stack.home import Home, home_errors, write_private
from cli.stack.lock import FileLock
from pipeline.errors import FaceBatchError

LOCAL = "local"
"""In place of an address: the stack of the home, whose port may change."""


class SubmissionBusyError(FaceBatchError):
    """Another process submits the same at this moment."""

    code = "submission_busy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A submission that was begun."""

    job_id: str
    content: str | None
    """What was submitted, as a hash, once all of it was; None before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The notes on one target: a folder, a file or a place in a bucket."""

    folder: Path
    target: str
    server: str
    """An address, or `LOCAL`."""

    def recall(self, wanted: Json) -> Remembered | None:
        """The last submission to this server for a job like this, if any."""
        try:
            told = json.loads(self._file(wanted).read_text(encoding="utf-8"))
            content = told["content"]
            return Remembered(
                job_id=str(told["job_id"]), content=None if content is None else str(content)
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, wanted: Json, remembered: Remembered) -> None:
        """Remembers a submission in the place of the last."""
        told = {"target": self.target, "server": self.server, "job": wanted}
        text = json.dumps(told | asdict(remembered), indent=1) + "\n"
        with home_errors(self.folder):
            write_private(self._file(wanted), text)

    def _file(self, wanted: Json) -> Path:
        asked = json.dumps([self.server, wanted], sort_keys=True)
        return self.folder / f"{_hash(asked)}.json"


@contextlib.contextmanager
def memory_of(home: Home, target: str, api_url: str | None) -> Iterator[Memory]:
    """The notes on a target, for this process alone; raises `SubmissionBusyError`, `HomeError`."""
    folder = home.submissions / _hash(target)
    with contextlib.ExitStack() as opened:
        with home_errors(home.path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = opened.enter_context(FileLock(folder / "lock"))
        if not lock.exclusive():
            raise SubmissionBusyError(f"{target} is being submitted by another process")
        server = LOCAL if api_url is None else api_url.rstrip("/")
        yield Memory(folder=folder, target=target, server=server)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
