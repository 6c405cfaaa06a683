"""The DET curves as a picture that is the same, byte for byte, for the same numbers."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("svg")
# Identifiers in the file follow from this, and not from chance.
mpl.rcParams["svg.hashsalt"] = "facebatch"

from matplotlib import pyplot as plt  # noqa: E402 - the backend is chosen first.
from matplotlib.ticker import FuncFormatter, NullFormatter  # noqa: E402

from bench.evaluation.verification import OnAllPairs  # noqa: E402

POINTS = 160
LOWEST_FMR, HIGHEST_FMR = 1e-6, 1e-1
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#444444")
STYLES = ("-", "-", "-", ":")


def draw_det(results: Mapping[str, OnAllPairs], path: Path) -> None:
    """FNMR against FMR, both on logarithmic axes, a line an engine, a dot at its own threshold."""
    figure, axes = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
    for (name, result), colour, style in zip(results.items(), COLOURS, STYLES, strict=False):
        fmr = np.logspace(np.log10(LOWEST_FMR), np.log10(HIGHEST_FMR), POINTS)
        impostors, mated = result.pairs.nonmated, result.pairs.mated
        allowed = np.floor(fmr * len(impostors) + 1e-9).astype(int)
        fnmr = 1 - np.searchsorted(mated, impostors[allowed], side="left") / len(mated)
        axes.plot(fmr, fnmr, style, color=colour, label=name, linewidth=1.6)
        point = result.at_threshold
        axes.plot([point.fmr], [point.fnmr], "o", color=colour, markersize=5)
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(LOWEST_FMR, HIGHEST_FMR),
        ylim=(2e-3, 1),
        xlabel="FMR: strangers taken for one person",
        ylabel="FNMR: people not recognised",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value * 100:g} %"))
        axis.set_minor_formatter(NullFormatter())
    axes.grid(which="major", color="#cccccc", linewidth=0.6)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
