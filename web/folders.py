"""Folders: where in the bucket this process puts what requests bring.

Each lies below an upload, which was announced before anything was sent there: so nothing that a
process leaves behind is lost sight of. To announce each request by itself would cost a small
submission as much again. So requests of a tenant share a folder, for a while.
"""

import contextlib
import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog

from db.errors import UnavailableError
from db.session import Database, transaction
from db.uploads import FOLDER_AGE, REQUEST_AGE, UploadExpiredError, begin_upload, end_upload

log = structlog.get_logger()
MAX_OBJECTS = 1000
"""After so many another folder is begun: one that is swept is listed whole."""


@dataclass(slots=True, kw_only=True, eq=False)
class Folder:
    """Everything below one upload."""

    upload_id: uuid.UUID
    tenant_id: int
    begun_at: float = field(default_factory=time.monotonic)
    users: int = 1
    is_unclear: bool = False
    """Something may lie in it that no row knows of."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _last: int = -1

    def new_key(self) -> str:
        """A key that nobody else has."""
        self._last = next(self._numbers)
        return f"{self.upload_id}/{self._last}"

    @property
    def is_used_up(self) -> bool:
        """Whether those who come next need another."""
        too_old = time.monotonic() - self.begun_at > FOLDER_AGE.total_seconds()
        return too_old or self._last >= MAX_OBJECTS


class Folders:
    """One for each tenant that sends something. To be shared by threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._current: dict[int, Folder] = {}

    @contextlib.contextmanager
    def entered(self, tenant_id: int) -> Iterator[Folder]:
        """A folder of the tenant's, which is there until all have left it, and longer.

        Whoever leaves it with nothing raised has made rows of all that it put there, or doomed it.
        Raises `DatabaseUnavailableError`.
        """
        folder = self._shared(tenant_id) or self._begun(tenant_id)
        try:
            yield folder
        except BaseException as exc:
            # Nobody knows what has been committed, or what the bucket has taken.
            if isinstance(exc, UnavailableError) or not isinstance(exc, Exception):
                folder.is_unclear = True
            if isinstance(exc, UploadExpiredError):
                self._give_up(folder)
            raise
        finally:
            self._leave(folder)

    def _shared(self, tenant_id: int) -> Folder | None:
        with self._lock:
            folder = self._current.get(tenant_id)
            if folder is None or folder.is_used_up:
                return None
            folder.users += 1
            return folder

    def _begun(self, tenant_id: int) -> Folder:
        """A new one. Where several come at the same moment each begins one, and the last stays."""
        with transaction(self._database) as session:
            upload_id = begin_upload(session, tenant_id, kept_for=REQUEST_AGE + FOLDER_AGE)
        folder = Folder(upload_id=upload_id, tenant_id=tenant_id)
        with self._lock:
            old = self._current.get(tenant_id)
            kept = {one: each for one, each in self._current.items() if not each.is_used_up}
            self._current = kept | {tenant_id: folder}
            is_over = old is not None and old.users == 0
        if old is not None and is_over:
            self._end(old)
        return folder

    def _give_up(self, folder: Folder) -> None:
        with self._lock:
            if self._current.get(folder.tenant_id) is folder:
                del self._current[folder.tenant_id]

    def _leave(self, folder: Folder) -> None:
        with self._lock:
            folder.users -= 1
            is_over = folder.users == 0 and self._current.get(folder.tenant_id) is not folder
        if is_over:
            self._end(folder)

    def _end(self, folder: Folder) -> None:
        """Where all in it has its rows nobody needs to look there; else it is swept in its time."""
        if folder.is_unclear:
            return
        try:
            with transaction(self._database) as session:
                end_upload(session, folder.upload_id)
        except UnavailableError as exc:
            log.warning("upload_left_behind", upload_id=str(folder.upload_id), code=exc.code)
