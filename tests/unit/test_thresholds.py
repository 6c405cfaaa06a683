"""A threshold follows from what was asked for and from how many are searched, and says so."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_error_curve import CURVE, curves

from pipeline.error_curve import Basis, ErrorCurve
from pipeline.errors import TargetUnknownError, ThresholdRangeError
from pipeline.specs import ENGINE_SPECS, EngineSpec
from pipeline.thresholds import (
    Threshold,
    WantedThreshold,
    current_spec,
    decided,
    explained,
    fmr_of,
    fpir_of,
)

EYES = replace(
    ENGINE_SPECS["dlib-classic"],
    name="eyes",
    version="1",
    threshold_distance=0.6,
    max_distance=2,
    curve=CURVE,
)
SHARP = replace(EYES, name="sharp", curve=replace(CURVE, fnmr=(0.5, 0.05, 0.02, 0.01, 0, 0, 0)))
BLIND = replace(EYES, name="blind", curve=None)
DEFAULT = WantedThreshold()
subjects = st.integers(0, 10**7)
rates = st.floats(1e-12, 1 - 1e-9)


def one_of(
    wanted: WantedThreshold = DEFAULT,
    *,
    subjects: int | None,
    spec: EngineSpec = EYES,
    engines: tuple[EngineSpec, ...] = (EYES, SHARP, BLIND),
) -> Threshold:
    return decided(spec, wanted, subjects=subjects, engines=engines)


@given(st.floats(0, 1), st.integers(1, 1000))
def test_fpir_is_one_less_the_chance_that_nobody_matches(fmr: float, count: int) -> None:
    assert fpir_of(fmr, count) == pytest.approx(1 - (1 - fmr) ** count, abs=1e-12)


@given(rates, subjects)
def test_the_fmr_of_an_fpir_gives_that_fpir(fpir: float, count: int) -> None:
    assert fpir_of(fmr_of(fpir, count), count) == pytest.approx(fpir, rel=1e-6)


def test_an_empty_gallery_counts_as_one_subject() -> None:
    assert fpir_of(0.25, 0) == fpir_of(0.25, 1) == pytest.approx(0.25)
    empty, one = one_of(subjects=0), one_of(subjects=1)
    assert (empty.subjects, one.subjects) == (0, 1)
    assert (empty.distance, empty.fpir) == (one.distance, one.fpir)


@given(curves(), subjects)
def test_the_default_is_never_looser_than_verification(curve: ErrorCurve, count: int) -> None:
    spec = replace(EYES, curve=curve, threshold_distance=curve.distances[1], max_distance=1e9)
    threshold = decided(spec, DEFAULT, subjects=count, engines=())
    assert threshold.distance <= spec.threshold_distance
    assert threshold.target_fpir == 0.01
    kept = threshold.fpir is not None and threshold.fpir <= 0.01 * (1 + 1e-6)
    assert kept or threshold.distance <= curve.tightest_distance


@given(curves(), rates, st.lists(subjects, min_size=2, max_size=2))
def test_a_larger_gallery_never_gets_a_looser_threshold(
    curve: ErrorCurve, fpir: float, counts: list[int]
) -> None:
    spec = replace(EYES, curve=curve, max_distance=1e9)
    few, many = (
        decided(spec, WantedThreshold(target_fpir=fpir), subjects=count, engines=())
        for count in sorted(counts)
    )
    assert many.distance <= few.distance


def test_small_galleries_are_searched_at_the_engines_own_threshold() -> None:
    threshold = one_of(subjects=5)
    assert threshold.distance == 0.6
    assert threshold.fpir == pytest.approx(1 - (1 - 1e-3) ** 5)


def test_the_default_aims_at_one_false_match_in_a_hundred_searches() -> None:
    threshold = one_of(subjects=100)
    assert (threshold.target_fmr, threshold.target_fpir, threshold.subjects) == (None, 0.01, 100)
    assert threshold.fpir == pytest.approx(0.01)
    assert threshold.fmr == pytest.approx(0.01 / 100, rel=0.01)
    assert threshold.distance == pytest.approx(0.5, abs=0.001)
    assert threshold.basis is Basis.MEASURED


def test_verification_takes_the_engines_own_threshold_and_has_no_fpir() -> None:
    threshold = one_of(subjects=None)
    assert (threshold.distance, threshold.target_fpir) == (0.6, None)
    assert (threshold.subjects, threshold.fpir) == (None, None)
    assert threshold.fmr == pytest.approx(1e-3)
    assert threshold.fnmr == pytest.approx(0.05)


def test_a_distance_is_taken_as_it_is() -> None:
    threshold = one_of(WantedThreshold(distance=1.7), subjects=1000)
    assert (threshold.distance, threshold.fmr, threshold.fpir) == (1.7, 1, 1)
    assert (threshold.target_fmr, threshold.target_fpir) == (None, None)


def test_a_target_fmr_does_not_ask_how_many_there_are() -> None:
    wanted = WantedThreshold(target_fmr=1e-4)
    for count in (None, 1, 10**6):
        threshold = one_of(wanted, subjects=count)
        assert threshold.distance == pytest.approx(0.5)
        assert (threshold.target_fmr, threshold.target_fpir) == (1e-4, None)


def test_a_target_that_is_asked_for_may_be_looser_than_verification() -> None:
    threshold = one_of(WantedThreshold(target_fpir=0.5), subjects=1)
    assert threshold.distance > 0.6
    assert threshold.fpir == pytest.approx(0.5)


@pytest.mark.parametrize("wanted", [WantedThreshold(), WantedThreshold(target_fmr=1e-9)])
def test_a_target_out_of_reach_gets_the_tightest_distance_and_says_so(
    wanted: WantedThreshold,
) -> None:
    threshold = one_of(wanted, subjects=1_000_000)
    assert threshold.distance == CURVE.tightest_distance
    assert threshold.fmr == CURVE.lowest_fmr
    assert threshold.basis is Basis.EXTRAPOLATED
    assert threshold.fpir > 0.5
    assert "known down to 1e-06" in threshold.advice


def test_below_the_curve_nothing_is_claimed_but_a_bound() -> None:
    threshold = one_of(WantedThreshold(distance=0.2), subjects=1)
    assert (threshold.fmr, threshold.basis) == (CURVE.lowest_fmr, Basis.AT_MOST)


def test_many_misses_name_the_engine_that_has_the_fewest() -> None:
    threshold = one_of(subjects=1000)
    assert threshold.better_engine == "sharp"
    assert f"{threshold.fnmr:.0%} of true matches" in threshold.advice
    assert "the engine sharp would miss 2% with an FMR of 1e-05" in threshold.advice


def test_few_misses_need_no_advice() -> None:
    threshold = one_of(subjects=10)
    assert threshold.fnmr < 0.1
    assert (threshold.advice, threshold.better_engine) == (None, None)


def test_the_best_engine_names_no_other() -> None:
    worse = replace(SHARP, name="worse", curve=replace(CURVE, fnmr=(1, 0.9, 0.9, 0.9, 0, 0, 0)))
    for engines in ((EYES, worse, BLIND), (worse,)):
        threshold = one_of(subjects=1000, engines=engines)
        assert threshold.better_engine is None
        assert "expected to be missed" in threshold.advice


def test_an_engine_that_finds_more_strangers_is_no_better_one() -> None:
    # A curve of so few pairs cannot keep the rate, whatever it misses.
    loose = replace(SHARP, curve=replace(SHARP.curve, impostor_pairs=3_000))
    assert one_of(subjects=1000, engines=(EYES, loose)).better_engine is None


def test_without_a_curve_no_rate_is_claimed() -> None:
    for count in (None, 1000):
        threshold = one_of(subjects=count, spec=BLIND)
        assert threshold.distance == 0.6
        assert threshold.target_fpir is None
        rates = (threshold.fmr, threshold.basis, threshold.fpir, threshold.fnmr, threshold.advice)
        assert rates == (None,) * 5
    for wanted in (WantedThreshold(target_fmr=0.1), WantedThreshold(target_fpir=0.1)):
        with pytest.raises(TargetUnknownError, match="blind 1 were not measured"):
            one_of(wanted, subjects=1, spec=BLIND)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.1, float("nan")])
def test_a_target_that_is_no_rate_is_refused(rate: float) -> None:
    for wanted in (WantedThreshold(target_fmr=rate), WantedThreshold(target_fpir=rate)):
        with pytest.raises(ThresholdRangeError, match="between 0 and 1"):
            one_of(wanted, subjects=1)


@pytest.mark.parametrize("distance", [0.0, -1.0, 2.1, float("nan")])
def test_a_distance_that_cannot_be_is_refused(distance: float) -> None:
    with pytest.raises(ThresholdRangeError, match="up to 2"):
        one_of(WantedThreshold(distance=distance), subjects=1)


@given(curves(), rates, subjects, st.sampled_from(["target_fmr", "target_fpir"]))
def test_what_was_stored_means_the_same_when_it_is_read(
    curve: ErrorCurve, rate: float, count: int, target: str
) -> None:
    spec = replace(EYES, curve=curve, max_distance=1e9)
    threshold = decided(spec, WantedThreshold(**{target: rate}), subjects=count, engines=(SHARP,))
    assert threshold == explained(
        spec,
        distance=threshold.distance,
        target_fmr=threshold.target_fmr,
        target_fpir=threshold.target_fpir,
        subjects=threshold.subjects,
        engines=(SHARP,),
    )


def test_only_the_version_of_today_is_known() -> None:
    spec = ENGINE_SPECS["dlib-classic"]
    assert current_spec("dlib-classic", spec.version) is spec
    assert current_spec("dlib-classic", "0") is None
    assert current_spec("eyes", "1") is None
    unknown = explained(None, distance=0.5, target_fpir=0.01, subjects=3)
    assert (unknown.distance, unknown.fmr, unknown.advice) == (0.5, None, None)
