"""A curve of error rates is monotone, invertible, and claims no more than its data bear."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.error_curve import Basis, ErrorCurve
from pipeline.errors import CurveError

CURVE = ErrorCurve(
    distances=(0.1, 0.3, 0.4, 0.5, 0.6, 1.0, 1.5),
    fmr=(0.0, 2e-6, 1e-5, 1e-4, 1e-3, 0.9, 1.0),
    fnmr=(1.0, 0.8, 0.4, 0.2, 0.05, 0.001, 0.0),
    impostor_pairs=3_000_000,
    mated_pairs=1_000,
    measured_on="nobody",
)
"""Supported from 1e-5 (30 of 3 million) on; a decade is 0.1 wide there."""


@st.composite
def curves(draw: st.DrawFn) -> ErrorCurve:
    """Curves of all shapes: few points and many, steep and flat, with and without support."""
    count = draw(st.integers(4, 40))
    unit = st.floats(0.02, 1)
    steps = draw(st.lists(unit, min_size=count, max_size=count))
    falls = draw(st.lists(unit, min_size=count, max_size=count))
    # Steep enough to be continued: the first distance lies further from 0 than a decade is wide.
    distances = [2 * sum(steps) + sum(steps[: n + 1]) for n in range(count)]
    decades = draw(st.floats(1.5, 8))
    logs = [sum(falls[n + 1 :]) / sum(falls[1:]) * decades for n in range(count)]
    return ErrorCurve(
        distances=tuple(distances),
        fmr=(*(10**-log for log in logs[:-1]), 1.0),
        fnmr=tuple((count - 1 - n) / (count - 1) for n in range(count)),
        impostor_pairs=draw(st.integers(3_000, 10**9)),
        mated_pairs=1,
        measured_on="nobody",
    )


@given(curves(), st.lists(st.floats(0, 200), min_size=2, max_size=20))
def test_rates_are_monotone_in_distance(curve: ErrorCurve, distances: list[float]) -> None:
    distances.sort()
    fmr = [curve.fmr_at(distance) for distance in distances]
    fnmr = [curve.fnmr_at(distance) for distance in distances]
    assert fmr == sorted(fmr)
    assert fnmr == sorted(fnmr, reverse=True)
    assert all(0 < rate <= 1 for rate in fmr)
    assert all(0 <= rate <= 1 for rate in fnmr)


@given(curves(), st.floats(0, 1))
def test_a_distance_leads_back_to_itself_by_its_fmr(curve: ErrorCurve, share: float) -> None:
    low, high = curve.tightest_distance, curve.distances[-1]
    distance = low + share * (high - low)
    assert curve.distance_at(curve.fmr_at(distance)) == pytest.approx(distance, rel=1e-6)


@given(curves(), st.floats(-12, 0))
def test_an_fmr_leads_back_to_itself_or_to_the_lowest(curve: ErrorCurve, log: float) -> None:
    fmr = 10**log
    kept = curve.fmr_at(curve.distance_at(fmr))
    assert kept == pytest.approx(max(fmr, curve.lowest_fmr), rel=1e-6)


@given(curves())
def test_it_goes_a_decade_below_its_support_and_no_further(curve: ErrorCurve) -> None:
    assert curve.supported_fmr >= 30 / curve.impostor_pairs * (1 - 1e-9)
    assert curve.lowest_fmr == pytest.approx(curve.supported_fmr / 10)
    assert curve.fmr_at(0) == curve.lowest_fmr
    assert curve.distance_at(1e-300) == curve.tightest_distance > 0


def test_between_points_fmr_is_log_linear_and_fnmr_linear() -> None:
    assert CURVE.fmr_at(0.55) == pytest.approx(10**-3.5)
    assert CURVE.distance_at(10**-3.5) == pytest.approx(0.55)
    assert CURVE.fnmr_at(0.55) == pytest.approx(0.125)


def test_what_a_rate_rests_on_is_told() -> None:
    assert CURVE.supported_fmr == pytest.approx(1e-5)
    assert CURVE.tightest_distance == pytest.approx(0.3)
    assert CURVE.fmr_at(0.35) == pytest.approx(10**-5.5)
    given_for = {distance: CURVE.basis_at(distance) for distance in (0.9, 0.4, 0.39, 0.31, 0.29)}
    assert given_for == {
        0.9: Basis.MEASURED,
        0.4: Basis.MEASURED,
        0.39: Basis.EXTRAPOLATED,
        0.31: Basis.EXTRAPOLATED,
        0.29: Basis.AT_MOST,
    }
    assert CURVE.basis_at(CURVE.tightest_distance) is Basis.EXTRAPOLATED


def test_support_begins_between_two_points_where_the_pairs_say_so() -> None:
    fewer = replace(CURVE, impostor_pairs=600_000)
    assert fewer.supported_fmr == pytest.approx(5e-5)
    assert fewer.distance_at(5e-5) == pytest.approx(0.4 + 0.1 * math.log10(5))
    assert fewer.basis_at(0.46) is Basis.EXTRAPOLATED


def test_it_ends_at_the_furthest_pair() -> None:
    assert (CURVE.fmr_at(9), CURVE.fnmr_at(9)) == (1, 0)
    assert CURVE.distance_at(1.0) == 1.5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fmr": CURVE.fmr[1:]}, "not of one length"),
        ({"distances": (1.0,), "fmr": (1.0,), "fnmr": (0.0,)}, "at least two points"),
        ({"distances": (0.1, 0.3, math.nan, 0.5, 0.6, 1.0, 1.5)}, "finite"),
        ({"fnmr": (math.inf, 0.8, 0.4, 0.2, 0.05, 0.001, 0.0)}, "finite"),
        ({"distances": (0.1, 0.3, 0.3, 0.5, 0.6, 1.0, 1.5)}, "distances ascend"),
        ({"distances": (-0.1, 0.3, 0.4, 0.5, 0.6, 1.0, 1.5)}, "distances ascend"),
        ({"fmr": (0.0, 2e-6, 1e-5, 1e-6, 1e-3, 0.9, 1.0)}, "fmr rises"),
        ({"fmr": (0.0, 2e-6, 1e-5, 1e-4, 1e-4, 0.9, 1.0)}, "from point to point"),
        ({"fmr": (0.0, 2e-6, 1e-5, 1e-4, 1e-3, 0.9, 0.9)}, "fmr rises with distance, to 1"),
        ({"fmr": (-0.1, 2e-6, 1e-5, 1e-4, 1e-3, 0.9, 1.0)}, "between 0 and 1"),
        ({"fnmr": (1.0, 0.8, 0.9, 0.2, 0.05, 0.001, 0.0)}, "fnmr falls"),
        ({"fnmr": (1.0, 0.8, 0.4, 0.2, 0.05, 0.001, 0.001)}, "fnmr falls with distance, to 0"),
        ({"impostor_pairs": 299}, "300 impostor pairs"),
        ({"mated_pairs": 0}, "a mated one"),
        ({"fmr": (0.0, 0.0, 0.0, 0.0, 0.0, 0.9, 1.0)}, "no supported decade"),
        ({"distances": (0.0, 0.01, 0.02, 0.5, 0.6, 1.0, 1.5)}, "rises too slowly"),
    ],
)
def test_what_is_no_curve_is_refused_by_name(change: dict[str, object], says: str) -> None:
    with pytest.raises(CurveError, match=says):
        replace(CURVE, **change)
