"""A curve that is made of distances tells their very rates."""

import numpy as np
import pytest

from pipeline.curve_measure import curve_of_distances
from pipeline.error_curve import Basis
from pipeline.errors import CurveError

PAIRS = 200_000
SOME = np.random.default_rng(3)
IMPOSTOR = np.sort(SOME.normal(0.83, 0.09, PAIRS)).astype(np.float32)
MATED = np.sort(SOME.normal(0.43, 0.08, 2_000)).astype(np.float32)
CURVE = curve_of_distances(IMPOSTOR, MATED, measured_on="dice")


def _share(distances: np.ndarray, limit: float) -> float:
    return float(np.mean(distances <= limit))


def test_its_points_have_the_rates_of_the_distances() -> None:
    assert 60 <= len(CURVE.distances) <= 200
    for distance, fmr, fnmr in zip(CURVE.distances, CURVE.fmr, CURVE.fnmr, strict=True):
        assert fmr == pytest.approx(_share(IMPOSTOR, distance), abs=1e-9)
        assert fnmr == pytest.approx(1 - _share(MATED, distance), abs=1e-9)
    assert (CURVE.impostor_pairs, CURVE.mated_pairs) == (PAIRS, 2_000)


@pytest.mark.parametrize("share", [1e-3, 1e-2, 0.1, 0.5])
def test_between_its_points_it_is_close(share: float) -> None:
    distance = float(np.quantile(IMPOSTOR, share))
    assert CURVE.fmr_at(distance) == pytest.approx(share, rel=0.05)
    assert CURVE.fnmr_at(distance) == pytest.approx(1 - _share(MATED, distance), abs=0.01)


def test_it_is_measured_down_to_thirty_false_matches() -> None:
    assert CURVE.supported_fmr == pytest.approx(30 / PAIRS, rel=0.1)
    assert CURVE.basis_at(float(IMPOSTOR[31])) is Basis.MEASURED
    assert CURVE.basis_at(float(IMPOSTOR[25])) is Basis.EXTRAPOLATED


def test_below_its_support_it_claims_no_less_than_the_tail_has() -> None:
    # A hundred times the pairs show how often strangers really are that near.
    many = SOME.normal(0.83, 0.09, 100 * PAIRS)
    for fmr in (1e-4, 5e-5, CURVE.lowest_fmr):
        assert np.mean(many <= CURVE.distance_at(fmr)) <= fmr


def test_mated_pairs_beyond_all_impostors_are_missed_to_the_last() -> None:
    mated = np.append(MATED, np.float32(1.9))
    curve = curve_of_distances(IMPOSTOR, mated, measured_on="dice")
    assert curve.fnmr_at(float(IMPOSTOR[-1])) > 0
    assert curve.fnmr_at(1.91) == 0


@pytest.mark.parametrize(
    ("impostor", "mated", "says"),
    [
        (IMPOSTOR[::-1], MATED, "impostor distances"),
        (IMPOSTOR, MATED[::-1], "mated distances"),
        (IMPOSTOR.reshape(2, -1), MATED, "impostor distances"),
        (np.append(IMPOSTOR, np.float32("nan")), MATED, "impostor distances"),
        (np.append(IMPOSTOR, np.float32("inf")), MATED, "impostor distances"),
        (IMPOSTOR[:299], MATED, "300 impostor pairs"),
        (IMPOSTOR, MATED[:0], "a mated one"),
    ],
)
def test_what_makes_no_curve_is_refused(impostor: np.ndarray, mated: np.ndarray, says: str) -> None:
    with pytest.raises(CurveError, match=says):
        curve_of_distances(impostor, mated, measured_on="dice")


def test_pairs_that_are_as_far_apart_as_a_point_count_as_that_near() -> None:
    coarse = np.round(IMPOSTOR.astype(np.float64), 2)
    curve = curve_of_distances(coarse, MATED, measured_on="dice")
    for distance, fmr in zip(curve.distances, curve.fmr, strict=True):
        assert fmr == pytest.approx(_share(coarse, distance), abs=1e-9)


def test_no_pair_is_lost_by_rounding() -> None:
    furthest = 1.3001260000000001  # A hair above the six decimals that it is rounded to.
    curve = curve_of_distances(np.append(IMPOSTOR, furthest), MATED, measured_on="dice")
    assert (curve.fmr_at(furthest + 1e-6), curve.fnmr_at(furthest + 1e-6)) == (1, 0)
