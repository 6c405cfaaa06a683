"""The bare engine: a folder through `facebatch embed`'s processes, from when they are ready on."""

import time
from collections.abc import Sequence
from pathlib import Path

from cli.embedding.messages import Orders
from cli.embedding.pool import Pool
from pipeline.face_limits import NO_LIMITS
from pipeline.specs import DEFAULT_ENGINE


class _WarmPool(Pool):
    """Gives out nothing before all its processes have loaded their engine, as workers have."""

    began_at: float | None = None

    def _hand_out(self) -> None:
        if self.began_at is None:
            if sum(process.ready for process in self._processes.values()) < self._wanted:
                return
            self.began_at = time.monotonic()
        super()._hand_out()


def engine_seconds(folder: Path, photos: Sequence[str], models_dir: Path, processes: int) -> float:
    """Seconds from the first photo to the last face's embedding; all must be readable."""
    orders = Orders(
        engine=DEFAULT_ENGINE.name,
        photos_dir=folder,
        models_dir=models_dir,
        max_file_bytes=25_000_000,
        max_pixels=100_000_000,
        limits=NO_LIMITS,
    )
    done = 0
    with _WarmPool(orders, photos, processes) as pool:
        for result in pool.results():
            done += result.photo_count
            assert not result.failed, f"{len(result.failed)} photos failed"
        ended_at = time.monotonic()
        began_at = pool.began_at
    assert began_at is not None and done == len(photos)  # noqa: PT018 - one statement: it ran.
    return ended_at - began_at
