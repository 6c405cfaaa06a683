"""What an engine's templates come to: on the published pairs, and on all pairs of all photos."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.evaluation import rates
from bench.evaluation.all_pairs import AllPairs, all_pairs, resampled_fnmr
from bench.evaluation.data import Pairs, Photos
from bench.evaluation.folds import folds_of
from bench.evaluation.rates import Accuracy, Point
from bench.evaluation.templates import Templates

PAIR_FMRS = (1e-2, 1e-3)
"""1,100 non-mated pairs say no more than that."""
ALL_FMRS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPairs:
    """Results on pairs.tsv."""

    at_fmr: dict[float, Point]
    at_threshold: Point
    best_distance: float
    best_accuracy: float
    folds: Accuracy
    failure_to_enrol: float
    """Share of the photos in which no face was found."""
    failed_pairs: tuple[int, int]
    """Mated and non-mated pairs with such a photo."""
    mated: int
    nonmated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OnAllPairs:
    """Results on all pairs of all photos."""

    pairs: AllPairs
    photos: int
    at_fmr: dict[float, Point]
    at_threshold: Point
    resampled: Floats
    """FNMR at each FMR in samples of people, shape (samples, FMRs)."""

    def interval(self, fmr: float) -> tuple[float, float]:
        """95 % of the samples lie in it."""
        column = self.resampled[:, list(self.at_fmr).index(fmr)]
        return float(np.quantile(column, 0.025)), float(np.quantile(column, 0.975))

    def better_than(self, other: "OnAllPairs", fmr: float) -> tuple[float, float]:
        """95 % interval of the other's FNMR less this one's, in the same samples of people."""
        n = list(self.at_fmr).index(fmr)
        less = other.resampled[:, n] - self.resampled[:, n]
        return float(np.quantile(less, 0.025)), float(np.quantile(less, 0.975))


def on_pairs(templates: Templates, photos: Photos, pairs: Pairs, threshold: float) -> OnPairs:
    """Verification on the published pairs; `threshold` is the engine's own."""
    mated, nonmated = (_distances(templates, some) for some in (pairs.mated, pairs.nonmated))
    folds = folds_of(pairs.mated, pairs.nonmated, photos.people)
    ascending = np.sort(nonmated)
    distance, accuracy = rates.best_threshold(mated, nonmated)
    return OnPairs(
        at_fmr={fmr: rates.at_fmr(mated, ascending, fmr) for fmr in PAIR_FMRS},
        at_threshold=rates.at_distance(mated, nonmated, threshold),
        best_distance=distance,
        best_accuracy=accuracy,
        folds=rates.cross_validated(mated, nonmated, *folds),
        failure_to_enrol=float(np.mean(~templates.enrolled)),
        failed_pairs=(int(np.isinf(mated).sum()), int(np.isinf(nonmated).sum())),
        mated=len(mated),
        nonmated=len(nonmated),
    )


def _distances(templates: Templates, pairs: tuple[tuple[int, int], ...]) -> Floats:
    one, other = np.array(pairs).T
    apart = np.linalg.norm(
        templates.embeddings[one].astype(np.float64) - templates.embeddings[other], axis=1
    )
    apart[~(templates.enrolled[one] & templates.enrolled[other])] = np.inf
    return np.asarray(apart, dtype=np.float64)


def on_all_pairs(templates: Templates, people: NDArray[np.int64], threshold: float) -> OnAllPairs:
    """Verification on every pair of photos; takes seconds and a few hundred megabytes.

    `people` (n,) numbers who is in each photo.
    """
    people = np.unique(people, return_inverse=True)[1]
    pairs = all_pairs(templates, people)
    return OnAllPairs(
        pairs=pairs,
        photos=len(people),
        at_fmr={fmr: rates.at_fmr(pairs.mated, pairs.nonmated, fmr) for fmr in ALL_FMRS},
        at_threshold=rates.at_distance(pairs.mated, pairs.nonmated, threshold),
        resampled=resampled_fnmr(pairs, np.bincount(people), list(ALL_FMRS)),
    )
