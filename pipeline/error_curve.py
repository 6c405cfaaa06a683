"""How often an engine errs at a distance: strangers taken for one person, and people missed."""

import enum
import math
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import pairwise

from pipeline.errors import CurveError

SUPPORTING_ERRORS = 30
"""The rule of 30: of so many errors, the rate is within 30 % of the true one, nine times of ten."""
EXTRAPOLATED_BY = 10.0
"""How far below the lowest supported FMR the curve is continued: one decade."""
FEWEST_PAIRS = SUPPORTING_ERRORS * 10
"""Of fewer impostor pairs, no decade of FMR has support, and none could be continued."""

_Floats = tuple[float, ...]


class Basis(enum.StrEnum):
    """What a false match rate rests on."""

    MEASURED = "measured"
    """At least 30 false matches were seen at this distance, or nearer."""
    EXTRAPOLATED = "extrapolated"
    """Up to a decade below that: the line through the lowest measured decade goes on."""
    AT_MOST = "at_most"
    """Nearer still. Nothing is claimed but that the rate is no higher than the lowest one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorCurve:
    """Error rates by L2 distance, as they were measured on pairs of photos.

    Between its points, FNMR is linear in distance and the logarithm of FMR is. Where FMR has less
    than 30 errors behind it, the line through the lowest supported decade continues it for one
    decade. The logarithm of the tail of a bell curve bends downward, and that line lies above it.
    Real tails need not be bell curves: relatives and twins are nearer to each other than strangers.

    Raises `CurveError` where the points are no such curve.
    """

    distances: _Floats
    """Ascending, at least two. No pair is further apart than the last."""
    fmr: _Floats
    """Share of impostor pairs at most that far apart. Rises, strictly where it has support, to 1.

    From 0 on: points too near to have any false match are there for their FNMR.
    """
    fnmr: _Floats
    """Share of mated pairs further apart than that. Falls to 0."""
    impostor_pairs: int
    mated_pairs: int
    measured_on: str
    """The data, and where the curve is no plain measurement of it, that too."""
    _knots: _Floats = field(init=False, repr=False, compare=False)
    """Distances of the continued FMR curve: its end, its lowest support, the points above."""
    _logs: _Floats = field(init=False, repr=False, compare=False)
    """Natural logarithms of FMR there."""

    def __post_init__(self) -> None:
        self._check_points()
        self._check_rates()
        knots, logs = self._supported()
        knots, logs = _continued(knots, logs)
        # The one way to fill a field of a frozen value that is computed once and for all.
        object.__setattr__(self, "_knots", knots)
        object.__setattr__(self, "_logs", logs)

    @property
    def supported_fmr(self) -> float:
        """The lowest FMR with 30 errors behind it: 30 / impostor pairs, or the lowest point's."""
        return math.exp(self._logs[1])

    @property
    def lowest_fmr(self) -> float:
        """The lowest FMR that is claimed at all, by extrapolation."""
        return math.exp(self._logs[0])

    @property
    def tightest_distance(self) -> float:
        """The distance of `lowest_fmr`."""
        return self._knots[0]

    def fmr_at(self, distance: float) -> float:
        """The FMR of a threshold at `distance`, in [lowest_fmr, 1]; see `basis_at`."""
        return min(1.0, math.exp(_interpolated(self._knots, self._logs, distance)))

    def basis_at(self, distance: float) -> Basis:
        """What `fmr_at(distance)` rests on."""
        if distance >= self._knots[1]:
            return Basis.MEASURED
        return Basis.EXTRAPOLATED if distance >= self._knots[0] else Basis.AT_MOST

    def distance_at(self, fmr: float) -> float:
        """The threshold that has this FMR, above 0; `tightest_distance` where none is known to."""
        return _interpolated(self._logs, self._knots, math.log(fmr))

    def fnmr_at(self, distance: float) -> float:
        """The FNMR of a threshold at `distance`, in [0, 1]."""
        return _interpolated(self.distances, self.fnmr, distance)

    def _check_points(self) -> None:
        columns = (self.distances, self.fmr, self.fnmr)
        if len({len(column) for column in columns}) > 1:
            raise CurveError("distances, fmr and fnmr are not of one length")
        if len(self.distances) < 2:
            raise CurveError("a curve has at least two points")
        if not all(math.isfinite(value) for column in columns for value in column):
            raise CurveError("distances, fmr and fnmr are finite numbers")
        if self.distances[0] < 0 or any(b <= a for a, b in pairwise(self.distances)):
            raise CurveError("distances ascend from 0 or above")
        if self.impostor_pairs < FEWEST_PAIRS or self.mated_pairs < 1:
            raise CurveError(
                f"a curve takes {FEWEST_PAIRS} impostor pairs and a mated one, or more"
            )

    def _check_rates(self) -> None:
        if any(not 0 <= rate <= 1 for rate in (*self.fmr, *self.fnmr)):
            raise CurveError("fmr and fnmr lie between 0 and 1")
        if any(b < a for a, b in pairwise(self.fmr)) or self.fmr[-1] != 1:
            raise CurveError("fmr rises with distance, to 1")
        if any(b > a for a, b in pairwise(self.fnmr)) or self.fnmr[-1] != 0:
            raise CurveError("fnmr falls with distance, to 0")

    def _supported(self) -> tuple[_Floats, _Floats]:
        """Distances and logarithms of FMR from the lowest supported one on."""
        floor = SUPPORTING_ERRORS / self.impostor_pairs
        begin = bisect_left(self.fmr, floor)
        knots, rates = self.distances[begin:], self.fmr[begin:]
        if any(b <= a for a, b in pairwise(rates)):
            raise CurveError(f"fmr rises from point to point, from {floor:.2g} on")
        logs = tuple(map(math.log, rates))
        if rates[0] > floor and begin > 0 and self.fmr[begin - 1] > 0:
            below = math.log(self.fmr[begin - 1])
            near = (self.distances[begin - 1], knots[0])
            knots = (_interpolated((below, logs[0]), near, math.log(floor)), *knots)
            logs = (math.log(floor), *logs)
        return knots, logs


def _continued(knots: _Floats, logs: _Floats) -> tuple[_Floats, _Floats]:
    """The curve with one more knot before its first, a decade below it."""
    step = math.log(EXTRAPOLATED_BY)
    if logs[0] + step > 0:
        raise CurveError("fmr has no supported decade to continue")
    run = _interpolated(logs, knots, logs[0] + step) - knots[0]
    if knots[0] - run <= 0:
        raise CurveError("fmr rises too slowly to be continued a decade below its support")
    return (knots[0] - run, *knots), (logs[0] - step, *logs)


def _interpolated(xs: _Floats, ys: _Floats, x: float) -> float:
    """The value at `x` of the line through the points; beyond its ends, theirs. `xs` ascend."""
    after = bisect_left(xs, x)
    if after == 0:
        return ys[0]
    if after == len(xs):
        return ys[-1]
    share = (x - xs[after - 1]) / (xs[after] - xs[after - 1])
    low, high = ys[after - 1], ys[after]
    # Rounding may not lead beyond the two points, or the curve would not be monotone.
    return min(max(low + share * (high - low), min(low, high)), max(low, high))
