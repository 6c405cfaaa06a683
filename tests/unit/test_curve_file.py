"""An engine's curve lies in its folder, as a file that is checked when it is read."""

import json
from pathlib import Path

import pytest
from test_error_curve import CURVE

from pipeline.curve_file import curve_from_json, curve_to_json, packaged_curve, write_curve
from pipeline.errors import CurveError
from pipeline.specs import ENGINE_SPECS

TEXT = curve_to_json(CURVE, engine="eyes", version="2")


def test_a_curve_comes_back_as_it_was_written(tmp_path: Path) -> None:
    path = write_curve(tmp_path, CURVE, engine="eyes", version="2")
    assert path == tmp_path / "curve.json"
    assert curve_from_json(path.read_text("utf-8"), engine="eyes", version="2") == CURVE


def test_a_new_measurement_is_a_change_of_lines() -> None:
    assert "  [0.4, 1e-05, 0.4],\n" in TEXT
    assert len(TEXT.splitlines()) == len(CURVE.distances) + 10


def test_a_curve_of_another_version_is_none() -> None:
    assert curve_from_json(TEXT, engine="eyes", version="3") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON"),
        ("[]", "no object of format"),
        (TEXT.replace('"version"', '"edition"'), "no object of format"),
        (TEXT.replace('"format": 1', '"format": 2'), "has the format 2"),
        (TEXT.replace('"format": 1', '"format": true'), "its format is no int"),
        (TEXT.replace("eyes", "ears"), "of the engine ears"),
        (TEXT.replace("3000000", "3e6"), "its impostor_pairs is no int"),
        (TEXT.replace("[0.4, 1e-05, 0.4]", "[0.4, 1e-05]"), "list of three numbers"),
        (TEXT.replace("[0.4, 1e-05, 0.4]", '["0.4", 1e-05, 0.4]'), "list of three numbers"),
        (TEXT.replace("[0.4, 1e-05, 0.4]", "[0.4, NaN, 0.4]"), "finite"),
        (TEXT.replace("[0.4, 1e-05, 0.4]", "[0.4, 1e-05, 0.9]"), "fnmr falls"),
    ],
)
def test_a_file_that_is_no_curve_is_refused(text: str, says: str) -> None:
    with pytest.raises(CurveError, match=says):
        curve_from_json(text, engine="eyes", version="2")


def test_the_file_that_is_at_fault_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sightless").mkdir()
    (tmp_path / "sightless" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_curve("sightless", engine="eyes", version="2") is None
    (tmp_path / "sightless" / "curve.json").write_text(TEXT.replace("eyes", "ears"))
    with pytest.raises(CurveError, match=r"curve\.json of the engine eyes: .* ears"):
        packaged_curve("sightless", engine="eyes", version="2")


@pytest.mark.parametrize("name", ENGINE_SPECS)
def test_every_engine_has_a_curve_of_its_version(name: str) -> None:
    spec = ENGINE_SPECS[name]
    assert spec.curve is not None
    assert spec.curve.distances[-1] <= spec.max_distance
    # What one comparison may cost: the engine's own threshold is no lottery.
    assert spec.curve.fmr_at(spec.threshold_distance) < 0.02
    folder = Path(__file__).parents[2] / "pipeline" / "engines" / name.replace("-", "_")
    assert json.loads((folder / "curve.json").read_text("utf-8"))["version"] == spec.version
