"""What everyone must know of an engine without loading it."""

from dataclasses import dataclass

from pipeline.error_curve import ErrorCurve


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """An engine as plain data: importable where no model may be loaded."""

    name: str
    version: str
    """Changes with every parameter that changes a number. Embeddings of two versions never meet."""
    dimension: int
    """Length of the embedding."""
    threshold_distance: float
    """L2 distance up to which two embeddings are taken for one person in verification (1:1)."""
    max_distance: float
    """Largest L2 distance that two embeddings can have; a threshold beyond it means nothing."""
    unit_length: bool
    """Whether every embedding has the length 1. Where not, none has, not even nearly."""
    sure_score: float
    """Score of the detector from which on it is as sure of a face as it gets."""
    turns_photos: bool
    """Whether a photo that has no sure face is turned by quarters and tried again."""
    managed_colour: bool
    """Whether colour profiles are heeded. face_recognition passes them over."""
    curve: ErrorCurve | None = None
    """How often it errs at a distance; None for an engine (or a version) that was not measured."""
