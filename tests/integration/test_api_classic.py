"""The classic endpoints answer the bodies that their clients know."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from api_kit import Api, BackgroundWorker, image, photo, refused
from ledger_kit import Kit
from PIL import Image
from pydantic import SecretStr
from sqlalchemy import func, select

from cli.sample import Sample
from db.models import DoomedObject, Job, Photo, Subject, Template
from db.session import transaction
from db.settings import Settings
from pipeline.specs import DEFAULT_ENGINE
from web.app import create_app


def register(api: Api, name: str, shown: tuple[str, bytes], **fields: str) -> object:
    return api.send("/register", [shown], field="image", name=name, **fields)


def recognize(api: Api, shown: tuple[str, bytes], query: str = "") -> object:
    return api.send(f"/recognize{query}", [shown], field="image")


@pytest.fixture
def obama(sample: Sample) -> tuple[str, bytes]:
    return photo(sample.people_dir / "obama" / "obama.jpg")


@pytest.fixture
def obama_again(sample: Sample) -> tuple[str, bytes]:
    return photo(sample.photos_dir / "obama2.jpg")


def count(local: Kit, table: type) -> int:
    with transaction(local.database) as session:
        return session.scalars(select(func.count()).select_from(table)).one()


def test_the_index_lists_the_endpoints(api: Api) -> None:
    endpoints = api.get("/").json["endpoints"]
    assert {"GET /", "GET /health", "GET /stats", "POST /register", "POST /recognize"} <= set(
        endpoints
    )


def test_health_when_all_is_well(api: Api) -> None:
    answer = api.get("/health")
    assert answer.status_code == 200
    assert answer.json == {
        "status": "healthy",
        "database": "connected",
        "threshold": 0.45,
        "embedding_dimension": 128,
    }


@pytest.mark.parametrize(
    ("part", "address"),
    [
        ("database", {"database_url": SecretStr("postgresql://x@127.0.0.1:9/x")}),
        ("storage", {"s3_endpoint_url": SecretStr("http://127.0.0.1:9")}),
        ("queue", {"redis_url": SecretStr("redis://127.0.0.1:9/0")}),
    ],
)
def test_health_tells_which_part_is_down(
    settings: Settings, local: Kit, part: str, address: dict[str, SecretStr]
) -> None:
    api = Api(create_app(settings.model_copy(update=address)).test_client())
    answer = api.get("/health")
    assert answer.status_code == 503
    assert answer.json["status"] == "unhealthy"
    parts = {"database": "connected", "storage": "connected", "queue": "connected"}
    assert answer.json["parts"] == parts | {part: "disconnected"}
    assert answer.json["database"] == answer.json["parts"]["database"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that takes connections and never says a word, like a server that was stopped."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("part", "setting", "address"),
    [
        ("database", "database_url", "postgresql://x@127.0.0.1:{}/x"),
        ("storage", "s3_endpoint_url", "http://127.0.0.1:{}"),
        ("queue", "redis_url", "redis://127.0.0.1:{}/0"),
    ],
)
def test_health_does_not_wait_for_a_part_that_hangs(
    settings: Settings, local: Kit, silent_port: int, part: str, setting: str, address: str
) -> None:
    hanging = {setting: SecretStr(address.format(silent_port))}
    api = Api(create_app(settings.model_copy(update=hanging)).test_client())
    threads = threading.active_count()
    for turn in range(3):
        answer = api.get("/health")
        if turn == 0:
            # It is still being asked; the queue's server alone is given less time than that.
            assert (threading.active_count() > threads) == (part != "queue")
        assert answer.status_code == 503
        down = [name for name, state in answer.json["parts"].items() if state == "disconnected"]
        assert down == [part]
    assert threading.active_count() <= threads + 1


def _meaning_of_the_constant() -> dict[str, Any]:
    """What an answer says of the threshold where there is one user."""
    curve = DEFAULT_ENGINE.curve
    fmr = pytest.approx(curve.fmr_at(0.45), rel=1e-2)
    return {
        "threshold": 0.45,
        "fmr": fmr,
        "fmr_basis": "measured",
        "fpir": fmr,  # Of the one user that there is.
        "fnmr": pytest.approx(curve.fnmr_at(0.45), rel=1e-2),
        "advice": (
            f"{curve.fnmr_at(0.45):.0%} of true matches are expected to be missed; a larger "
            "threshold misses fewer, and matches more strangers; with the same FMR, a gallery of "
            "the engine sface misses fewer: make it with POST /v1/galleries, and search it with "
            "POST /v1/jobs"
        ),
    }


def test_a_user_is_registered_and_recognized(
    api: Api,
    worker: BackgroundWorker,
    local: Kit,
    obama: tuple[str, bytes],
    obama_again: tuple[str, bytes],
    sample: Sample,
) -> None:
    constants = {"threshold": 0.45, "embedding_dimension": 128}
    assert api.get("/stats").json == {"total_users": 0, **constants}
    answer = register(api, "Barack", obama)
    assert answer.status_code == 200
    user_id = answer.json["user_id"]
    assert isinstance(user_id, int)
    assert answer.json == {
        "status": "success",
        "message": "User 'Barack' registered successfully",
        "user_id": user_id,
        "name": "Barack",
        "embedding_dimension": 128,
    }
    assert api.get("/stats").json == {"total_users": 1, **constants}

    meaning = _meaning_of_the_constant()
    match = recognize(api, obama_again).json
    distance = match["distance"]
    assert 0 < distance <= 0.45
    assert match == {
        "status": "match",
        "message": "Face recognized as 'Barack'",
        "distance": distance,
        "confidence": pytest.approx(1 - distance, abs=1e-9),
        "matched_user": {"id": user_id, "name": "Barack"},
        **meaning,
    }

    stranger = recognize(api, photo(sample.people_dir / "biden" / "biden.jpg")).json
    distance = stranger["distance"]
    assert distance > 0.45
    assert stranger == {
        "status": "no_match",
        "message": "No matching face found",
        "distance": distance,
        "confidence": pytest.approx(1 - distance, abs=1e-9),
        "matched_user": None,
        **meaning,
    }
    # What was only looked at is not kept: the user's photo is all there is.
    assert (count(local, Photo), count(local, Job)) == (1, 0)


def test_the_threshold_of_a_recognition_is_the_clients(
    api: Api, worker: BackgroundWorker, obama: tuple[str, bytes], obama_again: tuple[str, bytes]
) -> None:
    register(api, "Barack", obama)
    near = recognize(api, obama_again, "?threshold=0.05").json
    assert (near["status"], near["threshold"], near["matched_user"]) == ("no_match", 0.05, None)
    assert recognize(api, obama_again, "?threshold=1.5").json["threshold"] == 1.5
    for threshold in ("0", "-1", "2.5"):
        answer = recognize(api, obama_again, f"?threshold={threshold}")
        refused(answer, 422, "threshold_out_of_range")
    for threshold in ("nan", "near"):
        refused(recognize(api, obama_again, f"?threshold={threshold}"), 422, "invalid_request")


def test_the_advice_of_a_recognition_is_what_its_client_can_do(
    api: Api, worker: BackgroundWorker, obama: tuple[str, bytes], obama_again: tuple[str, bytes]
) -> None:
    register(api, "Barack", obama)
    told = recognize(api, obama_again, "?threshold=0.45").json
    assert "a larger threshold misses fewer" in told["advice"]
    larger = recognize(api, obama_again, "?threshold=0.6").json
    assert larger["fnmr"] < told["fnmr"]
    assert larger["fmr"] > told["fmr"]
    assert larger["advice"] is None
    assert "a gallery of the engine sface misses fewer" in told["advice"]
    gallery = api.post("/v1/galleries", json={"name": "better", "engine": "sface"}).json["id"]
    fields = {"kind": "identify", "gallery": gallery, "target_fmr": told["fmr"]}
    api.enrol(gallery, "Barack", obama)
    better = api.submit(obama_again, wait=60, **fields).json["job"]["threshold"]
    assert better["fnmr"] < told["fnmr"]


def test_the_default_threshold_is_a_setting(settings: Settings, local: Kit) -> None:
    strict = settings.model_copy(update={"classic_threshold": 0.3})
    api = Api(create_app(strict).test_client())
    assert api.get("/health").json["threshold"] == 0.3
    assert api.get("/stats").json["threshold"] == 0.3


def test_nobody_is_recognized_where_nobody_is_registered(
    api: Api, worker: BackgroundWorker, obama: tuple[str, bytes]
) -> None:
    answer = recognize(api, obama).json
    assert (answer["status"], answer["distance"], answer["confidence"]) == ("no_match", None, None)


def test_names_are_unique(
    api: Api, worker: BackgroundWorker, local: Kit, obama: tuple[str, bytes]
) -> None:
    register(api, "Barack", obama)
    refused(register(api, "Barack", obama), 409, "duplicate_subject")
    assert api.get("/stats").json["total_users"] == 1
    assert count(local, Job) == 0


def test_a_failed_registration_leaves_nothing_and_may_be_tried_again(
    api: Api,
    worker: BackgroundWorker,
    local: Kit,
    obama: tuple[str, bytes],
    sample: Sample,
) -> None:
    refused(register(api, "Barack", ("grey.jpg", image())), 422, "no_face")
    both = photo(sample.photos_dir / "obama_and_biden.jpg")
    refused(register(api, "Barack", both), 422, "several_faces")
    refused(register(api, "Barack", ("a.jpg", b"words")), 422, "not_an_image")
    refused(register(api, "Barack", ("a.jpg", b"")), 422, "empty_file")
    assert [count(local, table) for table in (Photo, Job)] == [0, 0]
    assert count(local, DoomedObject) == 3
    assert register(api, "Barack", obama).status_code == 200


def test_a_recognition_takes_the_largest_face(
    api: Api, worker: BackgroundWorker, obama: tuple[str, bytes], sample: Sample
) -> None:
    for name in ("obama", "biden"):
        register(api, name, photo(sample.people_dir / name / f"{name}.jpg"))
    both = photo(sample.photos_dir / "obama_and_biden.jpg")
    (one,) = api.submit(both, wait=60, kind="detect").json["results"]
    areas = {
        face["box"][0]: (face["box"][2] - face["box"][0]) * (face["box"][3] - face["box"][1])
        for face in one["faces"]
    }
    # Obama is on the left.
    expected = "obama" if areas[min(areas)] > areas[max(areas)] else "biden"
    assert recognize(api, both, "?threshold=0.6").json["matched_user"]["name"] == expected


def test_bad_requests_are_refused_by_name(api: Api, obama: tuple[str, bytes]) -> None:
    refused(api.send("/register", [obama], field="image"), 422, "invalid_request")
    for name in ("", "x" * 10_000, "a\0b"):
        refused(register(api, name, obama), 422, "name_invalid")
    refused(register(api, "a", obama, age="7"), 422, "invalid_request")
    two = [obama, obama]
    refused(api.send("/register", two, field="image", name="a"), 422, "invalid_request")
    refused(api.send("/recognize", two, field="image"), 422, "invalid_request")
    refused(api.send("/recognize", [obama], field="image", x="y"), 422, "invalid_request")
    big = ("a.jpg", image() + bytes(30_000_000))
    refused(register(api, "a", big), 413, "file_too_large")


def test_an_answer_that_takes_too_long_leaves_nothing(
    api: Api, local: Kit, obama: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.looking.MAX_WAIT_S", 0.2)
    answer = register(api, "Barack", obama)
    refused(answer, 503, "still_working")
    assert answer.headers["Retry-After"]
    assert [count(local, table) for table in (Photo, Job)] == [0, 0]


def test_an_answer_that_takes_too_long_did_not_register(
    api: Api,
    worker: BackgroundWorker,
    local: Kit,
    obama: tuple[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # From far too short a wait to one that is long enough, so that some end just in between.
    for n in range(12):
        monkeypatch.setattr("web.looking.MAX_WAIT_S", 0.05 * n)
        name = f"user {n}"
        before = api.get("/stats").json["total_users"]
        with Image.open(BytesIO(obama[1])) as photo:
            out = BytesIO()
            photo.convert("RGB").resize((450 + n, 562)).save(out, "PNG")
        status = register(api, name, ("o.png", out.getvalue())).status_code
        assert api.get("/stats").json["total_users"] - before == (status == 200)
    assert count(local, Job) == 0


def test_one_name_is_registered_once_however_many_try_at_once(
    api: Api, worker: BackgroundWorker, local: Kit, obama: tuple[str, bytes]
) -> None:
    def try_it(_: int) -> int:
        client = Api(api.client.application.test_client())
        return register(client, "Barack", obama).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(try_it, range(8)))
    assert statuses == [200] + [409] * 7
    assert [count(local, table) for table in (Subject, Template, Job)] == [1, 1, 0]
