"""Error rates of made-up distances, whose right answers are counted by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.evaluation import rates
from bench.evaluation.discard import fnmr_after_discard
from bench.evaluation.folds import FOLDS, folds_of

MATED = np.array([0.2, 0.3, 0.4, 0.7])
NONMATED = np.array([0.5, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5])


def test_a_pair_at_the_threshold_is_accepted() -> None:
    point = rates.at_distance(MATED, NONMATED, 0.6)
    assert (point.fmr, point.fnmr) == (0.2, 0.25)
    assert rates.at_distance(MATED, NONMATED, 0.7).fnmr == 0


@pytest.mark.parametrize(
    ("fmr", "limit", "fnmr"),
    [(0.0, 0.5, 0.25), (0.09, 0.5, 0.25), (0.1, 0.6, 0.25), (0.2, 0.8, 0.0), (0.3, 0.9, 0.0)],
)
def test_a_threshold_of_an_fmr_is_as_wide_as_the_fmr_allows(
    fmr: float, limit: float, fnmr: float
) -> None:
    point = rates.at_fmr(MATED, NONMATED, fmr)
    assert point.distance == pytest.approx(limit)
    assert point.distance < limit
    assert (point.fmr <= fmr, point.fnmr) == (True, fnmr)


def test_an_fmr_of_one_accepts_every_pair() -> None:
    assert rates.at_fmr(MATED, NONMATED, 1.0).fmr == 1


def test_equally_distant_strangers_are_accepted_together_or_not_at_all() -> None:
    nonmated = np.array([0.5, 0.5, 0.5, 0.9])
    assert rates.at_fmr(MATED, nonmated, 0.25).fmr == 0


def test_a_photo_without_a_face_is_a_miss_and_never_a_false_match() -> None:
    point = rates.at_fmr(np.array([0.2, math.inf]), np.array([0.5, 0.9, math.inf, math.inf]), 0.5)
    assert (point.fmr, point.fnmr) == (0.5, 0.5)
    _, accuracy = rates.best_threshold(np.array([0.2, math.inf]), np.array([0.5, math.inf]))
    assert accuracy == 0.75


def test_the_best_threshold_makes_the_most_right_decisions() -> None:
    distance, accuracy = rates.best_threshold(MATED, NONMATED)
    assert 0.4 < distance < 0.5
    assert accuracy == 13 / 14


def test_the_best_threshold_may_be_to_accept_everybody() -> None:
    distance, accuracy = rates.best_threshold(np.array([0.3, 0.9, 0.9]), np.array([0.5]))
    assert (distance, accuracy) == (0.9, 0.75)


def test_no_threshold_falls_between_equal_distances() -> None:
    _, accuracy = rates.best_threshold(np.array([0.5, 0.5]), np.array([0.5, 0.5, 0.5]))
    assert accuracy == 0.6


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=12),
    st.lists(st.integers(0, 12), min_size=1, max_size=12),
)
def test_the_best_accuracy_is_that_of_its_threshold(mated: list[int], nonmated: list[int]) -> None:
    one, other = np.array(mated, dtype=float), np.array(nonmated, dtype=float)
    distance, accuracy = rates.best_threshold(one, other)
    shares = [
        (np.sum(one <= threshold) + np.sum(other > threshold)) / (len(one) + len(other))
        for threshold in (distance, *range(-1, 13))
    ]
    assert accuracy == pytest.approx(shares[0])
    assert accuracy == pytest.approx(max(shares))


def test_a_fold_is_judged_by_the_threshold_of_the_others() -> None:
    mated, nonmated = np.array([0.1, 0.1, 0.6, 0.6]), np.array([0.7, 0.7, 1.0, 1.0])
    result = rates.cross_validated(mated, nonmated, [0, 0, 1, 1], [0, 0, 1, 1])
    # Fold 1 says 0.8, which accepts fold 0's strangers; fold 0 says 0.4, which misses fold 1's.
    assert result.folds == (0.5, 0.5)
    assert (result.mean, result.deviation) == (0.5, 0)


def test_the_wilson_interval_is_that_of_the_textbook() -> None:
    assert rates.wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert rates.wilson(1, 10) == pytest.approx((0.0179, 0.4042), abs=1e-4)
    assert rates.wilson(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)


def test_strangers_find_more_people_where_more_are_enrolled() -> None:
    assert rates.predicted_fpir(0.001, 1) == pytest.approx(0.001)
    assert rates.predicted_fpir(0.001, 5000) == pytest.approx(0.9933, abs=1e-4)
    assert rates.predicted_fpir(1.0, 5) == 1


def test_no_person_is_in_two_folds() -> None:
    people = [*range(200), *range(200)]  # Photo n and n + 200 show person n.
    mated = [(n, n + 200) for n in range(200)]
    nonmated = [(n, n + more) for n in range(0, 200, 4) for more in (1, 2)]
    mated_folds, nonmated_folds = folds_of(mated, nonmated, people)
    folds: dict[int, set[int]] = {}
    for pair, fold in zip((*mated, *nonmated), (*mated_folds, *nonmated_folds), strict=True):
        for photo in pair:
            folds.setdefault(people[photo], set()).add(fold)
    assert all(len(some) == 1 for some in folds.values())
    for some in (mated_folds, nonmated_folds):
        sizes = [some.count(fold) for fold in range(FOLDS)]
        assert max(sizes) - min(sizes) <= 3
    assert folds_of(mated, nonmated, people) == (mated_folds, nonmated_folds)


def test_rejecting_the_poorest_pairs_first_removes_their_misses() -> None:
    mated = np.array([0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    good = np.array([0.1, 0.2, *[0.9] * 8])
    assert fnmr_after_discard(mated, good, 0.5, (0.0, 0.1, 0.2)) == pytest.approx([0.2, 1 / 9, 0])
    poor = -good
    rates_left = fnmr_after_discard(mated, poor, 0.5, (0.0, 0.1, 0.2))
    assert all(one < other for one, other in pairwise(rates_left))


def test_a_quality_that_is_the_same_for_all_rejects_nobody_in_particular() -> None:
    mated = np.array([0.9, 0.1, 0.1, 0.1])
    assert fnmr_after_discard(mated, np.ones(4), 0.5, (0.0, 0.5)) == [0.25, 0.25]
