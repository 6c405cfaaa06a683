"""What the processor itself allows: how fast a core multiplies, and what that means for `dlib`.

dlib's network is nearly all multiplications of 32-bit floats, and a large matrix product is the
fastest that a core does those. Run as `python -m bench.bound` it prints that product's GFLOP/s.
"""

import os
import subprocess
import sys
import time

NETWORK_GFLOP = 2 * 0.270854
"""Multiplications and additions for one chip of dlib's network, in units of 10^9."""
CHIPS_PER_FACE = 2
"""The face and its mirror image."""
SIDE, TIMES = 1024, 30


def core_gflop_per_s() -> float:
    """The rate of a matrix product on one core, in a process of its own with one thread."""
    environ = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench.bound"]
    return float(subprocess.run(command, env=environ, check=True, capture_output=True).stdout)


def most_photos_per_s(photos: int, faces: int, processes: int) -> float:
    """Photos a second with `processes` cores, if all but the network took no time at all."""
    core_s = faces * CHIPS_PER_FACE * NETWORK_GFLOP / core_gflop_per_s()
    return photos * processes / core_s


def _measured() -> float:
    import numpy as np

    matrix = np.random.default_rng(0).random((SIDE, SIDE), dtype=np.float32)
    best_s = float("inf")
    for _ in range(TIMES):
        started = time.perf_counter()
        matrix @ matrix
        best_s = min(best_s, time.perf_counter() - started)
    return 2 * SIDE**3 / best_s / 1e9


if __name__ == "__main__":
    print(_measured())
