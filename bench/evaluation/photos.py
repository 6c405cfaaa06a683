"""Photos as the workers read them."""

from pathlib import Path

from pipeline.engine import Engine
from pipeline.scene import Scene

MAX_PIXELS = 100_000_000


def scene_of(path: Path, engine: Engine) -> Scene:
    """The photo at `path`, as `engine` reads it."""
    return engine.open(path.read_bytes(), max_pixels=MAX_PIXELS)
