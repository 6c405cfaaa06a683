"""The engines by name, as plain data: importable where no model may be loaded."""

from dataclasses import dataclass

from pipeline.errors import EngineUnknownError


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What everyone must know of an engine without loading it."""

    name: str
    version: str
    """Changes with every parameter that changes a number. Embeddings of two versions never meet."""
    dimension: int
    """Length of the embedding."""
    threshold_distance: float
    """L2 distance up to which two embeddings are taken for one person by default."""
    max_distance: float
    """Largest L2 distance that two embeddings can have; a threshold beyond it means nothing."""


DLIB_CLASSIC = EngineSpec(
    name="dlib-classic",
    version="1",
    dimension=128,
    threshold_distance=0.6,
    max_distance=2.0,
)
"""HOG with one upsampling, five landmarks, dlib's ResNet: what face_recognition computes.

Version 1 upsamples photos of at most 25 megapixels; larger ones are searched as they are, because
upsampling quadruples memory.
"""

ENGINE_SPECS = {spec.name: spec for spec in (DLIB_CLASSIC,)}
DEFAULT_ENGINE = DLIB_CLASSIC


def engine_spec(name: str) -> EngineSpec:
    """The engine called `name`; raises `EngineUnknownError` with the names there are."""
    try:
        return ENGINE_SPECS[name]
    except KeyError:
        known = ", ".join(sorted(ENGINE_SPECS))
        raise EngineUnknownError(f"no engine is called {name!r}; there are: {known}") from None
