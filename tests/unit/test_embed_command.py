"""`facebatch embed` writes every face of a folder, in one order, and says which photos failed."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from embed_kit import COLOUR_ENGINE, COLOUR_SPEC, REPOSITORY, Tree, paint
from numpy.typing import NDArray

from pipeline.loader import load_engine

Arrays = dict[str, NDArray[np.generic]]
STACK = {"sqlalchemy", "psycopg2", "flask", "celery", "kombu", "redis", "boto3", "httpx", "onnx"}
PIXELS = {"cv2", "dlib", "onnxruntime", "PIL"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    tree = Tree.copied(tmp_path_factory.mktemp("tree"))
    tree.add_engine("colour", {"spec.py": COLOUR_SPEC, "engine.py": COLOUR_ENGINE})
    return tree


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return tmp_path / "photos"


def read(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def embedded(tree: Tree, photos: Path, *more: str | Path, suffix: str = ".npz") -> Path:
    """The file that the engine `colour` makes of the folder."""
    out = photos.parent / f"out{suffix}"
    arguments = ("embed", photos, "--engine", "colour", "--out", out, *more)
    done = tree.run(*arguments, home=photos.parent / "home")
    assert done.returncode == 0, done.stderr
    return out


def test_a_new_folder_is_all_that_an_engine_needs(tree: Tree, photos: Path) -> None:
    paint(photos / "b.png", red=255)
    paint(photos / "a" / "c.png", width=50, height=60)
    arrays = read(embedded(tree, photos))
    shapes = {name: (one.dtype.str, one.shape) for name, one in arrays.items()}
    assert shapes == {
        "photo": ("<U7", (2,)),
        "box": ("<i4", (2, 4)),
        "quality": ("<f4", (2,)),
        "score": ("<f4", (2,)),
        "landmarks": ("<f4", (2, 5, 2)),
        "rotation": ("<i2", (2,)),
        "photo_width": ("<i4", (2,)),
        "photo_height": ("<i4", (2,)),
        "embedding": ("<f4", (2, 3)),
        "failed_photo": ("<U1", (0,)),
        "failed_code": ("<U1", (0,)),
        "engine": ("<U6", ()),
        "engine_version": ("<U1", ()),
        "dimension": ("<i8", ()),
    }
    assert arrays["photo"].tolist() == ["a/c.png", "b.png"]
    assert arrays["box"].tolist() == [[0, 0, 50, 60], [0, 0, 40, 30]]
    assert arrays["embedding"].tolist() == [[0, 0, 0], [1, 0, 0]]
    assert arrays["photo_width"].tolist() == [50, 40]
    assert arrays["photo_height"].tolist() == [60, 30]
    assert arrays["landmarks"][0].tolist() == [[1, 1], [3, 1], [2, 2], [1, 3], [3, 3]]
    assert arrays["score"] == pytest.approx([0.5, 0.4])
    assert (arrays["engine"].item(), arrays["engine_version"].item()) == ("colour", "7")
    assert arrays["dimension"].item() == 3


def test_the_order_is_that_of_the_paths_whatever_the_number_of_processes(
    tree: Tree, photos: Path
) -> None:
    for n in range(150):
        paint(photos / f"{n:03}.png", red=n, width=11 if n % 5 == 0 else 40)
    one, three = (read(embedded(tree, photos, "--workers", str(n))) for n in (1, 3))
    expected = [n for n in range(150) if n % 5]
    assert [round(red * 255) for red in one["embedding"][:, 0].tolist()] == expected
    assert one["photo"].tolist() == [f"{n:03}.png" for n in expected]
    assert one.keys() == three.keys()
    for name, values in one.items():
        assert np.array_equal(values, three[name]), name


def test_photos_that_fail_are_listed_and_stop_nothing(tree: Tree, photos: Path) -> None:
    paint(photos / "good.png")
    paint(photos / "unforeseen.png", width=19)
    paint(photos / "deep.png", red=251)
    (photos / "text.jpg").write_text("no image")
    (photos / "empty.jpg").touch()
    (photos / "gone.jpg").symlink_to(photos / "absent")
    whole = paint(photos / "cut.png", width=400, height=400).read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "notes.txt").touch()
    out = photos.parent / "out.npz"
    arguments = ("embed", photos, "--engine", "colour", "--out", out)
    done = tree.run(*arguments, home=photos.parent / "home")
    assert done.returncode == 0
    arrays = read(out)
    assert arrays["photo"].tolist() == ["good.png"]
    failed = dict(zip(arrays["failed_photo"].tolist(), arrays["failed_code"].tolist(), strict=True))
    assert failed == {
        "cut.png": "image_truncated",
        "deep.png": "internal_error",
        "empty.jpg": "empty_file",
        "gone.jpg": "unreadable",
        "text.jpg": "not_an_image",
        "unforeseen.png": "internal_error",
    }
    lines = done.stderr.splitlines()
    assert f"facebatch: 1 file in {photos} is no photo and was left out" in lines
    assert lines[-7] == f"facebatch: 1 face of 7 photos is in {out}"
    told = [f"facebatch: {photo} failed: {code}" for photo, code in failed.items()]
    assert lines[-6:-1] == told[:5]
    assert "nobody foresaw this" in done.stderr
    assert "this red cannot be embedded" in done.stderr


def test_many_failures_are_counted(tree: Tree, photos: Path) -> None:
    photos.mkdir()
    for n in range(7):
        (photos / f"{n}.jpg").write_text("no image" if n else "")
    out = photos.parent / "out.npz"
    arguments = ("embed", photos, "--engine", "colour", "--out", out)
    done = tree.run(*arguments, home=photos.parent / "home")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == (
        f"facebatch: 7 photos failed (6 not_an_image, 1 empty_file); {out} lists them all"
    )
    assert "6.jpg" not in done.stderr
    assert read(out)["failed_photo"].shape == (7,)


def test_the_limits_of_files_and_pixels_hold(tree: Tree, photos: Path) -> None:
    paint(photos / "a.png", width=200, height=200)
    paint(photos / "b.png", width=20, height=20)
    out = photos.parent / "out.npz"
    arguments = ("embed", photos, "--engine", "colour", "--out", out)
    for name, limit in (("UPLOAD_BYTES", "100"), ("PIXELS", "500")):
        setting = {f"FACEBATCH_MAX_{name}": limit}
        assert tree.run(*arguments, home=photos.parent / "home", **setting).returncode == 0
        arrays = read(out)
        code = {"UPLOAD_BYTES": "file_too_large", "PIXELS": "image_too_large"}[name]
        assert (arrays["photo"].tolist(), arrays["failed_code"].tolist()) == (["b.png"], [code])


def test_faces_that_nobody_asked_for_are_left_out(tree: Tree, photos: Path) -> None:
    for width in (39, 40, 90):
        paint(photos / f"{width}.png", width=width)
    assert read(embedded(tree, photos, "--min-face-px", "40"))["photo"].tolist() == [
        "40.png",
        "90.png",
    ]
    everything = read(embedded(tree, photos, "--min-quality", "0"))
    assert everything["photo"].shape == (3,)
    assert read(embedded(tree, photos, "--min-quality", "1"))["photo"].shape == (0,)


def test_a_folder_without_faces_gives_no_rows(tree: Tree, photos: Path) -> None:
    paint(photos / "a.png", width=11)
    arrays = read(embedded(tree, photos))
    assert arrays["photo"].shape == (0,)
    assert arrays["embedding"].shape == (0, 3)
    assert pq.read_table(embedded(tree, photos, suffix=".parquet")).num_rows == 0


ODD = [
    "new\nline.png",
    "two words.png",
    "\u5c71\u7530 \U0001f600.png",
    os.fsdecode(b"\xff\xfe.png"),
]


def test_odd_file_names_are_given_back(tree: Tree, photos: Path) -> None:
    for n, name in enumerate(sorted(ODD)):
        paint(photos / name, red=n)
    (photos / os.fsdecode(b"broken\xff.jpg")).touch()
    arrays = read(embedded(tree, photos))
    assert arrays["photo"].tolist() == sorted(ODD)
    assert arrays["failed_photo"].tolist() == [os.fsdecode(b"broken\xff.jpg")]
    assert all((photos / name).is_file() for name in arrays["photo"].tolist())
    out = embedded(tree, photos, suffix=".parquet")
    assert pq.read_table(out)["photo"].to_pylist() == [
        name.encode(errors="backslashreplace").decode() for name in sorted(ODD)
    ]
    (failed,) = json.loads(pq.read_metadata(out).metadata[b"failed"])
    assert failed == {"photo": "broken\\udcff.jpg", "code": "empty_file"}


def test_parquet_has_what_the_npz_has(tree: Tree, photos: Path) -> None:
    for n in range(30):
        paint(photos / f"{n:02}.png", red=n, width=20 + n)
    (photos / "no.jpg").write_text("no image")
    arrays = read(embedded(tree, photos))
    out = embedded(tree, photos, suffix=".parquet")
    table = pq.read_table(out)
    kinds = {field.name: str(field.type).replace("element: ", "") for field in table.schema}
    assert kinds == {
        "photo": "string",
        **dict.fromkeys(("left", "top", "right", "bottom"), "int32"),
        "score": "float",
        "quality": "float",
        "rotation": "int16",
        "photo_width": "int32",
        "photo_height": "int32",
        "landmarks": "fixed_size_list<float>[10]",
        "embedding": "fixed_size_list<float>[3]",
    }
    for name in ("photo", "score", "quality", "rotation", "photo_width", "photo_height"):
        assert table[name].to_pylist() == arrays[name].tolist()
    for name in ("landmarks", "embedding"):
        assert np.array_equal(
            np.array(table[name].to_pylist(), dtype=np.float32), arrays[name].reshape(30, -1)
        )
    sides = [table[side].to_pylist() for side in ("left", "top", "right", "bottom")]
    assert np.array_equal(np.array(sides).T, arrays["box"])
    metadata = pq.read_metadata(out).metadata
    assert metadata[b"engine"] == b"colour"
    assert (metadata[b"engine_version"], metadata[b"dimension"]) == (b"7", b"3")
    assert json.loads(metadata[b"failed"]) == [{"photo": "no.jpg", "code": "not_an_image"}]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("photos --out out.csv", "out.csv must end in .npz or .parquet"),
        ("photos --out absent/out.npz", "absent/out.npz cannot be written: No such file"),
        ("photos --out out.npz --engine facenet", "'facenet' is not one of"),
        ("photos --out out.npz --workers 0", "0 is not in the range 1<=x<=1024"),
        ("photos --out out.npz --min-quality 1.5", "1.5 is not in the range 0<=x<=1"),
        ("photos --out out.npz --min-quality nan", "nan is not in the range"),
        ("photos --out out.npz --min-face-px -1", "-1 is not in the range 0<=x<=100000"),
        ("empty --out out.npz", "empty holds no photos"),
        ("absent --out out.npz", "'absent' does not exist"),
        ("photos", "Missing option '--out'"),
        ("--out out.npz", "Missing argument 'DIR'"),
    ],
)
def test_bad_arguments_are_refused_with_a_reason(
    tree: Tree, photos: Path, arguments: str, complaint: str
) -> None:
    paint(photos / "a.png")
    (photos.parent / "empty").mkdir()
    done = tree.run("embed", *arguments.split(), home=photos.parent / "home", cwd=photos.parent)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in photos.parent.iterdir()} <= {"empty", "photos", "home"}


def test_a_disk_without_room_is_refused_before_the_work(tree: Tree, photos: Path) -> None:
    paint(photos / "a.png")
    limited = """
import resource, runpy, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
runpy.run_module("cli.main", run_name="__main__", alter_sys=True)
"""
    out = photos.parent / "out.npz"
    done = subprocess.run(
        [sys.executable, "-P", "-c", limited, "embed", photos, "--engine", "colour", "--out", out],
        env=tree.environ(photos.parent / "home", PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"{out} cannot be written: File too large" in done.stderr
    assert "embedding photos" not in done.stderr
    assert [path.name for path in photos.parent.iterdir()] == ["photos"]


def test_an_earlier_file_is_replaced_and_keeps_its_mode(tree: Tree, photos: Path) -> None:
    paint(photos / "a.png")
    out = photos.parent / "out.npz"
    out.write_text("before")
    out.chmod(0o600)
    assert read(embedded(tree, photos))["photo"].tolist() == ["a.png"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_neither_command_nor_process_loads_a_library_of_the_stack(photos: Path) -> None:
    paint(photos / "a.png")
    worker = """
import sys
from pathlib import Path
import cli.embedding.worker
from pipeline.loader import load_engine
load_engine("dlib", Path(sys.argv[1]))
"""
    command = """
import sys
from cli.main import facebatch
sys.argv[1:1] = ["embed"]
facebatch.main(standalone_mode=False)
"""
    loaded = "\nprint(*{unwanted} & set(sys.modules))"
    models, out = photos.parent / "home" / "models", photos.parent / "out.npz"
    models.mkdir(parents=True)
    load_engine("dlib", models)  # Converted: what is needed for that may be loaded once.
    for code, unwanted, arguments in (
        (worker, STACK, [models]),
        (command, STACK | PIXELS | {"pyarrow"}, [photos, "--out", out]),
    ):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code + loaded.format(unwanted=unwanted), *arguments],
            env=os.environ | {"FACEBATCH_HOME": str(photos.parent / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "\n"), done.stderr


@pytest.mark.parametrize("engine", ["dlib", "sface"])
def test_real_faces_are_those_that_the_engine_gives(
    tree: Tree, photos_dir: Path, models_dir: Path, tmp_path: Path, engine: str
) -> None:
    folder, out = photos_dir / "demo" / "photos", tmp_path / "out.npz"
    done = tree.run("embed", folder, "--engine", engine, "--out", out, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    arrays = read(out)
    names = sorted(path.name for path in folder.iterdir())
    direct = load_engine(engine, models_dir)
    opened = (direct.open((folder / name).read_bytes(), max_pixels=10**8) for name in names)
    found = direct.extract_batch(opened)
    faces = [
        (name, photo, face)
        for name, photo in zip(names, found, strict=True)
        for face in photo.faces
    ]
    assert len(faces) > 9
    assert arrays["photo"].tolist() == [name for name, _, _ in faces]
    assert arrays["photo_width"].tolist() == [photo.width_px for _, photo, _ in faces]
    assert arrays["rotation"].tolist() == [photo.rotation for _, photo, _ in faces]
    boxes = [[face.box.left, face.box.top, face.box.right, face.box.bottom] for *_, face in faces]
    assert arrays["box"].tolist() == boxes
    qualities = [face.quality.overall for *_, face in faces if face.quality]
    assert arrays["quality"] == pytest.approx(qualities)
    assert arrays["score"] == pytest.approx([face.score for *_, face in faces])
    embeddings = np.array([face.embedding for *_, face in faces])
    assert np.linalg.norm(arrays["embedding"] - embeddings, axis=1).max() <= 1e-5


def test_the_pages_examples_work_when_pasted(tree: Tree, photos: Path) -> None:
    for n in range(3):
        paint(photos / f"{n}.png", red=100 * n)
    for suffix in (".npz", ".parquet"):
        embedded(tree, photos, suffix=suffix).rename(photos.parent / f"faces{suffix}")
    page = (REPOSITORY / "docs" / "how-to" / "embed-a-folder.md").read_text(encoding="utf-8")
    told = [
        subprocess.run(
            [sys.executable, "-c", example],
            cwd=photos.parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for example in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    ]
    assert told == [
        "0.000 0.png [ 0  0 40 30]\n0.392 1.png [ 0  0 40 30]\n0.784 2.png [ 0  0 40 30]\n",
        "3 faces by colour\n[]\n",
    ]
