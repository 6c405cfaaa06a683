"""Error rates of distances whose truth is known. Terms: ISO/IEC 19795-1.

A pair whose photo gave no template has an infinite distance: it is a miss where it is mated, and no
false match where it is not. FMR and FNMR so count all attempts, those that failed to enrol too
(the standard calls such rates "generalized", GFAR and GFRR).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

Z_95 = 1.959964
"""Of a normal distribution, 95 % lie within so many standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a threshold stands, and what follows from it."""

    distance: float
    fmr: float
    fnmr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Share of right decisions when thresholds are learnt on nine folds and used on the tenth."""

    mean: float
    deviation: float
    """Standard deviation of the folds' accuracies (n - 1)."""
    folds: tuple[float, ...]


def at_distance(mated: Floats, nonmated: Floats, distance: float) -> Point:
    """The error rates of a threshold: two photos at most that far apart are taken for one person.

    Both arrays have shape (n,), in any order.
    """
    return Point(
        distance=distance,
        fmr=float(np.mean(nonmated <= distance)),
        fnmr=float(np.mean(mated > distance)),
    )


def at_fmr(mated: Floats, nonmated: Floats, fmr: float) -> Point:
    """The widest threshold whose FMR is `fmr` at most; `nonmated` ascends.

    It lies just below the distance of the first pair that would be a false match too many.
    """
    allowed = math.floor(fmr * len(nonmated) + 1e-9)
    if allowed >= len(nonmated):
        return at_distance(mated, nonmated, float(nonmated[-1]))
    return at_distance(mated, nonmated, float(np.nextafter(nonmated[allowed], -np.inf)))


def best_threshold(mated: Floats, nonmated: Floats) -> tuple[float, float]:
    """The threshold with the most right decisions, mated and non-mated alike, and their share.

    Of several, the middle one of the first stretch: half-way between two neighbours.
    """
    distances = np.concatenate([mated, nonmated])
    order = np.argsort(distances, kind="stable")
    ascending = distances[order]
    is_mated = order < len(mated)
    # Right decisions when the first k pairs are accepted, where the threshold can fall there.
    right = np.concatenate([[len(nonmated)], len(nonmated) + np.cumsum(np.where(is_mated, 1, -1))])
    can_fall = np.concatenate([[True], ascending[1:] > ascending[:-1], [True]])
    can_fall[1:] &= np.isfinite(ascending)
    best = int(np.argmax(np.where(can_fall, right, -1)))
    accuracy = float(right[best] / len(distances))
    if best == 0:
        return float(np.nextafter(ascending[0], -np.inf)), accuracy
    low = ascending[best - 1]
    high = ascending[best] if best < len(ascending) and np.isfinite(ascending[best]) else low
    return float((low + high) / 2), accuracy


def cross_validated(
    mated: Floats, nonmated: Floats, mated_folds: Sequence[int], nonmated_folds: Sequence[int]
) -> Accuracy:
    """Accuracy on each fold at the best threshold of the others."""
    folds_m, folds_n = np.asarray(mated_folds), np.asarray(nonmated_folds)
    shares = []
    for fold in sorted({*mated_folds, *nonmated_folds}):
        distance, _ = best_threshold(mated[folds_m != fold], nonmated[folds_n != fold])
        mine, others = mated[folds_m == fold], nonmated[folds_n == fold]
        right = np.count_nonzero(mine <= distance) + np.count_nonzero(others > distance)
        shares.append(float(right / (len(mine) + len(others))))
    return Accuracy(
        mean=float(np.mean(shares)),
        deviation=float(np.std(shares, ddof=1)),
        folds=tuple(shares),
    )


def wilson(errors: int, trials: int) -> tuple[float, float]:
    """The 95 % confidence interval of a rate of independent trials (Wilson, 1927)."""
    rate, squared = errors / trials, Z_95**2 / trials
    middle = (rate + squared / 2) / (1 + squared)
    half = math.sqrt(rate * (1 - rate) * squared + squared**2 / 4) / (1 + squared)
    return max(0.0, middle - half), min(1.0, middle + half)


def predicted_fpir(fmr: float, subjects: int) -> float:
    """Share of strangers that find somebody in a gallery of `subjects` people, one template each.

    As if comparisons were independent, which they are not: see docs/accuracy.md.
    """
    return -math.expm1(subjects * math.log1p(-fmr)) if fmr < 1 else 1.0
