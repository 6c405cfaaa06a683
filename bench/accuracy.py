"""`make accuracy`: how often the engines err, on real faces, beside plain face_recognition.

Prints tables, and as the last line one JSON object. Draws docs/img/det.svg. With --write-curves it
also writes each engine's `curve.json`, which decides on thresholds: never without being told to.
"""

import argparse
import json
from dataclasses import dataclass

import numpy as np

from bench.evaluation import report
from bench.evaluation.curves import curve_of, write_curves
from bench.evaluation.data import Photos, lfw
from bench.evaluation.discard import discarded
from bench.evaluation.plot import draw_det
from bench.evaluation.search import searched
from bench.evaluation.templates import FACE_RECOGNITION, Templates, templates
from bench.evaluation.verification import OnAllPairs, OnPairs, on_all_pairs, on_pairs
from bench.photos import DATA, REPOSITORY
from pipeline.specs import engine_spec

ENGINES = ("dlib", "dlib-classic", "sface")
USUAL_DISTANCE = 0.6
"""What users of face_recognition compare with, by its default."""
GALLERIES = {100: 50, 1000: 10}
"""How many galleries of each size are drawn."""
SEARCH_FMRS = (1e-3, 1e-4, 1e-5)
DET = REPOSITORY / "docs" / "img" / "det.svg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """One engine, measured."""

    templates: Templates
    threshold: float
    pairs: OnPairs
    all_pairs: OnAllPairs


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make accuracy", description=__doc__)
    parser.add_argument(
        "--write-curves", action="store_true", help="write curve.json of every engine"
    )
    parser.add_argument(
        "--no-detection", action="store_true", help="leave out detection, minutes of HOG"
    )
    asked = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"no photos: {DATA} is absent; say where with FACEBATCH_TEST_DATA")
    photos, pairs = lfw(DATA / "lfw")
    results = {}
    for name in (*ENGINES, FACE_RECOGNITION):
        threshold = USUAL_DISTANCE
        if name != FACE_RECOGNITION:
            threshold = engine_spec(name).threshold_distance
        made = templates(name, photos)
        results[name] = Evaluated(
            templates=made,
            threshold=threshold,
            pairs=on_pairs(made, photos, pairs, threshold),
            all_pairs=on_all_pairs(made, np.array(photos.people), threshold),
        )
    answer = _verification(results, photos)
    if not asked.no_detection:
        answer["detection"] = _detection()
    if asked.write_curves:
        write_curves({name: results[name].all_pairs.pairs for name in ENGINES})
    print(json.dumps(answer))


def _verification(results: dict[str, Evaluated], photos: Photos) -> dict[str, object]:
    """Prints all tables about embeddings; returns what the last line holds of them."""
    on_all = {name: result.all_pairs for name, result in results.items()}
    draw_det(on_all, DET)
    print(report.pairs_table({name: result.pairs for name, result in results.items()}))
    print(report.all_pairs_table(on_all))
    print(report.against_table(on_all, FACE_RECOGNITION))
    people = np.array(photos.people)
    found_by_all = np.logical_and.reduce([one.templates.enrolled for one in results.values()])
    common = {
        name: on_all_pairs(one.templates.of(found_by_all), people[found_by_all], one.threshold)
        for name, one in results.items()
    }
    print(report.all_pairs_table(common))
    print(report.against_table(common, FACE_RECOGNITION))
    for name, result in results.items():
        thresholds = [result.all_pairs.at_fmr[fmr].distance for fmr in SEARCH_FMRS]
        searches = [
            one
            for subjects, galleries in GALLERIES.items()
            for one in searched(result.templates, people, subjects, thresholds, galleries)
        ]
        print(report.search_table(name, SEARCH_FMRS, searches))
    print(report.galleries_table({name: curve_of(one.pairs) for name, one in on_all.items()}))
    for name in ENGINES:
        result = results[name]
        point = result.all_pairs.at_fmr[1e-3]
        rejected = discarded(result.templates, people, point.distance)
        print(report.discard_table(name, rejected))
    return {
        "engines": {
            name: report.as_json(result.pairs, result.all_pairs) for name, result in results.items()
        }
    }


def _detection() -> dict[str, object]:
    from bench.detection import all_measured

    measured = list(all_measured())
    print(report.detection_table(measured))
    return report.detection_as_json(measured)


if __name__ == "__main__":
    main()
