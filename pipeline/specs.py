"""The engines that there are, by name: those whose folder below `pipeline/engines` has a spec."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from pipeline.engine_spec import EngineSpec
from pipeline.errors import EngineUnknownError

__all__ = ["DEFAULT_ENGINE", "ENGINE_SPECS", "EngineSpec", "engine_module", "engine_spec"]


def engine_module(name: str) -> str:
    """The package of the engine called `name`."""
    return f"pipeline.engines.{name.replace('-', '_')}"


def _found() -> Mapping[str, EngineSpec]:
    folder = Path(__file__).parent / "engines"
    specs = [_spec(path.parent.name) for path in sorted(folder.glob("*/spec.py"))]
    return MappingProxyType({spec.name: spec for spec in specs})


def _spec(folder: str) -> EngineSpec:
    spec = importlib.import_module(f"pipeline.engines.{folder}.spec").SPEC
    if not isinstance(spec, EngineSpec) or spec.name.replace("-", "_") != folder:
        raise TypeError(f"pipeline/engines/{folder}/spec.py has no SPEC of that name")
    return spec


ENGINE_SPECS = _found()


def engine_spec(name: str) -> EngineSpec:
    """The engine called `name`; raises `EngineUnknownError` with the names there are."""
    try:
        return ENGINE_SPECS[name]
    except KeyError:
        known = ", ".join(sorted(ENGINE_SPECS))
        raise EngineUnknownError(f"no engine is called {name!r}; there are: {known}") from None


DEFAULT_ENGINE = engine_spec("dlib")
