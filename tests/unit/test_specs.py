"""Engines are known by name everywhere, and loaded only where faces are computed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline import engines
from pipeline.errors import EngineUnknownError
from pipeline.loader import load_engine
from pipeline.specs import DEFAULT_ENGINE, ENGINE_SPECS, engine_module, engine_spec


def test_an_engine_is_found_by_its_name() -> None:
    assert engine_spec("dlib-classic").name == "dlib-classic"
    assert DEFAULT_ENGINE.name in ENGINE_SPECS


def test_an_unknown_engine_is_refused_with_the_names_there_are(tmp_path: Path) -> None:
    for find in (engine_spec, lambda name: load_engine(name, tmp_path)):
        with pytest.raises(EngineUnknownError, match=r"'facenet'.*dlib-classic"):
            find("facenet")


def test_every_engine_loads_and_carries_its_own_spec(models_dir: Path) -> None:
    assert set(ENGINE_SPECS) == {"dlib", "dlib-classic", "sface"}
    for name, spec in ENGINE_SPECS.items():
        assert load_engine(name, models_dir).spec is spec


@pytest.mark.parametrize("name", ENGINE_SPECS)
def test_embeddings_have_the_length_1_where_the_spec_says_so_and_nowhere_else(
    models_dir: Path, photos_dir: Path, name: str
) -> None:
    engine = load_engine(name, models_dir)
    photos = (photos_dir / "groups").glob("*.jpg")
    opened = (engine.open(path.read_bytes(), max_pixels=10**8) for path in photos)
    faces = [face for photo in engine.extract_batch(opened) for face in photo.faces]
    lengths = np.linalg.norm([face.embedding for face in faces], axis=1)
    assert len(faces) > 50
    near_1 = np.abs(lengths - 1) < (1e-5 if engine.spec.unit_length else 0.1)
    assert set(near_1.tolist()) == {engine.spec.unit_length}


def test_every_folder_of_engines_holds_an_engine() -> None:
    folders = {path.parent.name for path in Path(engines.__path__[0]).glob("*/*.py")}
    assert {engine_module(name).rpartition(".")[2] for name in ENGINE_SPECS} == folders


def test_errors_and_specs_load_no_library_for_pixels() -> None:
    heavy = "{'dlib', 'numpy', 'PIL', 'onnxruntime', 'cv2'}"
    code = (
        f"import sys, pipeline.errors, pipeline.specs; sys.exit(bool({heavy} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_naming_the_engines_loads_no_model_library() -> None:
    code = "import sys, pipeline.loader; sys.exit('dlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
