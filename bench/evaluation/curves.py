"""An engine's `curve.json`, from all pairs in which both photos gave a template."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np

from bench.evaluation.all_pairs import AllPairs
from pipeline.curve_file import write_curve
from pipeline.curve_measure import curve_of_distances
from pipeline.error_curve import ErrorCurve
from pipeline.specs import engine_module, engine_spec

MEASURED_ON = "all pairs of Labeled Faces in the Wild, deep-funneled, development training view"


def curve_of(pairs: AllPairs) -> ErrorCurve:
    """The curve of what was measured.

    Photos without a face have no part in it: whoever compares two faces has found both.
    """
    return curve_of_distances(
        pairs.nonmated[np.isfinite(pairs.nonmated)],
        pairs.mated[np.isfinite(pairs.mated)],
        measured_on=MEASURED_ON,
    )


def write_curves(pairs: Mapping[str, AllPairs]) -> None:
    """Writes the curve of each engine into its folder."""
    for name, distances in pairs.items():
        spec = engine_spec(name)
        folder = Path(str(files(engine_module(name))))
        path = write_curve(folder, curve_of(distances), engine=name, version=spec.version)
        print(f"wrote {path}")
