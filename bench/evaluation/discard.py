"""Error versus discard: whether pairs of poor quality are the ones that are missed.

Grother and Tabassi, "Performance of biometric quality measures", 2007.
"""

import numpy as np
from numpy.typing import NDArray

from bench.evaluation.templates import QUALITY_COLUMNS, Templates

SHARES = (0.0, 0.05, 0.1, 0.2)
"""Shares of the mated pairs that are left out."""

Floats = NDArray[np.floating]


def fnmr_after_discard(
    mated: Floats, quality: Floats, threshold: float, shares: tuple[float, ...] = SHARES
) -> list[float]:
    """FNMR at `threshold` when the given shares of mated pairs are left out, the poorest first.

    `mated` (n,) are distances, `quality` (n,) that of each pair: the lower of its photos' two.
    Pairs of one quality stand for each other: each counts as the mean of them all, so that the
    order in which they happen to come decides nothing.
    """
    _, level = np.unique(quality, return_inverse=True)
    missed = (np.bincount(level, mated > threshold) / np.bincount(level))[np.sort(level)]
    return [float(missed[round(share * len(missed)) :].mean()) for share in shares]


def discarded(
    templates: Templates, people: NDArray[np.int64], threshold: float
) -> dict[str, list[float]]:
    """FNMR at `threshold` after each of `SHARES`, by what pairs are rejected for.

    `overall` is the quality that the engine tells; the others are its parts, each alone.
    """
    one, other = np.triu_indices(len(people), 1)
    mated = (people[one] == people[other]) & templates.enrolled[one] & templates.enrolled[other]
    one, other = one[mated], other[mated]
    distances = np.linalg.norm(templates.embeddings[one] - templates.embeddings[other], axis=1)
    return {
        name: fnmr_after_discard(distances, np.minimum(column[one], column[other]), threshold)
        for name, column in _columns(templates.quality).items()
    }


def _columns(quality: Floats) -> dict[str, Floats]:
    """Numbers that are higher where a face is better."""
    named = {name: quality[:, n] for n, name in enumerate(QUALITY_COLUMNS)}
    yaw, pitch = np.abs(named.pop("yaw")), np.abs(named.pop("pitch"))
    return named | {"yaw": -yaw, "pitch": -pitch, "pose": -np.maximum(yaw, pitch)}
