"""The engines: one folder each, loaded by name where faces are computed."""

from collections.abc import Callable, Mapping
from functools import lru_cache

from pipeline.engines.base import Engine
from pipeline.specs import DLIB_CLASSIC, engine_spec


def _dlib_classic() -> Engine:
    from pipeline.engines import dlib_classic

    return dlib_classic.load()


# Loaders import their engine's libraries when they are called: naming an engine loads none.
LOADERS: Mapping[str, Callable[[], Engine]] = {DLIB_CLASSIC.name: _dlib_classic}


@lru_cache
def load_engine(name: str) -> Engine:
    """The engine called `name`, its models loaded at the first call of this process and kept.

    Raises `EngineUnknownError`, and `ModelFileError` where a model is missing or another one.
    """
    return LOADERS[engine_spec(name).name]()
