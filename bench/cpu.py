"""CPU time by the parts of a stack, children and all."""

import contextlib
import os
from collections import defaultdict
from collections.abc import Mapping

import psutil

from bench.soak.stack import SoakStack

CLIENT = "client"


def cpu_seconds(stack: SoakStack) -> dict[str, float]:
    """Seconds of CPU by part since it was started, and as `client` this process's and its own's."""
    used: dict[str, float] = defaultdict(float)
    view = stack.view()
    for part in view.parts if view else ():
        if part.process is None:
            continue
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(part.process.pid)
            for process in (root, *root.children(recursive=True)):
                with contextlib.suppress(psutil.Error):
                    used[part.name] += sum(process.cpu_times()[:4])
    times = os.times()
    used[CLIENT] = sum(times[:4])
    return dict(used)


def spent_ms(
    before: Mapping[str, float], after: Mapping[str, float], photos: int
) -> dict[str, float]:
    """Milliseconds a photo by part, from one look to the next."""
    return {
        name: 1000 * (seconds - before.get(name, 0.0)) / photos for name, seconds in after.items()
    }
