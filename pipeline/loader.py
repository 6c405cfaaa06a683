"""Engines loaded by name, where faces are computed."""

import importlib
from functools import lru_cache
from typing import cast

from pipeline.engine import Engine
from pipeline.specs import engine_module, engine_spec


@lru_cache
def load_engine(name: str) -> Engine:
    """The engine called `name`, its models loaded at the first call of this process and kept.

    Raises `EngineUnknownError`, and `ModelFileError` where a model is missing or another one.
    """
    # Its libraries are imported now: naming an engine loads none.
    module = importlib.import_module(f"{engine_module(engine_spec(name).name)}.engine")
    return cast("Engine", module.load())
