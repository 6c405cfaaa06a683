"""A threshold as the API tells it: the distance, and how often it errs."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from pipeline.error_curve import Basis
from pipeline.thresholds import MOST_MISSES, Threshold


class ThresholdOut(BaseModel):
    """The threshold that decided, and what it means.

    Rates are null where the engine's version was not measured, or is not the server's.
    """

    model_config = ConfigDict(frozen=True)

    distance: float
    target_fmr: float | None = Field(description="What was aimed at, where it was this.")
    target_fpir: float | None = Field(
        description="What was aimed at, where it was this or nothing was asked for."
    )
    subjects: int | None = Field(
        description="For `identify`: the gallery's subjects when the job was made; they set the "
        "threshold of a `target_fpir`."
    )
    fmr: float | None = Field(
        description="Expected false match rate: the share of strangers that match one subject."
    )
    fmr_basis: Basis | None = Field(
        description="What `fmr` rests on: `measured`, `extrapolated`, or it is `at_most` that."
    )
    fpir: float | None = Field(
        description="For `identify`: the expected share of strangers that match any of the "
        "subjects, 1 - (1 - fmr)^subjects."
    )
    fnmr: float | None = Field(
        description="Expected false non-match rate: the share of true matches that are missed."
    )
    advice: str | None = Field(
        description="What to know before relying on it: a target that is out of reach, or more "
        f"than {MOST_MISSES:.0%} misses."
    )
    better_engine: str | None = Field(
        description="With too many misses: the engine that would have the fewest."
    )
    meaning: str = (
        "L2 distance between embeddings up to which a face is taken for a subject; lower is closer"
    )

    @classmethod
    def of(cls, threshold: Threshold) -> Self:
        """From what the pipeline made of it."""
        return cls(
            distance=threshold.distance,
            target_fmr=threshold.target_fmr,
            target_fpir=threshold.target_fpir,
            subjects=threshold.subjects,
            fmr=threshold.fmr,
            fmr_basis=threshold.basis,
            fpir=threshold.fpir,
            fnmr=threshold.fnmr,
            advice=threshold.advice,
            better_engine=threshold.better_engine,
        )
