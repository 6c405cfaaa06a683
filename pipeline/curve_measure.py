"""An error curve from measured distances: many million of them become some hundred points."""

import numpy as np
import numpy.typing as npt

from pipeline.error_curve import FEWEST_PAIRS, SUPPORTING_ERRORS, ErrorCurve
from pipeline.errors import CurveError

POINTS_PER_DECADE = 20
"""Of FMR, from the lowest supported one to 1."""
POINTS_BELOW = 30
"""Between the nearest mated pair and the lowest supported FMR; FNMR is known there."""
DECIMALS = 6

Distances = npt.NDArray[np.floating]


def curve_of_distances(impostor: Distances, mated: Distances, *, measured_on: str) -> ErrorCurve:
    """The curve of an engine's distances: pairs of two people, and pairs of one.

    Both arrays have shape (n,), any float type, and ascend; they are not copied. The points lie at
    distances of at most six decimals, and their rates are exactly those of these distances.
    Raises `CurveError`.
    """
    for name, distances in (("impostor", impostor), ("mated", mated)):
        if distances.ndim != 1 or not _ascends(distances):
            raise CurveError(f"{name} distances are numbers that ascend")
    if len(impostor) < FEWEST_PAIRS or not len(mated):
        raise CurveError(f"a curve takes {FEWEST_PAIRS} impostor pairs and a mated one, or more")
    knots = _knots(impostor, mated)
    fmr = np.searchsorted(impostor, knots, side="right") / len(impostor)
    fnmr = 1 - np.searchsorted(mated, knots, side="right") / len(mated)
    # Where FMR stands still between two points, the second says nothing that the last does not.
    kept = np.concatenate(([True], (fmr[1:-1] > fmr[:-2]) & (fmr[1:-1] < 1), [True]))
    kept |= fmr < SUPPORTING_ERRORS / len(impostor)
    return ErrorCurve(
        distances=_rounded(knots[kept], DECIMALS),
        fmr=_rounded(fmr[kept], 12),
        fnmr=_rounded(fnmr[kept], 12),
        impostor_pairs=len(impostor),
        mated_pairs=len(mated),
        measured_on=measured_on,
    )


def _ascends(distances: Distances) -> bool:
    # In parts: the differences of a hundred million distances would take as much memory again.
    step = 1_000_000
    return all(
        bool(np.all(np.diff(distances[start : start + step + 1]) >= 0))
        for start in range(0, len(distances), step)
    ) and bool(np.isfinite(distances[[0, -1]]).all() if len(distances) else True)


def _knots(impostor: Distances, mated: Distances) -> npt.NDArray[np.float64]:
    """Distances of the points, rounded and ascending."""
    pairs = len(impostor)
    decades = np.log10(pairs / SUPPORTING_ERRORS)
    shares = np.logspace(-decades, 0, int(np.ceil(decades * POINTS_PER_DECADE)) + 1)
    ranks = np.clip(np.round(shares * pairs).astype(np.int64), SUPPORTING_ERRORS, pairs)
    supported = impostor[ranks - 1].astype(np.float64)
    below = np.linspace(
        min(float(mated[0]), supported[0]), supported[0], POINTS_BELOW, endpoint=False
    )
    # Rounded up: a point that was rounded down would lose the very pair that it was put at. The
    # last, which may lose none, goes one further than any error of rounding does.
    scale = 10.0**DECIMALS
    last = max(float(impostor[-1]), float(mated[-1])) + 1 / scale
    return np.unique(np.ceil(np.concatenate((below, supported, [last])) * scale) / scale)


def _rounded(values: npt.NDArray[np.float64], decimals: int) -> tuple[float, ...]:
    return tuple(round(float(value), decimals) for value in values)
