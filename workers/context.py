"""What a worker process holds from its first to its last task."""

from dataclasses import dataclass, field
from typing import Self

import structlog

from db.session import Database, Role, make_database
from db.settings import Settings
from db.snapshots.searching import Searcher
from db.storage import ObjectStore
from pipeline.errors import FaceBatchError
from pipeline.loader import load_engine
from pipeline.specs import DEFAULT_ENGINE
from workers.board import Board, Slot
from workers.memory import return_free_memory, return_large_blocks

log = structlog.get_logger()
BYTES_OF_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """Settings and connections of one process. Made after the fork, never shared over one."""

    settings: Settings
    database: Database
    store: ObjectStore
    slot: Slot = field(default_factory=lambda: Board(processes=1).slot(0))
    """Where the process says what it holds; one of its own where nobody else looks."""
    searcher: Searcher = field(init=False)
    """Searches galleries, the large ones in this process's memory."""

    @classmethod
    def from_settings(cls, settings: Settings, slot: Slot | None = None) -> Self:
        """Connects lazily, and loads the default engine's models now rather than at a photo."""
        return_large_blocks()
        _load_default_engine(settings)
        return_free_memory()
        # One thread computes, one fetches; the others are for a reconnect, and for galleries that
        # are read into memory.
        database = make_database(
            settings.database or "", role=Role.SYSTEM, pool_size=2, max_overflow=2
        )
        return cls(
            slot=slot or Board(processes=1).slot(0),
            settings=settings,
            database=database,
            store=ObjectStore.from_settings(settings),
        )

    def __post_init__(self) -> None:
        searcher = Searcher(self.database, max_bytes=self.settings.search_memory_mb * BYTES_OF_MB)
        object.__setattr__(self, "searcher", searcher)

    def close(self) -> None:
        """Lets go of what it has; nothing is to be done with it any more."""
        self.searcher.close()
        self.database.dispose()


def _load_default_engine(settings: Settings) -> None:
    """Where that fails the process starts all the same: chunks meet the error and know what to do.

    Celery would pass over it and keep a process that can do nothing, on which photos wait for ever.
    """
    try:
        load_engine(DEFAULT_ENGINE.name, settings.models_dir)
    except FaceBatchError as exc:
        log.exception("engine_not_loaded", engine=DEFAULT_ENGINE.name, code=exc.code)
