"""What `make accuracy` tells, from made-up templates."""

import json

import numpy as np
import pytest

from bench.evaluation import report
from bench.evaluation.curves import curve_of
from bench.evaluation.data import Pairs, Photos
from bench.evaluation.templates import QUALITY_COLUMNS, Templates
from bench.evaluation.verification import OnAllPairs, OnPairs, on_all_pairs, on_pairs

PEOPLE = np.repeat(np.arange(60), 2)
PAIRS = Pairs(
    mated=tuple((n, n + 1) for n in range(0, 120, 2)),
    nonmated=tuple((n, n + 2) for n in range(0, 120, 4)),
)


def _measured(spread: float, *, faceless: bool = False) -> tuple[OnPairs, OnAllPairs]:
    generator = np.random.default_rng(3)
    embeddings = generator.normal(size=(60, 24))[PEOPLE]
    embeddings += spread * generator.normal(size=embeddings.shape)
    templates = Templates(
        faces=np.array([0 if faceless and n == 7 else 1 for n in range(120)]),
        embeddings=embeddings.astype(np.float32),
        quality=np.zeros((120, len(QUALITY_COLUMNS)), dtype=np.float32),
        turned=np.zeros(120, dtype=np.bool_),
    )
    photos = Photos((), tuple(PEOPLE.tolist()))
    return on_pairs(templates, photos, PAIRS, 3.0), on_all_pairs(templates, PEOPLE, 3.0)


def test_the_last_line_says_what_the_issue_wants() -> None:
    line = json.loads(json.dumps(report.as_json(*_measured(0.3, faceless=True))))
    assert line["failure_to_enrol"] == pytest.approx(1 / 120, abs=1e-6)
    # One of 60 mated pairs has the photo without a face, and is missed at every threshold.
    assert line["fnmr_at_fmr_1e-2"] == line["fnmr_at_fmr_1e-3"] == pytest.approx(1 / 60, abs=1e-6)
    assert line["best_accuracy"] == pytest.approx(89 / 90, abs=1e-6)
    assert line["all_pairs"]["mated"] == 60
    assert line["all_pairs"]["nonmated"] == 120 * 119 // 2 - 60
    assert line["all_pairs"]["distance_at_fmr_1e-2"] > line["all_pairs"]["distance_at_fmr_1e-3"]


def test_an_engine_that_errs_less_is_said_to() -> None:
    good, poor = _measured(0.3)[1], _measured(1.2)[1]
    low, high = good.better_than(poor, 1e-2)
    assert 0 < low < high
    assert good.at_fmr[1e-2].fnmr < poor.at_fmr[1e-2].fnmr
    table = report.against_table({"good": good, "poor": poor}, "poor")
    assert "| good | +" in table
    assert "| poor |" not in table


def test_a_curve_leaves_out_photos_without_a_face() -> None:
    curve = curve_of(_measured(0.3, faceless=True)[1].pairs)
    assert curve.mated_pairs == 59
    assert curve.impostor_pairs == 119 * 118 // 2 - 59


def test_larger_galleries_cost_more_misses() -> None:
    table = report.galleries_table({"one": curve_of(_measured(1.2)[1].pairs)})
    cells = table.splitlines()[-1].split("|")[2:-1]
    misses = [float(cell.split()[0]) for cell in cells]
    assert len(misses) == 3
    assert misses == sorted(misses)
