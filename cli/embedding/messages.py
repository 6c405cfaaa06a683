"""What the command and its processes say to each other, pickled: both are of one run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.embedding.rows import Rows
from pipeline.face_limits import FaceLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a process is told first, and once."""

    engine: str
    models_dir: Path
    photos_dir: Path
    max_pixels: int
    max_file_bytes: int
    limits: FaceLimits


class Ready:
    """The first answer: the engine is loaded. An error comes in its place where it cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Photos that follow each other in the run."""

    first: int
    """The place of the first in the run."""
    photos: tuple[str, ...]
    """Paths relative to the folder."""
    again: bool = False
    """Whether a process was lost over them once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Done:
    """How a task ended."""

    first: int
    photo_count: int
    rows: Rows
    failed: Sequence[tuple[int, str]] = field(default=())
    """Photos without a result, by their place in the run, each with its error code."""
