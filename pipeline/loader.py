"""Engines loaded by name, where faces are computed."""

import importlib
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import cast

from pipeline.engine import Engine
from pipeline.models.cache import ModelCache
from pipeline.specs import engine_module, engine_spec


@lru_cache
def load_engine(name: str, models_dir: Path) -> Engine:
    """The engine called `name`, its models loaded at the first call of this process and kept.

    `models_dir` is the folder of converted models; what is missing there is made. Raises
    `EngineUnknownError`, `ModelFileError` where a model is missing or another one, and
    `ModelCacheError` where the folder cannot be used.
    """
    return cast("Engine", import_engine(name).load(ModelCache(models_dir)))


def import_engine(name: str) -> ModuleType:
    """The module of the engine called `name`, with its libraries: naming an engine loads none.

    Raises `EngineUnknownError`.
    """
    # A process has one core. OpenCV alone has threads that no setting of the environment stops.
    importlib.import_module("cv2").setNumThreads(1)
    return importlib.import_module(f"{engine_module(engine_spec(name).name)}.engine")
