"""Results as tables in Markdown, and as the last line's JSON."""

import math
from collections.abc import Iterable, Mapping, Sequence

from bench.detection import Measured
from bench.evaluation.discard import SHARES
from bench.evaluation.rates import Point, predicted_fpir, wilson
from bench.evaluation.search import Search
from bench.evaluation.verification import OnAllPairs, OnPairs
from pipeline.error_curve import ErrorCurve

GALLERY_SIZES = (100, 1_000, 10_000)
ALLOWED_FPIR = 0.01


def pairs_table(results: Mapping[str, OnPairs]) -> str:
    """On pairs.tsv."""
    first = next(iter(results.values()))
    rows = [
        [
            name,
            *(
                f"{_percent(point.fnmr)} {_interval(wilson(round(point.fnmr * r.mated), r.mated))}"
                f" at {point.distance:.3f}"
                for point in r.at_fmr.values()
            ),
            f"{_percent(r.at_threshold.fmr)} / {_at(r.at_threshold)}",
            f"{_percent(r.best_accuracy)} at {r.best_distance:.3f}",
            f"{_percent(r.folds.mean)} ± {_percent(r.folds.deviation)}",
            f"{_percent(r.failure_to_enrol)} ({r.failed_pairs[0]} + {r.failed_pairs[1]} pairs)",
        ]
        for name, r in results.items()
    ]
    return _table(
        f"The published pairs: {first.mated} mated, {first.nonmated} non-mated",
        [
            "engine",
            *(f"FNMR at FMR {_percent(fmr)}" for fmr in first.at_fmr),
            "FMR / FNMR at its threshold",
            "best accuracy",
            "10-fold",
            "failure to enrol",
        ],
        rows,
        "In brackets: 95 % Wilson intervals of FNMR at that distance. An FMR of 0.1 % is "
        f"{first.nonmated // 1000} pair of {first.nonmated}: whichever pair that is decides the "
        f"column. Its own interval is {_interval(wilson(1, first.nonmated))}.",
    )


def all_pairs_table(results: Mapping[str, OnAllPairs]) -> str:
    """On all pairs of all photos."""
    first = next(iter(results.values()))
    impostors = len(first.pairs.nonmated)
    rows = [
        [
            name,
            *(
                f"{_percent(point.fnmr)} {_interval(r.interval(fmr))} at {point.distance:.3f}"
                for fmr, point in r.at_fmr.items()
            ),
            f"{r.at_threshold.fmr:.2g} / {_at(r.at_threshold)}",
        ]
        for name, r in results.items()
    ]
    supports = ", ".join(f"{fmr:.0e}: {int(fmr * impostors + 1e-9)}" for fmr in first.at_fmr)
    return _table(
        f"All pairs of {first.photos:,} photos: {len(first.pairs.mated):,} mated, "
        f"{impostors:,} non-mated",
        ["engine", *(f"FNMR at FMR {fmr:.0e}" for fmr in first.at_fmr), "at its threshold"],
        rows,
        "In brackets: 95 % of bootstrap samples of people. False matches behind each FMR: "
        f"{supports}.",
    )


def against_table(results: Mapping[str, OnAllPairs], baseline: str) -> str:
    """Each engine beside the one called `baseline`."""
    plain = results[baseline]
    rows = [
        [
            name,
            *(
                f"{_points(plain.at_fmr[fmr].fnmr - point.fnmr)} "
                f"({', '.join(map(_points, r.better_than(plain, fmr)))})"
                for fmr, point in r.at_fmr.items()
            ),
        ]
        for name, r in results.items()
        if name != baseline
    ]
    return _table(
        f"Fewer misses than {baseline} on {plain.photos:,} photos, percentage points",
        ["engine", *(f"FMR {fmr:.0e}" for fmr in plain.at_fmr)],
        rows,
        "In brackets: 95 % of bootstrap samples of people, the same ones for both.",
    )


def search_table(name: str, fmrs: Sequence[float], searches: Iterable[Search]) -> str:
    """FPIR and FNIR, measured, beside what the formula says."""
    searches = list(searches)
    rows = [
        [
            f"{one.subjects:,}",
            f"{fmr:.0e}",
            f"{one.distance:.3f}",
            _percent(predicted_fpir(fmr, one.subjects)),
            _percent(one.fpir),
            _percent(one.fnir),
            f"{one.strangers:,} + {one.mated:,}",
        ]
        for one, fmr in zip(searches, [*fmrs] * (len(searches) // len(fmrs)), strict=True)
    ]
    return _table(
        f"Open-set search: {name}",
        [
            "subjects",
            "FMR",
            "distance",
            "FPIR by 1 - (1 - FMR)^N",
            "FPIR measured",
            "FNIR measured",
            "probes: strangers + enrolled",
        ],
        rows,
    )


def galleries_table(curves: Mapping[str, ErrorCurve]) -> str:
    """Expected misses in galleries where a share of the strangers may find somebody."""
    rows = []
    for name, curve in curves.items():
        cells = []
        for subjects in GALLERY_SIZES:
            fmr = -math.expm1(math.log1p(-ALLOWED_FPIR) / subjects)
            distance = curve.distance_at(fmr)
            fnmr, basis = curve.fnmr_at(distance), curve.basis_at(distance)
            cells.append(f"{_percent(fnmr)} at {distance:.3f} ({basis})")
        rows.append([name, *cells])
    return _table(
        f"Expected misses where {_percent(ALLOWED_FPIR)} of strangers may find somebody",
        ["engine", *(f"{subjects:,} subjects" for subjects in GALLERY_SIZES)],
        rows,
    )


def discard_table(name: str, rejected: Mapping[str, Sequence[float]]) -> str:
    """FNMR after leaving out pairs of poor quality."""
    return _table(
        f"Error versus discard: {name}, FNMR at the distance of FMR 1e-3",
        ["rejected by", *(f"{_percent(share)} left out" for share in SHARES)],
        [[by, *map(_percent, fnmr)] for by, fnmr in rejected.items()],
    )


def detection_table(results: Iterable[tuple[str, str, Measured]]) -> str:
    """Recall, precision and cost of the detectors."""
    rows = [
        [
            photos,
            detector,
            f"{m.tally.found} of {m.tally.faces}",
            _percent(m.tally.recall),
            str(m.tally.false),
            _percent(m.tally.precision),
            str(m.tally.difficult_found),
            f"{m.cpu_ms:.0f}",
        ]
        for photos, detector, m in results
    ]
    head = ["photos", "detector", "found", "recall", "false alarms", "precision"]
    return _table("Detection", [*head, "difficult ones found", "CPU ms a photo"], rows)


def as_json(pairs: OnPairs, all_pairs: OnAllPairs) -> dict[str, object]:
    """An engine's part of the last line."""
    return {
        **{f"fnmr_at_fmr_{_power(fmr)}": round(p.fnmr, 6) for fmr, p in pairs.at_fmr.items()},
        "threshold_distance": pairs.at_threshold.distance,
        "fmr_at_threshold": round(pairs.at_threshold.fmr, 6),
        "fnmr_at_threshold": round(pairs.at_threshold.fnmr, 6),
        "best_accuracy": round(pairs.best_accuracy, 6),
        "best_distance": round(pairs.best_distance, 6),
        "accuracy_10_fold": round(pairs.folds.mean, 6),
        "accuracy_10_fold_deviation": round(pairs.folds.deviation, 6),
        "failure_to_enrol": round(pairs.failure_to_enrol, 6),
        "all_pairs": {
            "mated": len(all_pairs.pairs.mated),
            "nonmated": len(all_pairs.pairs.nonmated),
            "fmr_at_threshold": all_pairs.at_threshold.fmr,
            "fnmr_at_threshold": round(all_pairs.at_threshold.fnmr, 6),
            **{
                f"fnmr_at_fmr_{_power(fmr)}": round(p.fnmr, 6)
                for fmr, p in all_pairs.at_fmr.items()
            },
            **{
                f"distance_at_fmr_{_power(fmr)}": round(p.distance, 6)
                for fmr, p in all_pairs.at_fmr.items()
            },
        },
    }


def detection_as_json(results: Iterable[tuple[str, str, Measured]]) -> dict[str, object]:
    """The detectors' part of the last line."""
    answer: dict[str, dict[str, object]] = {}
    for photos, detector, m in results:
        answer.setdefault(photos, {})[detector] = {
            "recall": round(m.tally.recall, 4),
            "precision": round(m.tally.precision, 4),
            "found": m.tally.found,
            "faces": m.tally.faces,
            "false_alarms": m.tally.false,
            "cpu_ms": round(m.cpu_ms, 1),
        }
    for by_detector in answer.values():
        costs = [one["cpu_ms"] for one in by_detector.values() if isinstance(one, dict)]
        by_detector["yunet_cpu_share"] = round(costs[0] / costs[1], 4)
    return {**answer}


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]], note: str = "") -> str:
    lines = [f"\n### {title}\n", _line(head), _line(["---"] * len(head)), *map(_line, rows)]
    return "\n".join([*lines, f"\n{note}"] if note else lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share < 0.9 else f"{100 * share:.2f} %"


def _at(point: Point) -> str:
    return f"{_percent(point.fnmr)} at {point.distance:.3f}"


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"


def _interval(ends: tuple[float, float]) -> str:
    return f"({100 * ends[0]:.2g} to {100 * ends[1]:.2g})"


def _power(rate: float) -> str:
    mantissa, exponent = f"{rate:.0e}".split("e")
    return f"{mantissa}e{int(exponent)}"
