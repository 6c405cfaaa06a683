"""Garbage over HTTP: each kind has its own error, and nothing is lost."""

from io import BytesIO

import numpy as np
import pytest
from api_kit import Api, BackgroundWorker, accepted, image, made, photo, refused
from ledger_kit import Kit
from PIL import Image
from sqlalchemy import func, select

from cli.sample import Sample
from db.models import Item, Job
from db.session import transaction
from db.settings import Settings, load_settings
from web.app import create_app


def result(api: Api, data: bytes) -> dict:
    (one,) = api.submit(("p", data), wait=60, kind="detect").json["results"]
    return dict(one)


def failure(api: Api, data: bytes) -> str:
    one = result(api, data)
    assert one["status"] == "failed", one
    assert one["error"]["detail"]
    return str(one["error"]["code"])


def saved(picture: Image.Image, image_format: str, **options: object) -> bytes:
    out = BytesIO()
    picture.save(out, image_format, **options)
    return out.getvalue()


def test_no_file(api: Api) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="kind"\r\n\r\ndetect\r\n--x--\r\n'
    answer = api.post("/v1/jobs", data=body, content_type="multipart/form-data; boundary=x")
    assert "'photos'" in refused(answer, 400, "no_photo")


def test_an_empty_form_control_is_no_photo(api: Api) -> None:
    answer = api.post(
        "/v1/jobs",
        data={"kind": "detect", "photos": (BytesIO(b""), "")},
        content_type="multipart/form-data",
    )
    refused(answer, 400, "no_photo")


def test_an_empty_file_fails_by_name_and_its_neighbour_does_not(
    api: Api, worker: BackgroundWorker
) -> None:
    answer = api.submit(("empty.jpg", b""), ("grey.jpg", image()), wait=60, kind="detect")
    first, second = answer.json["results"]
    assert (first["name"], first["error"]["code"]) == ("empty.jpg", "empty_file")
    assert second["status"] == "no_face"
    assert answer.json["job"]["state"] == "partially_failed"


def test_a_file_of_30_mb_fails_by_name_and_its_neighbour_does_not(
    api: Api, worker: BackgroundWorker
) -> None:
    answer = api.submit(
        ("big.jpg", image() + bytes(30_000_000)), ("grey.jpg", image()), wait=60, kind="detect"
    )
    first, second = answer.json["results"]
    assert (first["name"], first["error"]["code"]) == ("big.jpg", "file_too_large")
    assert first["sha256"] is None
    assert second["status"] == "no_face"


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("not_an_image", b"just some words"),
        ("not_an_image", bytes(1000)),
        ("unsupported_format", saved(Image.new("P", (64, 64)), "GIF")),
        ("unsupported_format", b"%PDF-1.7 and so on"),
        ("image_truncated", image(640, 480)[:700]),
        ("image_truncated", saved(Image.effect_noise((300, 300), 50), "PNG")[:5000]),
        ("image_too_large", saved(Image.new("1", (20_000, 10_000)), "PNG")),
    ],
)
def test_what_is_no_photo_fails_by_name(
    api: Api, worker: BackgroundWorker, code: str, data: bytes
) -> None:
    assert failure(api, data) == code


def boxes(one: dict) -> list[list[int]]:
    assert one["status"] == "done", one
    return [face["box"] for face in one["faces"]]


@pytest.fixture(scope="module")
def portrait(sample: Sample) -> Image.Image:
    path = sample.people_dir / "obama" / "obama.jpg"
    return Image.open(path).convert("RGB").resize((450, 562))


@pytest.mark.parametrize("variant", ["animated", "cmyk", "16-bit", "palette", "alpha"])
def test_unusual_pixels_show_the_same_face(
    api: Api, worker: BackgroundWorker, portrait: Image.Image, variant: str
) -> None:
    grey16 = Image.fromarray(np.asarray(portrait.convert("L")).astype(np.uint16) * 257)
    data = {
        "animated": lambda: saved(
            portrait, "WEBP", save_all=True, append_images=[Image.new("RGB", portrait.size)]
        ),
        "cmyk": lambda: saved(portrait.convert("CMYK"), "JPEG", quality=95),
        "16-bit": lambda: saved(grey16, "PNG"),
        "palette": lambda: saved(portrait.quantize(256), "PNG"),
        "alpha": lambda: saved(portrait.convert("RGBA"), "PNG"),
    }[variant]()
    (plain,) = boxes(result(api, saved(portrait, "PNG")))
    (found,) = boxes(result(api, data))
    assert np.abs(np.subtract(found, plain)).max() <= 20


@pytest.mark.parametrize("orientation", range(2, 9))
def test_boxes_refer_to_the_upright_photo(
    api: Api, worker: BackgroundWorker, portrait: Image.Image, orientation: int
) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    turned = result(api, saved(portrait.transpose(undo), "JPEG", exif=exif, quality=95))
    (upright,) = boxes(result(api, saved(portrait, "JPEG", quality=95)))
    assert (turned["width"], turned["height"]) == portrait.size
    assert np.abs(np.subtract(boxes(turned)[0], upright)).max() <= 20


@pytest.mark.parametrize("body", ["{", "", "nul", '{"name": "x"', "[" * 100_000])
def test_malformed_json(api: Api, body: str) -> None:
    answer = api.post("/v1/galleries", data=body, content_type="application/json")
    refused(answer, 400, "malformed_json")


@pytest.mark.parametrize("body", ["null", "[]", '"name"', "1", "true", r'"{\"name\": \"a\"}"'])
def test_json_of_another_kind(api: Api, body: str) -> None:
    answer = api.post("/v1/galleries", data=body, content_type="application/json")
    refused(answer, 422, "invalid_request")


@pytest.mark.parametrize(
    "wanted",
    [
        '"threshold": true',
        '"threshold": "0.5"',
        '"top_k": true',
        '"top_k": "5"',
        '"top_k": 5.0',
        '"top_k": 5, "top_k": 5',
    ],
)
def test_json_is_taken_at_its_word(api: Api, wanted: str) -> None:
    body = f'{{"kind": "identify", "gallery": "{api.gallery()}", {wanted}}}'
    answer = api.post("/v1/jobs", data=body, content_type="application/json")
    refused(answer, 422, "invalid_request")


def test_json_has_no_constants_of_python(api: Api) -> None:
    for constant in ("NaN", "Infinity", "-Infinity"):
        body = f'{{"kind": "identify", "threshold": {constant}}}'
        answer = api.post("/v1/jobs", data=body, content_type="application/json")
        refused(answer, 400, "malformed_json")


def test_a_member_that_comes_twice_is_refused(api: Api) -> None:
    body = '{"name": "anna", "name": "ben"}'
    answer = api.post("/v1/galleries", data=body, content_type="application/json")
    refused(answer, 422, "invalid_request")


@pytest.mark.parametrize("content_type", ["text/plain", "image/jpeg", "", "multipart/form-data"])
def test_wrong_content_type(api: Api, content_type: str) -> None:
    for path in ("/v1/jobs", "/register", "/recognize"):
        answer = api.post(path, data=image(), content_type=content_type)
        refused(answer, 415, "unsupported_media_type")
    if content_type != "multipart/form-data":
        answer = api.post("/v1/galleries", data="{}", content_type=content_type)
        refused(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "name", ["ü/ö.jpg", "../../etc/passwd", "照片.jpg", "x" * 500, "a b;c.jpg"]
)
def test_a_file_name_is_kept_as_it_is(api: Api, name: str) -> None:
    job = accepted(api.submit((name, image()), kind="detect"))
    assert api.get(f"/v1/jobs/{job}/results").json["results"][0]["name"] == name


@pytest.mark.parametrize("name", ["x" * 10_000, "a\tb.jpg", "a\u202egpj.exe"])
def test_a_file_name_that_cannot_be_kept_is_refused(api: Api, name: str) -> None:
    refused(api.submit((name, image()), kind="detect"), 422, "file_name_invalid")
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    refused(api.send(f"/v1/jobs/{job}/photos", [(name, image())]), 422, "file_name_invalid")


def test_a_photo_without_a_file_name_is_none_for_an_open_job(api: Api) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="photos"; filename=""\r\n\r\n%b\r\n'
    kind = {"content_type": "multipart/form-data; boundary=x"}
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    body = part % image(64) + part % image(65) + b"--x--\r\n"
    answer = api.post(f"/v1/jobs/{job}/photos", data=body, **kind)
    assert "client_id" in refused(answer, 422, "file_name_invalid")
    assert api.counts(job)["total"] == 0
    refused(api.post(f"/v1/jobs/{job}/photos", data=part % b"" + b"--x--", **kind), 400, "no_photo")


def test_a_nul_in_a_file_name_is_refused(api: Api) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="kind"\r\n\r\ndetect\r\n'
        b'--x\r\nContent-Disposition: form-data; name="photos"; '
        b"filename*=UTF-8''a%00b.jpg\r\n\r\n"
        b"data\r\n--x--\r\n"
    )
    answer = api.post("/v1/jobs", data=body, content_type="multipart/form-data; boundary=x")
    refused(answer, 422, "file_name_invalid")
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    known = {"photos": [{"client_id": "a\0b", "sha256": "0" * 64}]}
    refused(api.post(f"/v1/jobs/{job}/photos", json=known), 422, "file_name_invalid")


HEAD = b'--x\r\nContent-Disposition: form-data; name="photos"; filename="a.jpg"\r\n\r\n'


@pytest.mark.parametrize(
    "body",
    [
        b"no boundary at all",
        HEAD + b"it breaks off",
        b"--x\r\nContent-Disposition: form-data\xff\r\n\r\nx\r\n--x--\r\n",
        b"--x\r\n\r\nno header\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="kind"\r\n\r\n\xff\xfe\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="kind"\r\n\r\n'
        + b"k" * 100_000
        + b"\r\n--x--",
    ],
)
def test_a_malformed_multipart_body(api: Api, local: Kit, body: bytes) -> None:
    answer = api.post("/v1/jobs", data=body, content_type="multipart/form-data; boundary=x")
    refused(answer, 400, "malformed_multipart")
    with transaction(local.database) as session:
        for table in (Job, Item):
            assert session.scalars(select(func.count()).select_from(table)).one() == 0


def test_a_file_where_a_field_should_be_and_the_other_way_round(api: Api) -> None:
    answer = api.send("/v1/jobs", [("a.jpg", image())], field="picture", kind="detect")
    assert "'picture'" in refused(answer, 422, "invalid_request")
    data = {"kind": "detect", "photos": "a.jpg"}
    answer = api.post("/v1/jobs", data=data, content_type="multipart/form-data")
    assert "must be a file" in refused(answer, 422, "invalid_request")


@pytest.mark.parametrize("length", [{"content_length": 50_000_000}, {}])
def test_json_that_is_too_long_is_not_read_to_its_end(api: Api, length: dict[str, int]) -> None:
    body = BytesIO(b'{"name": "' + b"x" * 50_000_000 + b'"}')
    environ = {"wsgi.input_terminated": True}
    answer = api.post(
        "/v1/galleries",
        input_stream=body,
        content_type="application/json",
        environ_overrides=environ,
        **length,
    )
    refused(answer, 413, "request_too_large")
    assert body.tell() < 1_100_000


def test_the_hashes_of_a_thousand_photos_are_not_too_long(api: Api) -> None:
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    known = [{"client_id": f"{n:0500}", "sha256": "0" * 64} for n in range(1001)]
    answer = api.post(f"/v1/jobs/{job}/photos", json={"photos": known[:1000]})
    assert len(answer.json["missing"]) == 1000
    answer = api.post(f"/v1/jobs/{job}/photos", json={"photos": known})
    refused(answer, 422, "invalid_request")


def form(*names: str) -> bytes:
    part = '--x\r\nContent-Disposition: form-data; name="{}"\r\n\r\n1\r\n'
    return "".join(part.format(name) for name in names).encode() + b"--x--\r\n"


@pytest.mark.parametrize(
    "names", [[f"f{n}" for n in range(30_000)], ["n" * 100_000], ["kind", "n" * 101]]
)
def test_many_fields_or_long_ones_are_refused_in_a_line(api: Api, names: list[str]) -> None:
    answer = api.post("/v1/jobs", data=form(*names), content_type="multipart/form-data; boundary=x")
    refused(answer, 422, "invalid_request")
    assert "errors" not in answer.json
    assert len(answer.text) < 1000


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a", **{f"f{n}": 1 for n in range(1000)}},
        {"name": "a", **{f"f{n}": 1 for n in range(50)}},
        {"name": "a", "x" * 100_000: 1},
        {"name": "a", "engine": "x" * 100_000},
    ],
)
def test_an_error_does_not_repeat_all_it_was_sent(api: Api, body: dict) -> None:
    answer = api.post("/v1/galleries", json=body)
    refused(answer, 422, "invalid_request")
    assert len(answer.text) < 5000


def test_too_many_photos_in_one_request(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.accepting.MAX_PHOTOS", 2)
    answer = api.submit(*[(str(n), image(64 + n)) for n in range(3)], kind="detect")
    refused(answer, 413, "too_many_photos")


def test_a_client_id_that_is_no_id(api: Api) -> None:
    job = made(api.post("/v1/jobs", json={"kind": "detect"}))
    for known in ({"client_id": "", "sha256": "0" * 64}, {"client_id": "a", "sha256": "ABC"}):
        answer = api.post(f"/v1/jobs/{job}/photos", json={"photos": [known]})
        refused(answer, 422, "invalid_request")
    refused(api.post(f"/v1/jobs/{job}/photos", json={"photos": []}), 422, "invalid_request")


def test_an_unknown_route_and_a_wrong_method(api: Api) -> None:
    refused(api.get("/v2"), 404, "route_not_found")
    answer = api.delete("/v1/galleries")
    refused(answer, 405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(", ")) >= {"GET", "POST"}


@pytest.mark.parametrize(
    ("away", "code"),
    [
        ({"DATABASE_URL": "postgresql://x@127.0.0.1:9/x"}, "database_unavailable"),
        ({"S3_ENDPOINT_URL": "http://127.0.0.1:9"}, "storage_unavailable"),
    ],
)
def test_a_store_that_is_away_is_said_so(
    settings: Settings, local: Kit, away: dict[str, str], code: str
) -> None:
    broken = load_settings({**away}, None)
    fields = broken.model_fields_set
    lost = settings.model_copy(update={name: getattr(broken, name) for name in fields})
    api = Api(create_app(lost).test_client())
    answer = api.submit(("a.jpg", image()), kind="detect")
    refused(answer, 503, code)
    assert answer.headers["Retry-After"]
    with transaction(local.database) as session:
        assert session.scalars(select(func.count()).select_from(Item)).one() == 0


def test_a_crash_says_nothing_of_its_cause(
    api: Api, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError("the name was anna")

    monkeypatch.setattr("db.galleries.create_gallery", crash)
    answer = api.post("/v1/galleries", json={"name": "anna"})
    refused(answer, 500, "internal_error")
    assert "anna" not in answer.text


def test_a_photo_that_was_fetched_is_the_one_that_was_sent(
    api: Api, worker: BackgroundWorker, sample: Sample
) -> None:
    shown = photo(sample.photos_dir / "obama2.jpg")
    one = api.submit(shown, wait=60, kind="detect").json["results"][0]
    assert one["name"] == "obama2.jpg"
    with Image.open(BytesIO(shown[1])) as upright:
        assert (one["width"], one["height"]) == upright.size
