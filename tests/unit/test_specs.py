"""Engines are known by name everywhere, and loaded only where faces are computed."""

import subprocess
import sys

import pytest

from pipeline.engines import LOADERS, load_engine
from pipeline.errors import EngineUnknownError
from pipeline.specs import DEFAULT_ENGINE, DLIB_CLASSIC, ENGINE_SPECS, engine_spec


def test_an_engine_is_found_by_its_name() -> None:
    assert engine_spec("dlib-classic") is DLIB_CLASSIC
    assert DEFAULT_ENGINE.name in ENGINE_SPECS


def test_an_unknown_engine_is_refused_with_the_names_there_are() -> None:
    for find in (engine_spec, load_engine):
        with pytest.raises(EngineUnknownError, match=r"'facenet'.*dlib-classic"):
            find("facenet")


def test_every_spec_can_be_loaded_and_nothing_else() -> None:
    assert LOADERS.keys() == ENGINE_SPECS.keys()


def test_errors_and_specs_load_no_library_for_pixels() -> None:
    heavy = "{'dlib', 'numpy', 'PIL', 'onnxruntime', 'cv2'}"
    code = (
        f"import sys, pipeline.errors, pipeline.specs; sys.exit(bool({heavy} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_naming_the_engines_loads_no_model_library() -> None:
    code = "import sys, pipeline.engines; sys.exit('dlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
