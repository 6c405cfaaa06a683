"""Models come whole and known: from their package, converted once, and never damaged into use."""

import multiprocessing
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from pipeline.errors import ModelCacheError, ModelFileError, ModelFormatError
from pipeline.models import files
from pipeline.models.activations import split_prelu
from pipeline.models.cache import ModelCache, Recipe
from pipeline.models.dequantize import dequantized
from pipeline.models.dlib_stream import DlibStream
from pipeline.models.files import (
    FIVE_POINTS,
    RESNET,
    SFACE,
    YUNET,
    ModelFile,
    model_bytes,
    model_path,
)
from pipeline.models.recipes import DLIB_RESNET_ONNX, RECIPES
from pipeline.models.resnet_onnx import resnet_to_onnx
from pipeline.models.runtime import OnnxModel

Damage = Callable[[bytes], bytes]
ALL = (FIVE_POINTS, RESNET, YUNET, SFACE)


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.name)
def test_a_damaged_or_missing_model_is_refused_by_name(tmp_path: Path, model: ModelFile) -> None:
    content = bytearray(model_bytes(model))
    content[len(content) // 2] ^= 1
    (tmp_path / model.name).write_bytes(content)
    with pytest.raises(ModelFileError, match=rf"{model.name} is damaged.*{model.package}"):
        model_path(model, tmp_path)
    (tmp_path / model.name).unlink()
    with pytest.raises(ModelFileError, match=rf"{model.name} cannot be read.*{model.package}"):
        model_bytes(model, tmp_path)


def test_a_package_that_is_not_there_is_named() -> None:
    absent = ModelFile(name="a.onnx", sha256="", package="a-package", module="no_such_module")
    with pytest.raises(ModelFileError, match="a-package is not installed"):
        model_bytes(absent)


def test_a_damaged_package_makes_no_onnx_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(model_bytes(RESNET))
    content[1000] ^= 1
    (tmp_path / RESNET.name).write_bytes(content)
    monkeypatch.setattr(files, "_package_dir", lambda _model: tmp_path)
    with pytest.raises(ModelFileError, match=f"{RESNET.name} is damaged"):
        ModelCache(tmp_path / "cache").onnx(DLIB_RESNET_ONNX)
    assert not list((tmp_path / "cache").glob("*.onnx"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_model_is_converted_once_and_then_read(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ModelCache(tmp_path)
    made = cache.onnx(recipe)
    (kept,) = tmp_path.glob("*.onnx")
    assert kept.read_bytes() == made
    monkeypatch.setattr(files, "_package_dir", lambda _model: tmp_path / "nowhere")
    assert cache.onnx(recipe) == made


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
        lambda _: b"",
        lambda data: data + b"\0",
    ],
    ids=["cut", "flipped", "emptied", "longer"],
)
def test_a_damaged_conversion_is_made_anew(tmp_path: Path, damage: Damage) -> None:
    cache = ModelCache(tmp_path)
    made = cache.onnx(DLIB_RESNET_ONNX)
    (kept,) = tmp_path.glob("*.onnx")
    kept.write_bytes(damage(made))
    assert cache.onnx(DLIB_RESNET_ONNX) == made
    assert [path.read_bytes() for path in tmp_path.glob("*.onnx")] == [made]


def test_conversions_of_another_recipe_are_not_taken(tmp_path: Path) -> None:
    old = Recipe(name="dlib-resnet", version=0, source=RESNET, convert=lambda _: b"another")
    ModelCache(tmp_path).onnx(old)
    assert ModelCache(tmp_path).onnx(DLIB_RESNET_ONNX) != b"another"
    assert ModelCache(tmp_path).onnx(old) == b"another"


def _convert_slowly(data: bytes) -> bytes:
    with Path(_convert_slowly.__dict__["log"]).open("a", encoding="ascii") as log:
        log.write("x")
    return data[:1000]


def _convert_in(folder: str) -> None:
    _convert_slowly.__dict__["log"] = f"{folder}/log"
    recipe = Recipe(name="slow", version=1, source=YUNET, convert=_convert_slowly)
    ModelCache(Path(folder)).onnx(recipe)


def test_many_processes_convert_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_convert_in, args=(str(tmp_path),)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "log").read_text(encoding="ascii") == "x"


def test_a_damaged_conversion_that_another_process_removes_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(name="some", version=1, source=YUNET, convert=lambda _: b"model")
    (tmp_path / f"{recipe.key}-damaged.onnx").touch()
    read = Path.read_bytes

    def gone(path: Path) -> bytes:
        if path.name.endswith("-damaged.onnx"):
            path.unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", gone)
    assert ModelCache(tmp_path).onnx(recipe) == b"model"


def test_what_a_killed_process_left_of_a_conversion_is_cleared_away(tmp_path: Path) -> None:
    recipe = Recipe(name="some", version=1, source=YUNET, convert=lambda _: b"model")
    (tmp_path / f".{recipe.key}.0123456789abcdef").write_bytes(b"mod")
    ModelCache(tmp_path).onnx(recipe)
    assert {path.suffix for path in tmp_path.iterdir()} == {".onnx", ".lock"}


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(_data: bytes) -> bytes:
        raise ModelFormatError("no")

    recipe = Recipe(name="bad", version=1, source=YUNET, convert=fail)
    with pytest.raises(ModelFormatError):
        ModelCache(tmp_path).onnx(recipe)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(ModelCacheError, match=re.escape(str(blocked / "models"))):
        ModelCache(blocked / "models").onnx(DLIB_RESNET_ONNX)


@pytest.fixture(scope="module")
def operators() -> list[str]:
    """What dlib's own network is made of."""
    return _operators(resnet_to_onnx(model_bytes(RESNET)))


def _operators(model: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_model_from_string(model).graph.node]


@pytest.mark.parametrize("seed", range(40))
def test_a_network_that_is_not_fully_understood_is_refused(seed: int, operators: list[str]) -> None:
    """Every structural byte matters; only the numbers of the weights themselves may be others."""
    random = np.random.default_rng(seed)
    content = bytearray(model_bytes(RESNET))
    structure = _structural_bytes(bytes(content))
    at = int(random.choice(structure))
    content[at] ^= int(random.integers(1, 256))
    try:
        changed = resnet_to_onnx(bytes(content))
    except ModelFormatError:
        return
    # What is left are numbers that have no bearing on the structure: rates, margins, means.
    assert _operators(changed) == operators


@pytest.mark.parametrize("length", [0, 1, 100, 10_000, -1])
def test_a_network_that_breaks_off_is_refused(length: int) -> None:
    with pytest.raises(ModelFormatError):
        resnet_to_onnx(model_bytes(RESNET)[:length])


def test_a_network_with_something_behind_it_is_refused() -> None:
    with pytest.raises(ModelFormatError):
        resnet_to_onnx(model_bytes(RESNET) + b"\0")


@pytest.mark.parametrize("name", [b"con_4", b"affine_", b"max_pool_2", b"add_prev_", b"fc_2"])
def test_a_layer_of_another_kind_is_refused(name: bytes) -> None:
    content = model_bytes(RESNET)
    assert name in content
    changed = content.replace(name, name[:-1] + b"9", 1)
    with pytest.raises(ModelFormatError, match="layer"):
        resnet_to_onnx(changed)


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        ("max_pool_2", (0, 0, 2, 2, 0, 0)),  # The whole plane: only an average is known of it.
        ("max_pool_2", (3, 3, 0, 0, 0, 0)),
        ("avg_pool_2", (2, 2, 0, 0, 0, 0)),
        ("con_4", (7, 7, 0, 0, 0, 0)),
    ],
)
def test_a_layer_of_sizes_that_mean_nothing_is_refused(layer: str, size: tuple[int, ...]) -> None:
    content = model_bytes(RESNET)
    # The first convolution's sizes follow its parameters; a pool's follow its name.
    sizes = b"\x01\x07\x01\x07\x01\x02" if layer == "con_4" else b"\x01"
    at = content.index(sizes, content.index(layer.encode()) + len(layer))
    changed = b"".join(bytes([1, one]) for one in size)
    with pytest.raises(ModelFormatError):
        resnet_to_onnx(content[:at] + changed + content[at + len(changed) :])


def test_a_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(ModelFormatError):
        DlibStream(b"\x01\x01" + b"\x02\xd0\x07").real()  # 1 * 2 ** 2000


def test_bytes_that_are_no_onnx_model_are_refused() -> None:
    for data in (b"", b"\0" * 100, b"\xff" * 100, model_bytes(RESNET)[:1000]):
        with pytest.raises(ModelFormatError):
            dequantized(data, open_in=(0,), open_out=(0,))


def _structural_bytes(data: bytes) -> list[int]:
    """Where names of layers and what surrounds them stand."""
    names = re.finditer(rb"con_4|affine_|relu_|max_pool_2|avg_pool_2|add_prev_|fc_2", data)
    return [at for match in names for at in range(match.start() - 2, match.end())]


def test_copies_of_the_models_are_read_from_a_folder(tmp_path: Path) -> None:
    shutil.copy(model_path(YUNET), tmp_path)
    assert model_bytes(YUNET, tmp_path) == model_bytes(YUNET)


def test_prelu_written_out_is_the_same_function() -> None:
    plain = dequantized(model_bytes(SFACE), open_in=(0,), open_out=(0,))
    chips = np.random.default_rng(1).uniform(0, 255, (3, 3, 112, 112)).astype(np.float32)
    written_out = split_prelu(plain)
    assert b"PRelu" not in written_out
    before, after = (OnnxModel.load(data).run(chips)["fc1"] for data in (plain, written_out))
    assert np.abs(before - after).max() < 1e-4 * np.abs(before).max()
