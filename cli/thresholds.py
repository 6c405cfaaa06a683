"""The threshold of a match, on the command line: as it is asked for, and as it is told."""

import click

from cli.telling import counted
from facebatch.client.models.jobs import Threshold
from pipeline.errors import ThresholdRangeError
from pipeline.specs import engine_spec
from pipeline.thresholds import WantedThreshold, checked_distance

FLAGS = {
    "distance": "--threshold",
    "target_fmr": "--target-fmr",
    "target_fpir": "--target-fpir",
}


def wanted_threshold(engine: str | None, **given: float | None) -> WantedThreshold:
    """What the options ask for, by the fields of `WantedThreshold`.

    Raises `click.UsageError` for two at once, and for a distance that the engine cannot measure,
    where that is known.
    """
    if len(flags := [FLAGS[name] for name, value in given.items() if value is not None]) > 1:
        raise click.UsageError(f"{' and '.join(flags)} exclude each other; give one of them")
    wanted = WantedThreshold(**given)
    if wanted.distance is not None and engine is not None:
        try:
            checked_distance(engine_spec(engine), wanted.distance)
        except ThresholdRangeError as exc:
            message = f"{wanted.distance} is not in the range: {exc}"
            raise click.BadParameter(message, param_hint=FLAGS["distance"]) from exc
    return wanted


def sentence(
    threshold: Threshold, engine: str, *, among: tuple[str, str] = ("person", "people")
) -> str:
    """The threshold of a job, as the API tells it, in one line; `among` what it was set for."""
    told = f"faces within {threshold.distance:.4g} of a person are taken for that person"
    if threshold.fmr is None:
        told += f"; how often {engine} errs there is not known"
    else:
        at_most = "at most " if threshold.fmr_basis == "at_most" else ""
        told += (
            f" (FMR {at_most}{threshold.fmr:.2g}; FPIR {at_most}{threshold.fpir:.2g} "
            f"among {counted(threshold.subjects or 0, *among)}; "
            f"FNMR {threshold.fnmr:.2g}; {engine})"
        )
        if threshold.fmr_basis == "extrapolated":
            told += "; so low an FMR was not measured but extrapolated, and the FPIR with it"
    return f"{told}; {threshold.advice}" if threshold.advice else told
