"""The bare engine: a folder through `facebatch embed`'s processes, from when they are ready on."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from cli.embedding.messages import Orders
from cli.embedding.pool import Pool
from pipeline.face_limits import NO_LIMITS
from pipeline.specs import DEFAULT_ENGINE


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRun:
    """What a folder has taken."""

    seconds: float
    cpu_seconds: float


class _WarmPool(Pool):
    """Gives out nothing before all its processes have loaded their engine, as workers have."""

    began_at: float | None = None
    cpu_before = 0.0

    def cpu_seconds(self) -> float:
        """What its processes have taken so far."""
        pids = [process.popen.pid for process in self._processes.values()]
        return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in pids)

    def _hand_out(self) -> None:
        if self.began_at is None:
            if sum(process.ready for process in self._processes.values()) < self._wanted:
                return
            self.began_at, self.cpu_before = time.monotonic(), self.cpu_seconds()
        super()._hand_out()


def run_engine(folder: Path, photos: Sequence[str], models_dir: Path, processes: int) -> EngineRun:
    """From the first photo to the last face's embedding; all photos must be readable."""
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
        ended_at, cpu_after = time.monotonic(), pool.cpu_seconds()
    assert pool.began_at is not None, "the engine did not begin"
    assert done == len(photos), "the engine lost photos"
    return EngineRun(seconds=ended_at - pool.began_at, cpu_seconds=cpu_after - pool.cpu_before)
