"""The command import-encodings, and what the API then makes of the people."""

import csv
import json
import uuid
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import dlib
import numpy as np
import pytest
from api_kit import Api, BackgroundWorker, photo
from click.testing import CliRunner, Result
from ledger_kit import Kit
from PIL import Image
from sqlalchemy import func, select

from cli.commands.import_encodings import import_encodings
from db import galleries
from db.errors import DuplicateSubjectError, GalleryEngineError
from db.models import Gallery, Subject, Template
from db.session import transaction
from db.settings import Settings
from pipeline.specs import engine_spec

CLASSIC = engine_spec("dlib-classic")
OTHER = engine_spec("sface")
MODELS = Path(str(files("face_recognition_models"))) / "models"
Import = Callable[..., Result]


@pytest.fixture
def run(settings: Settings, tmp_path: Path) -> Import:
    """Runs the command on the test's own database."""
    environ = {"DATABASE_URL": settings.database, "FACEBATCH_HOME": str(tmp_path / "home")}

    def run(file: Path, *options: str, gallery: str = "people") -> Result:
        arguments = [str(file), "--gallery", gallery, *options]
        return CliRunner().invoke(import_encodings, arguments, env=environ)

    return run


def count(kit: Kit, table: type) -> int:
    with transaction(kit.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def gallery_of(done: Result) -> str:
    """The gallery's id, as the last line tells it."""
    assert (done.exit_code, done.exception) == (0, None), done.output
    return str(uuid.UUID(done.output.strip().split("(id ")[1].rstrip(").")))


def vectors(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.12, (n, CLASSIC.dimension)).astype(np.float32)


def written(folder: Path, held: dict[str, np.ndarray]) -> Path:
    path = folder / "people.json"
    path.write_text(json.dumps({name: values.tolist() for name, values in held.items()}))
    return path


@pytest.fixture(scope="module")
def encoded(photos_dir: Path) -> dict[str, list[np.ndarray]]:
    """The demo's people by `face_encodings` of face_recognition 1.3.0, with dlib's plain calls."""
    detect = dlib.get_frontal_face_detector()
    points = dlib.shape_predictor(str(MODELS / "shape_predictor_5_face_landmarks.dat"))
    network = dlib.face_recognition_model_v1(
        str(MODELS / "dlib_face_recognition_resnet_model_v1.dat")
    )
    found: dict[str, list[np.ndarray]] = {}
    for path in sorted((photos_dir / "demo" / "people").glob("*/*")):
        with Image.open(path) as photo:
            image = np.array(photo.convert("RGB"))
        (box,) = detect(image, 1)
        encoding = np.array(network.compute_face_descriptor(image, points(image, box), 1))
        found.setdefault(path.parent.name, []).append(encoding)
    assert len(found) > 3
    return found


def as_json(folder: Path, encoded: dict[str, list[np.ndarray]]) -> Path:
    return written(folder, {name: np.array(some) for name, some in encoded.items()})


def as_csv(folder: Path, encoded: dict[str, list[np.ndarray]]) -> Path:
    with (folder / "people.csv").open("w", newline="") as file:
        csv.writer(file).writerows([name, *some[0].tolist()] for name, some in encoded.items())
    return folder / "people.csv"


def as_npy(folder: Path, encoded: dict[str, list[np.ndarray]]) -> Path:
    np.save(folder / "people.npy", np.array([some[0] for some in encoded.values()]))
    (folder / "people.txt").write_text("".join(f"{name}\n" for name in encoded))
    return folder / "people.npy"


@pytest.mark.parametrize("form", [as_json, as_csv, as_npy])
def test_imported_people_are_as_near_as_if_they_had_been_enrolled(
    run: Import,
    api: Api,
    worker: BackgroundWorker,
    local: Kit,
    encoded: dict[str, list[np.ndarray]],
    photos_dir: Path,
    tmp_path: Path,
    form: Callable[[Path, dict[str, list[np.ndarray]]], Path],
) -> None:
    done = run(form(tmp_path, encoded))
    imported = gallery_of(done)
    templates = sum(map(len, encoded.values())) if form is as_json else len(encoded)
    assert f"Added {len(encoded)} subjects with {templates} templates to the gallery" in done.output
    with transaction(local.database) as session:
        enrolled = str(
            galleries.ensure_gallery(session, local.tenant_id, name="enrolled", spec=CLASSIC)
        )
    for name in ("obama", "biden"):
        folder = photos_dir / "demo" / "people" / name
        shown = sorted(folder.iterdir())[: None if form is as_json else 1]
        subject = api.enrol(enrolled, name, photo(shown[0]))
        for more in shown[1:]:
            path = f"/v1/galleries/{enrolled}/subjects/{subject}/photos"
            assert api.send(path, [photo(more)], wait=60).status_code == 200
    probe = photo(photos_dir / "demo" / "photos" / "obama_and_biden.jpg")
    near = []
    for gallery in (imported, enrolled):
        fields = {"kind": "identify", "gallery": gallery, "threshold": CLASSIC.threshold_distance}
        (result,) = api.submit(probe, wait=60, **fields).json["results"]
        faces = [face for face in result["faces"] if face["subject"]]
        near.append({face["subject"]["name"]: face["distance"] for face in faces})
    assert near[0].keys() == {"obama", "biden"}
    assert near[0] == pytest.approx(near[1], abs=1e-5)


def test_a_deleted_subject_is_found_no_more(
    run: Import, api: Api, local: Kit, tmp_path: Path
) -> None:
    gallery = gallery_of(run(written(tmp_path, {"anna": vectors(2), "ben": vectors(1, 1)})))
    path = f"/v1/galleries/{gallery}"
    read = api.get(path).json
    assert (read["engine"]["name"], read["subjects"], read["templates"]) == (CLASSIC.name, 2, 3)
    anna, ben = api.get(f"{path}/subjects").json["subjects"]
    assert {anna["name"]: anna["templates"], ben["name"]: ben["templates"]} == {"anna": 2, "ben": 1}
    assert api.delete(f"{path}/subjects/{anna['id']}").status_code == 204
    assert count(local, Template) == ben["templates"]
    assert api.delete(path).status_code == 204
    assert count(local, Template) == 0


def test_a_second_run_changes_nothing_and_names_who_is_there(
    run: Import, local: Kit, tmp_path: Path
) -> None:
    file = written(tmp_path, {f"person {n}": vectors(1, n) for n in range(9)})
    gallery_of(run(file))
    again = run(file)
    assert isinstance(again.exception, DuplicateSubjectError)
    assert "has person 0, person 1, person 2, person 3, person 4 and 4 more already" in str(
        again.exception
    )
    assert (count(local, Subject), count(local, Template)) == (9, 9)


def test_one_bad_encoding_keeps_all_out(run: Import, local: Kit, tmp_path: Path) -> None:
    bad = vectors(1, 2)
    bad[0, 5] = np.nan
    done = run(written(tmp_path, {"anna": vectors(1), "ben": bad}))
    assert done.exit_code == 2
    assert "'ben', encoding 1: number 6 is nan" in done.output
    assert [count(local, table) for table in (Gallery, Subject)] == [0, 0]


def test_a_gallery_takes_what_its_engine_made_and_nothing_else(
    run: Import, local: Kit, tmp_path: Path
) -> None:
    with transaction(local.database) as session:
        galleries.create_gallery(session, local.tenant_id, name="other", spec=OTHER)
    file = written(tmp_path, {"anna": vectors(1)})
    refused = run(file, gallery="other").exception
    assert isinstance(refused, GalleryEngineError)
    assert f"bound to the engine {OTHER.name}" in str(refused)
    some = vectors(2)
    some[0] /= np.linalg.norm(some[0])
    misnamed = run(written(tmp_path, {"anna": some}), "--engine", OTHER.name, gallery="other")
    assert misnamed.exit_code == 2
    assert f"is no encoding of {OTHER.name}" in misnamed.output
    assert count(local, Subject) == 0
    file = written(tmp_path, {"anna": some[:1]})
    gallery_of(run(file, "--engine", OTHER.name, gallery="other"))
    fresh = run(file, "--engine", OTHER.name, gallery="fresh")
    with transaction(local.database) as session:
        made = galleries.get_gallery(session, local.tenant_id, uuid.UUID(gallery_of(fresh)))
    assert (made.engine, made.template_count) == (OTHER.name, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Missing option '--gallery'"),
        (["--gallery", " "], "a name cannot be empty"),
        (["--gallery", "a\tb"], "a name cannot have control characters"),
        (["--gallery", "a" * 256], "a name has at most 255 characters"),
        (["--gallery", "a", "--engine", "facenet"], "'facenet' is not one of"),
        (["--gallery", "a", "--names", "absent.txt"], "'absent.txt' does not exist"),
        (["--gallery", "a", "--names", __file__], "--names goes with a .npy"),
    ],
)
def test_bad_arguments_end_with_status_2_and_say_why(
    run: Import, tmp_path: Path, options: list[str], said: str
) -> None:
    file = written(tmp_path, {"anna": vectors(1)})
    environ = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = CliRunner().invoke(import_encodings, [str(file), *options], env=environ)
    assert (done.exit_code, said in done.output) == (2, True), done.output
