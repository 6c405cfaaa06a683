"""The line that a match tells its threshold in."""

import pytest

from cli.thresholds import sentence

KNOWN = {
    "distance": 0.48211,
    "fmr": 0.0001,
    "fmr_basis": "measured",
    "fpir": 0.00995,
    "fnmr": 0.236,
    "subjects": 100,
    "advice": None,
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
    assert sentence(KNOWN | change, "eyes") == WITHIN + rest
