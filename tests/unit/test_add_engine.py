"""The page on adding an engine: followed to the letter, in a copy of the checkout, it adds one."""

import hashlib
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from embed_kit import REPOSITORY, Tree
from onnx import TensorProto, helper

PAGE = REPOSITORY / "docs" / "how-to" / "add-an-engine.md"
ENGINES = "pipeline/engines/"
PLACEHOLDER = "<what `sha256sum arcface.onnx` says>"


def files_of_the_page() -> dict[str, str]:
    """The page's Python by the path in its first line."""
    blocks = re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return {path.removeprefix(ENGINES): text for path, text in blocks}


def network() -> bytes:
    """512 numbers from planes (n, 3, 112, 112): no face's, but they differ from face to face."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3 * 14 * 14, 512)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["x"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
            helper.make_node("Flatten", ["small"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["y"]),
        ],
        "arcface",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 512])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    tree = Tree.copied(tmp_path_factory.mktemp("tree"))
    model = network()
    digest = hashlib.sha256(model).hexdigest()
    pages = files_of_the_page()
    assert sum(PLACEHOLDER in text for text in pages.values()) == 1
    for path, text in pages.items():
        folder, name = path.split("/")
        tree.add_engine(folder, {name: text.replace(PLACEHOLDER, digest)})
    models = tree.root / ENGINES / "arcface" / "models"
    models.mkdir()
    (models / "arcface.onnx").write_bytes(model)
    return tree


def test_the_page_shows_every_file_of_an_engine() -> None:
    own = {path.name for path in (REPOSITORY / ENGINES / "sface").glob("*.py")}
    assert set(files_of_the_page()) == {f"arcface/{name}" for name in own}


def test_the_new_engine_is_offered_by_name(tree: Tree, tmp_path: Path) -> None:
    done = tree.run("embed", "--help", home=tmp_path / "home")
    assert "arcface" in done.stdout


def test_the_new_engine_makes_its_embeddings(tree: Tree, tmp_path: Path, photos_dir: Path) -> None:
    photos, out = photos_dir / "demo" / "photos", tmp_path / "out.npz"
    done = tree.run("embed", photos, "--engine", "arcface", "--out", out, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    with np.load(out) as arrays:
        vectors = arrays["embedding"]
        assert vectors.shape[0] > 9
        assert vectors.shape[1] == arrays["dimension"] == 512
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
        assert len(np.unique(vectors[:, 0])) == len(vectors)
        assert (arrays["engine"], arrays["failed_photo"].size) == ("arcface", 0)


def test_a_network_that_is_another_is_refused_by_name(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("no image, and no engine looks at it")
    model = tree.root / ENGINES / "arcface" / "models" / "arcface.onnx"
    whole = model.read_bytes()
    model.write_bytes(whole[:-1])
    try:
        arguments = ("embed", tmp_path / "photos", "--engine", "arcface", "--out")
        done = tree.run(*arguments, tmp_path / "out.npz", home=tmp_path / "home")
    finally:
        model.write_bytes(whole)
    assert done.returncode == 1
    assert "the model file arcface.onnx is damaged or another version" in done.stderr
    assert not (tmp_path / "out.npz").exists()
