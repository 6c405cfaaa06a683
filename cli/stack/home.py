"""The folder in which all state of a local stack lives."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.stack.errors import HomeError
from db.settings import MODELS_FOLDER, Settings

LAYOUT = "1"
"""Changes with the arrangement of the home, so that no version misreads another's."""
MIN_FREE_BYTES = 200_000_000
"""An empty stack takes 90 MB; with less than this PostgreSQL soon stops for want of space."""


@dataclass(frozen=True, slots=True)
class Home:
    """A home folder and what lies in it. Made by `open_home`."""

    path: Path

    @property
    def marker(self) -> Path:
        """Says that the folder is a home of ours, and in which layout."""
        return self.path / "facebatch-home"

    @property
    def secrets(self) -> Path:
        """Generated passwords, a file each."""
        return self.path / "secrets"

    @property
    def logs(self) -> Path:
        """A file for each part."""
        return self.path / "logs"

    @property
    def heartbeats(self) -> Path:
        """A file for each part that is watched, which touches it while it is well."""
        return self.path / "heartbeats"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's folder; the database is in `data` below it."""
        return self.path / "postgres"

    @property
    def valkey(self) -> Path:
        """Valkey's folder."""
        return self.path / "valkey"

    @property
    def seaweedfs(self) -> Path:
        """SeaweedFS's folder: the photos."""
        return self.path / "seaweedfs"

    @property
    def submissions(self) -> Path:
        """What `facebatch submit` notes down of folders and files, to go on with their jobs."""
        return self.path / "submissions"

    @property
    def state(self) -> Path:
        """What the supervisor tells others."""
        return self.path / "state.json"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the one process that may start, stop and write here."""
        return self.path / "supervisor.lock"

    @property
    def users_lock(self) -> Path:
        """Shared by those who use a stack for a while."""
        return self.path / "users.lock"

    def log(self, name: str) -> Path:
        """The log of the part `name`."""
        return self.logs / f"{name}.log"

    def heartbeat(self, name: str) -> Path:
        """The file that the part `name` touches."""
        return self.heartbeats / name


def home_of(settings: Settings) -> Path:
    """The home folder that `settings` name, whether it exists or not."""
    return settings.home_dir


def open_home(path: Path) -> Home:
    """The home at `path`, made or completed where need be; raises `HomeError`."""
    with home_errors(path):
        path.mkdir(mode=_home_mode(), parents=True, exist_ok=True)
        home = Home(path.resolve())
        _claim(home)
        for folder in (home.secrets, home.logs, home.heartbeats, home.submissions):
            folder.mkdir(mode=0o700, exist_ok=True)
    return home


def existing_home(path: Path) -> Home | None:
    """The home at `path`, or None where there is none; makes nothing."""
    with home_errors(path):
        home = Home(path.resolve())
        return home if home.marker.exists() else None


def check_space(home: Home) -> None:
    """Raises `HomeError` where the disk is as good as full."""
    free_bytes = shutil.disk_usage(home.path).free
    if free_bytes < MIN_FREE_BYTES:
        raise HomeError(
            f"the disk of {home.path} is full: {free_bytes // 1_000_000} MB are free, and the "
            f"stack needs {MIN_FREE_BYTES // 1_000_000} MB; make room or set FACEBATCH_HOME"
        )


@contextlib.contextmanager
def home_errors(path: Path) -> Iterator[None]:
    """Turns what the system says about files of a home into a `HomeError` for its user."""
    try:
        yield
    except OSError as exc:
        reasons = {
            errno.EACCES: "it is not writable",
            errno.EPERM: "it is not writable",
            errno.EROFS: "its disk is read-only",
            errno.ENOSPC: "its disk is full",
            errno.EDQUOT: "its disk quota is used up",
            errno.ENOTDIR: "a file is where a folder should be",
            errno.EEXIST: "a file is where a folder should be",
            errno.ELOOP: "its symbolic links go round in a circle",
            errno.ENAMETOOLONG: "its path is too long",
        }
        reason = reasons.get(exc.errno or 0, exc.strerror or str(exc))
        where = f" ({exc.filename})" if exc.filename and str(exc.filename) != str(path) else ""
        raise HomeError(
            f"the home {path} cannot be used: {reason}{where}; "
            "choose another folder with FACEBATCH_HOME"
        ) from exc


def write_private(path: Path, content: str) -> None:
    """Writes a file that its owner alone can read, at no moment otherwise, whole or not at all."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _home_mode() -> int:
    # Root's PostgreSQL runs as `nobody`, which must pass through; what is inside stays closed.
    return 0o711 if os.geteuid() == 0 else 0o700


def _claim(home: Home) -> None:
    """Marks an empty folder as ours; raises `HomeError` for one that is somebody else's."""
    if not home.marker.exists():
        # Another process may be making this home at this very moment: so we look twice.
        others = [
            one
            for one in home.path.iterdir()
            if home.marker.name not in one.name and one.name != MODELS_FOLDER
        ]
        if others and not home.marker.exists():
            raise HomeError(
                f"{home.path} is no home of facebatch, and not empty: {home.marker.name} is "
                "missing; set FACEBATCH_HOME to a new or empty folder"
            )
        write_private(home.marker, LAYOUT + "\n")
    if home.marker.stat().st_uid != os.geteuid():
        raise HomeError(
            f"the home {home.path} belongs to another user; choose one of your own with "
            "FACEBATCH_HOME"
        )
    layout = home.marker.read_text(encoding="utf-8", errors="replace").strip()
    if layout != LAYOUT:
        raise HomeError(
            f"the home {home.path} was made by another version of facebatch (layout "
            f"{layout[:20]!r}, this one has {LAYOUT!r}); choose another folder with FACEBATCH_HOME"
        )
