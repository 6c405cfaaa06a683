"""The classic `POST /detect`: the faces of one photo at once, and the photo is not kept."""

from io import BytesIO
from pathlib import Path

import pytest
from api_kit import Api, BackgroundWorker, Photo, image, photo, refused
from faces_kit import sent
from ledger_kit import Kit
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from db.models import Job
from db.models import Photo as PhotoRow
from db.session import transaction


@pytest.fixture
def group(photos_dir: Path) -> Photo:
    return photo(photos_dir / "groups" / "multiface.jpg")


def detect(api: Api, shown: Photo, **query: object) -> TestResponse:
    files = {"image": (BytesIO(shown[1]), shown[0])}
    return api.post("/detect", data=files, query_string=query)


def test_the_faces_are_those_of_a_job_and_the_photo_is_gone(
    api: Api, worker: BackgroundWorker, local: Kit, group: Photo
) -> None:
    answer = detect(api, group)
    assert answer.status_code == 200, answer.text
    told = answer.json
    with transaction(local.database) as session:
        for table in (Job, PhotoRow):
            assert session.scalars(select(func.count()).select_from(table)).one() == 0
    (one,) = sent(api, group)["results"]
    places = ("face", "box", "landmarks", "score", "quality")
    assert len(one["faces"]) > 3
    assert told["faces"] == [{name: face[name] for name in places} for face in one["faces"]]
    for name in ("width", "height", "orientation", "rotation", "faces_left_out"):
        assert told[name] == one[name]
    assert told["engine"] == "dlib"
    assert told["message"] == f"{len(one['faces'])} faces found"


def test_the_options_decide_which_faces_count_and_who_finds_them(
    api: Api, worker: BackgroundWorker, group: Photo
) -> None:
    everybody = detect(api, group).json["faces"]
    widths = sorted(face["quality"]["width"] for face in everybody)
    wide = detect(api, group, min_face_px=widths[-1]).json
    assert [face["quality"]["width"] for face in wide["faces"]] == [widths[-1]]
    assert wide["faces_left_out"] == len(everybody) - 1
    best = max(face["quality"]["overall"] for face in everybody)
    good = detect(api, group, min_quality=best).json["faces"]
    assert {face["quality"]["overall"] for face in good} == {best}
    assert detect(api, group, engine="dlib-classic").json["engine"] == "dlib-classic"


def test_a_photo_of_nobody_is_no_error(api: Api, worker: BackgroundWorker) -> None:
    told = detect(api, ("grey.jpg", image(70, 50))).json
    assert (told["status"], told["faces"], told["message"]) == ("success", [], "0 faces found")
    assert (told["width"], told["height"]) == (70, 50)


def test_what_cannot_be_read_is_refused(api: Api, worker: BackgroundWorker, group: Photo) -> None:
    refused(detect(api, ("a.jpg", b"words")), 422, "not_an_image")
    refused(detect(api, ("a.jpg", b"")), 422, "empty_file")
    refused(detect(api, group, engine="eyes"), 422, "engine_unknown")
    for wrong in ({"min_quality": "nan"}, {"min_face_px": -1}, {"threshold": 1}):
        refused(detect(api, group, **wrong), 422, "invalid_request")
    refused(api.send("/detect", [group], field="image", engine="dlib"), 422, "invalid_request")
    refused(api.send("/detect", [group, group], field="image"), 422, "invalid_request")
    refused(api.post("/detect", data={}), 415, "unsupported_media_type")
