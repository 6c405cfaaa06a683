"""The line that a match tells its threshold in."""

import pytest

from cli.thresholds import sentence
from facebatch.client.models.jobs import Threshold
from pipeline.specs import DEFAULT_ENGINE
from pipeline.thresholds import explained
from web.thresholds import ThresholdOut

KNOWN = {
    "distance": 0.48211,
    "fmr": 0.0001,
    "fmr_basis": "measured",
    "fpir": 0.00995,
    "fnmr": 0.236,
    "subjects": 100,
    "advice": None,
    "target_fmr": None,
    "target_fpir": None,
    "better_engine": None,
    "meaning": "",
}


WITHIN = "faces within 0.4821 of a person are taken for that person"


@pytest.mark.parametrize(
    ("change", "rest"),
    [
        ({}, " (FMR 0.0001; FPIR 0.01 among 100 people; FNMR 0.24; eyes)"),
        (
            {"fmr_basis": "at_most"},
            " (FMR at most 0.0001; FPIR at most 0.01 among 100 people; FNMR 0.24; eyes)",
        ),
        (
            {"fmr_basis": "extrapolated", "advice": "take care"},
            (
                " (FMR 0.0001; FPIR 0.01 among 100 people; FNMR 0.24; eyes); so low an FMR was not "
                "measured but extrapolated, and the FPIR with it; take care"
            ),
        ),
        ({"subjects": 1}, " (FMR 0.0001; FPIR 0.01 among 1 person; FNMR 0.24; eyes)"),
        (
            {"fmr": None, "fpir": None, "fnmr": None},
            "; how often eyes errs there is not known",
        ),
        (
            {"advice": "take care"},
            " (FMR 0.0001; FPIR 0.01 among 100 people; FNMR 0.24; eyes); take care",
        ),
    ],
)
def test_the_line_names_what_is_known(change: dict[str, object], rest: str) -> None:
    assert sentence(Threshold.model_validate(KNOWN | change), "eyes") == WITHIN + rest


@pytest.mark.parametrize(
    ("share_of_measured", "said"), [(1.1, None), (0.5, "extrapolated"), (0.01, "at most")]
)
def test_the_line_says_what_its_rates_rest_on(share_of_measured: float, said: str | None) -> None:
    curve = DEFAULT_ENGINE.curve
    assert curve
    distance = curve.tightest_distance / 2
    if (fmr := curve.supported_fmr * share_of_measured) > curve.lowest_fmr:
        distance = curve.distance_at(fmr)
    told = ThresholdOut.of(explained(DEFAULT_ENGINE, distance=distance, subjects=3))
    line = sentence(Threshold.model_validate(told.model_dump(mode="json")), DEFAULT_ENGINE.name)
    for words in ("extrapolated", "at most"):
        assert (words in line) is (words == said), line
