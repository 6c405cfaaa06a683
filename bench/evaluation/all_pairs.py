"""Every photo against every other: millions of distances, from products of blocks of embeddings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.evaluation.templates import Templates

BLOCK = 512
NEAREST_SHARE = 0.02
"""Share of the non-mated pairs, the nearest, whose photos are kept in mind for resampling."""
REPLICATES = 400
SEED = 19795

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllPairs:
    """All pairs of n photos; pairs without a template on both sides have an infinite distance."""

    mated: Floats
    """Ascending, shape (m,)."""
    mated_people: Numbers
    """Whom each mated pair shows, shape (m,)."""
    nonmated: Floats
    """Ascending, shape (k,)."""
    nearest_people: Numbers
    """Whom the nearest non-mated pairs show, in their order, shape (2 % of k, 2)."""
    nearest_photos: Numbers
    """Their photos, shape (2 % of k, 2)."""


def distances(left: NDArray[np.floating], right: NDArray[np.floating]) -> Floats:
    """L2 distances of (n, d) and (m, d), shape (n, m), as |a|^2 + |b|^2 - 2ab in float64.

    The rounding of that formula costs 1e-8 at most for numbers of an embedding's size.
    """
    one, other = left.astype(np.float64), right.astype(np.float64)
    squared = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)), dtype=np.float64)


def all_pairs(templates: Templates, people: Numbers) -> AllPairs:
    """The distances of all pairs of photos i < j; `people` (n,) numbers who is in each."""
    n = len(people)
    upper = np.triu_indices(n, 1)
    full = np.empty(len(upper[0]))
    position = 0
    for start in range(0, n, BLOCK):
        stop = min(start + BLOCK, n)
        block = distances(templates.embeddings[start:stop], templates.embeddings)
        block[~templates.enrolled[start:stop]] = np.inf
        block[:, ~templates.enrolled] = np.inf
        for row in range(start, stop):
            full[position : position + n - row - 1] = block[row - start, row + 1 :]
            position += n - row - 1
    same = people[upper[0]] == people[upper[1]]
    photos = np.stack(upper, axis=1)
    mated_order = np.argsort(full[same], kind="stable")
    apart, apart_photos = full[~same], photos[~same]
    kept = max(1, int(len(apart) * NEAREST_SHARE))
    nearest = np.argpartition(apart, kept - 1)[:kept]
    nearest = nearest[np.argsort(apart[nearest], kind="stable")]
    return AllPairs(
        mated=full[same][mated_order],
        mated_people=people[photos[same][mated_order, 0]],
        nonmated=np.sort(apart),
        nearest_people=people[apart_photos[nearest]],
        nearest_photos=apart_photos[nearest],
    )


def resampled_fnmr(pairs: AllPairs, sizes: Numbers, fmrs: list[float]) -> Floats:
    """FNMR at each FMR (up to 1 %) in bootstrap samples of people, shape (replicates, fmrs).

    `sizes` is the number of photos of each person. Pairs share photos and people, so that they are
    not independent; what can be drawn anew is people. Someone drawn twice makes their pairs count
    twice on each side; a pair of the two copies of one person is not formed. The samples are the
    same for every engine, so that differences between engines can be taken within a sample.
    """
    generator = np.random.default_rng(SEED)
    result = np.empty((REPLICATES, len(fmrs)))
    tail = pairs.nonmated[: len(pairs.nearest_people)]
    for replicate in range(REPLICATES):
        times = np.bincount(
            generator.integers(0, len(sizes), len(sizes)), minlength=len(sizes)
        ).astype(np.float64)
        photos = times * sizes
        total = (photos.sum() ** 2 - (photos**2).sum()) / 2
        weight = np.cumsum(times[pairs.nearest_people].prod(axis=1))
        mated = np.cumsum(times[pairs.mated_people])
        for n, fmr in enumerate(fmrs):
            first_wrong = int(np.searchsorted(weight, fmr * total + 1e-9, side="right"))
            nearer = np.searchsorted(pairs.mated, tail[min(first_wrong, len(tail) - 1)])
            result[replicate, n] = 1 - (mated[nearer - 1] if nearer else 0) / mated[-1]
    return result
