"""Thresholds: how near is near enough, and how often that will be wrong.

With a false match rate FMR, a stranger who is searched among N subjects meets a false match with
the probability FPIR = 1 - (1 - FMR)^N (ISO/IEC 19795-1, for independent comparisons). So one
distance cannot serve all galleries: it follows from N and from the FPIR that is wanted.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.engine_spec import EngineSpec
from pipeline.error_curve import Basis, ErrorCurve
from pipeline.errors import TargetUnknownError, ThresholdRangeError
from pipeline.specs import ENGINE_SPECS

DEFAULT_TARGET_FPIR = 0.01
"""What an identification aims at that names no threshold."""
MOST_MISSES = 0.1
"""With a higher FNMR than this, an answer says so and names a better engine."""
_ROUNDING = 1 + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedThreshold:
    """How near is near enough, as it was asked for: one of the three at most, or the default."""

    distance: float | None = None
    """L2."""
    target_fmr: float | None = None
    """False matches wanted among comparisons with one stranger, in (0, 1)."""
    target_fpir: float | None = None
    """Searches of strangers that may end in a false match, in (0, 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The distance that decides, and what it means."""

    distance: float
    """L2 distance up to which a face is taken for a subject."""
    target_fmr: float | None
    """What was aimed at, where it was this."""
    target_fpir: float | None
    """What was aimed at, where it was this; `DEFAULT_TARGET_FPIR` without anybody's wish."""
    subjects: int | None
    """Subjects of the gallery when the threshold was set; None where none are searched (1:1)."""
    fmr: float | None
    """Rates are None where the engine's version has no curve."""
    basis: Basis | None
    """What `fmr`, and with it `fpir`, rests on."""
    fpir: float | None
    """Also None in 1:1."""
    fnmr: float | None
    """Expected share of true matches that are missed."""
    advice: str | None
    """What to know before relying on it: a target out of reach, many misses, a better engine."""
    better_engine: str | None


def fpir_of(fmr: float, subjects: int) -> float:
    """1 - (1 - fmr)^subjects, exact for tiny rates too; an empty gallery counts as one subject."""
    return 1.0 if fmr >= 1 else -math.expm1(max(subjects, 1) * math.log1p(-fmr))


def fmr_of(fpir: float, subjects: int) -> float:
    """The FMR with which `fpir_of` gives `fpir`, in (0, 1)."""
    return -math.expm1(math.log1p(-fpir) / max(subjects, 1))


def checked_distance(spec: EngineSpec, distance: float) -> float:
    """`distance` if two embeddings of the engine can have it; raises `ThresholdRangeError`."""
    if not 0 < distance <= spec.max_distance:
        raise ThresholdRangeError(
            f"a threshold for {spec.name} is an L2 distance above 0 and up to "
            f"{spec.max_distance:g}; its own is {spec.threshold_distance:g}"
        )
    return distance


def decided(
    spec: EngineSpec,
    wanted: WantedThreshold,
    *,
    subjects: int | None,
    engines: Iterable[EngineSpec] = ENGINE_SPECS.values(),
) -> Threshold:
    """The threshold of a search among `subjects`, or of a comparison 1:1 where that is None.

    A distance is taken as it is. A target gives the largest distance that keeps it, or the
    tightest that the engine's curve knows. Without either, 1:1 takes the engine's own threshold,
    and a search the distance of `DEFAULT_TARGET_FPIR`, if that is not looser than the engine's
    own. Raises `ThresholdRangeError`, and `TargetUnknownError` for a target where no rate is known.
    """
    distance, target_fpir = spec.threshold_distance, wanted.target_fpir
    if wanted.distance is not None:
        distance = checked_distance(spec, wanted.distance)
    elif wanted.target_fmr is not None:
        distance = _reaching(spec, _checked_rate(wanted.target_fmr))
    elif target_fpir is not None:
        distance = _reaching(spec, fmr_of(_checked_rate(target_fpir), subjects or 1))
    elif subjects is not None and spec.curve is not None:
        target_fpir = DEFAULT_TARGET_FPIR
        distance = min(distance, _reaching(spec, fmr_of(target_fpir, subjects)))
    return explained(
        spec,
        distance=distance,
        target_fmr=wanted.target_fmr,
        target_fpir=target_fpir,
        subjects=subjects,
        engines=engines,
    )


def explained(
    spec: EngineSpec | None,
    *,
    distance: float,
    target_fmr: float | None = None,
    target_fpir: float | None = None,
    subjects: int | None = None,
    engines: Iterable[EngineSpec] = ENGINE_SPECS.values(),
) -> Threshold:
    """What a threshold means that was decided before; no rates without `spec` or its curve."""
    curve = spec.curve if spec else None
    fmr = curve.fmr_at(distance) if curve else None
    fnmr = curve.fnmr_at(distance) if curve else None
    better = advice = None
    if spec and curve:
        wanted = _wanted_fmr(curve, distance, target_fmr, target_fpir, subjects)
        better = _better(spec, distance, wanted, engines)
        advice = _advice(curve, distance, wanted, better)
    return Threshold(
        distance=distance,
        target_fmr=target_fmr,
        target_fpir=target_fpir,
        subjects=subjects,
        fmr=fmr,
        basis=curve.basis_at(distance) if curve else None,
        fpir=None if fmr is None or subjects is None else fpir_of(fmr, subjects),
        fnmr=fnmr,
        advice=advice,
        better_engine=better.name if better else None,
    )


def current_spec(engine: str, version: str) -> EngineSpec | None:
    """The engine in this version; None where it is none of today's, so that nothing is known."""
    spec = ENGINE_SPECS.get(engine)
    return spec if spec and spec.version == version else None


def _checked_rate(rate: float) -> float:
    if not 0 < rate < 1:
        raise ThresholdRangeError("a target error rate lies between 0 and 1, without either")
    return rate


def _reaching(spec: EngineSpec, fmr: float) -> float:
    """The largest distance with this FMR or less, or the tightest that the curve knows."""
    if spec.curve is None:
        raise TargetUnknownError(
            f"the error rates of {spec.name} {spec.version} were not measured; give a distance"
        )
    return min(spec.curve.distance_at(fmr), spec.max_distance)


def _wanted_fmr(
    curve: ErrorCurve,
    distance: float,
    target_fmr: float | None,
    target_fpir: float | None,
    subjects: int | None,
) -> float:
    """The FMR that was aimed at, or has come of it where that is less."""
    if target_fpir is not None:
        target_fmr = fmr_of(target_fpir, subjects or 1)
    has = curve.fmr_at(distance)
    return has if target_fmr is None else min(has, target_fmr)


def _better(
    spec: EngineSpec, distance: float, wanted_fmr: float, engines: Iterable[EngineSpec]
) -> EngineSpec | None:
    """The engine with the fewest misses at this FMR, where those of `spec` are too many."""
    if spec.curve is None or spec.curve.fnmr_at(distance) <= MOST_MISSES:
        return None
    misses = {
        one.name: (one.curve.fnmr_at(one.curve.distance_at(wanted_fmr)), one)
        for one in engines
        if one.curve is not None
        # One that cannot keep the rate either may miss fewer, and find more strangers instead.
        and one.curve.lowest_fmr <= max(wanted_fmr, spec.curve.fmr_at(distance)) * _ROUNDING
    }
    fewest, best = min(misses.values(), key=lambda one: one[0], default=(1.0, spec))
    return best if fewest < spec.curve.fnmr_at(distance) and best.name != spec.name else None


def _advice(
    curve: ErrorCurve, distance: float, wanted_fmr: float, better: EngineSpec | None
) -> str | None:
    said = []
    if curve.fmr_at(distance) > wanted_fmr * _ROUNDING:
        said.append(
            f"the target takes an FMR of {wanted_fmr:.2g}, and the engine's error rates are known "
            f"down to {curve.lowest_fmr:.2g} alone: more strangers may match than was wanted"
        )
    misses = curve.fnmr_at(distance)
    if misses > MOST_MISSES:
        text = f"{misses:.0%} of true matches are expected to be missed"
        if better and better.curve:
            its = better.curve.distance_at(wanted_fmr)
            text += (
                f"; the engine {better.name} would miss {better.curve.fnmr_at(its):.0%} "
                f"with an FMR of {better.curve.fmr_at(its):.2g}"
            )
        said.append(text)
    return "; ".join(said) or None
