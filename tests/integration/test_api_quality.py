"""The quality of faces over HTTP, what jobs may ask of it, and photos that lie on their side."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from api_kit import NOWHERE, Api, BackgroundWorker, Photo, image, made, photo, refused
from PIL import Image

KINDS = ("enrol", "identify", "verify", "detect")
QUALITY = {"overall", "limit", "sharpness", "width", "yaw", "pitch", "roll"}


@pytest.fixture
def both(photos_dir: Path) -> Photo:
    return photo(photos_dir / "demo" / "photos" / "obama_and_biden.jpg")


@pytest.fixture
def portrait(photos_dir: Path) -> Photo:
    return photo(photos_dir / "demo" / "photos" / "obama1.jpg")


def detected(api: Api, shown: Photo, **fields: Any) -> dict[str, Any]:
    answer = api.submit(shown, wait=60, kind="detect", **fields)
    (result,) = answer.json["results"]
    return dict(result)


@pytest.mark.parametrize("engine", ["dlib-classic", "dlib", "sface"])
def test_every_face_comes_with_its_quality(
    api: Api, worker: BackgroundWorker, both: Photo, engine: str
) -> None:
    result = detected(api, both, engine=engine)
    assert len(result["faces"]) >= 2
    assert (result["faces_left_out"], result["rotation"]) == (0, 0)
    for face in result["faces"]:
        quality = face["quality"]
        assert quality.keys() == QUALITY
        assert 0 < quality["overall"] <= 1
        assert quality["limit"] in {"size", "sharpness", "pose", "score"}
        assert quality["width"] >= face["box"][2] - face["box"][0] > 0
        assert quality["sharpness"] > 0
        assert max(abs(quality[angle]) for angle in ("yaw", "pitch", "roll")) < 60


@pytest.mark.parametrize("engine", ["dlib-classic", "dlib"])
def test_limits_between_the_faces_of_a_photo_leave_some_of_them_out(
    api: Api, worker: BackgroundWorker, both: Photo, engine: str
) -> None:
    faces = detected(api, both, engine=engine)["faces"]
    for field, member in (("min_face_px", "width"), ("min_quality", "overall")):
        # Exactly as much as the best face has, which is enough.
        most = max(face["quality"][member] for face in faces)
        passing = [face for face in faces if face["quality"][member] == most]
        result = detected(api, both, engine=engine, **{field: most})
        assert (result["status"], result["faces"]) == ("done", passing)
        assert result["faces_left_out"] == len(faces) - len(passing) > 0
    result = detected(api, both, engine=engine, min_face_px=100_000)
    assert (result["status"], result["faces"]) == ("no_face", [])
    assert result["faces_left_out"] == len(faces)


def test_a_subject_is_enrolled_of_photos_that_are_good_enough(
    api: Api, worker: BackgroundWorker, portrait: Photo
) -> None:
    gallery = api.gallery()
    path = f"/v1/galleries/{gallery}/subjects/{api.subject(gallery, 'obama')}/photos"
    page = api.send(path, [portrait], wait=60, min_face_px=100_000, min_quality=0.1).json
    assert (page["job"]["min_face_px"], page["job"]["min_quality"]) == (100_000, 0.1)
    (result,) = page["results"]
    assert (result["status"], result["error"]["code"]) == ("failed", "quality_too_low")
    assert "less than the 100000 of min_face_px" in result["error"]["detail"]
    assert (result["faces"], result["faces_left_out"]) == ([], 1)
    (result,) = api.send(path, [portrait], wait=60, min_face_px=10).json["results"]
    assert [face["enrolled"] for face in result["faces"]] == [True]


def fields_of(kind: str, api: Api) -> dict[str, str]:
    gallery = api.gallery(kind)
    fields = {"kind": kind}
    if kind != "detect":
        fields["gallery"] = gallery
    if kind in {"verify", "enrol"}:
        fields["subject"] = api.subject(gallery, "anna")
    return fields


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_of_all_kinds_take_limits(api: Api, kind: str) -> None:
    fields = fields_of(kind, api)
    as_form = api.submit(("a.jpg", image()), **fields, min_face_px="100000", min_quality="1")
    wanted = {**fields, "min_face_px": 100_000, "min_quality": 1}
    job = made(api.post("/v1/jobs", json=wanted))
    for read in (as_form.json, api.get(f"/v1/jobs/{job}").json):
        assert (read["min_face_px"], read["min_quality"]) == (100_000, 1.0)
    default = api.submit(("a.jpg", image()), **fields, min_face_px="", min_quality="").json
    assert (default["min_face_px"], default["min_quality"]) == (0, 0.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("min_face_px", value) for value in (-1, 100_001, 0.5, "wide", 10**30)),
        *(("min_quality", value) for value in (-0.01, 1.01, "good", "nan", "inf")),
    ],
)
def test_limits_out_of_range_are_refused_by_name(api: Api, field: str, value: object) -> None:
    shown = ("a.jpg", image())
    for kind in KINDS:
        fields = {"kind": kind, "gallery": NOWHERE, "subject": NOWHERE, field: value}
        assert field in refused(api.submit(shown, **fields), 422, "invalid_request")
        assert field in refused(api.post("/v1/jobs", json=fields), 422, "invalid_request")
    path = f"/v1/galleries/{NOWHERE}/subjects/{NOWHERE}/photos"
    assert field in refused(api.send(path, [shown], **{field: value}), 422, "invalid_request")


@pytest.mark.parametrize("value", [True, "50", None, [50]])
def test_json_takes_numbers_for_limits_and_nothing_else(api: Api, value: object) -> None:
    for field in ("min_face_px", "min_quality"):
        answer = api.post("/v1/jobs", json={"kind": "detect", field: value})
        assert field in refused(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    ("turn", "rotation"),
    [
        (Image.Transpose.ROTATE_90, 90),  # Pillow turns counterclockwise.
        (Image.Transpose.ROTATE_180, 180),
        (Image.Transpose.ROTATE_270, 270),
    ],
)
def test_a_photo_that_lies_on_its_side_says_how_it_was_turned(
    api: Api, worker: BackgroundWorker, portrait: Photo, turn: Image.Transpose, rotation: int
) -> None:
    upright = detected(api, portrait, engine="dlib")
    assert upright["rotation"] == 0
    out = BytesIO()
    with Image.open(BytesIO(portrait[1])) as whole:
        whole.convert("RGB").transpose(turn).save(out, "PNG")
    turned = detected(api, ("turned.png", out.getvalue()), engine="dlib")
    assert turned["rotation"] == rotation
    size = (upright["width"], upright["height"])
    # The boxes are those of the photo as it was sent.
    assert (turned["width"], turned["height"]) == (size if rotation == 180 else size[::-1])
    (before,), (after,) = upright["faces"], turned["faces"]
    middle = [(before["box"][n] + before["box"][n + 2]) / 2 for n in (0, 1)]
    expected = {
        90: (middle[1], size[0] - middle[0]),
        180: (size[0] - middle[0], size[1] - middle[1]),
        270: (size[1] - middle[1], middle[0]),
    }[rotation]
    found = tuple((after["box"][n] + after["box"][n + 2]) / 2 for n in (0, 1))
    assert found == pytest.approx(expected, abs=before["quality"]["width"] / 10)


def test_a_photo_that_nobody_could_read_has_no_rotation(api: Api, worker: BackgroundWorker) -> None:
    result = detected(api, ("words.jpg", b"no photo"))
    assert (result["status"], result["rotation"]) == ("failed", None)
    assert detected(api, ("grey.jpg", image()))["rotation"] == 0
