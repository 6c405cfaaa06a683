"""Bodies that are made to mislead, to fill the memory or to exhaust the stack."""

import re
from io import BytesIO
from typing import Any

import pytest
from api_kit import NOWHERE, Api, accepted, image, made, refused
from bucket_kit import unowned
from ledger_kit import Kit
from sqlalchemy import func, select

from db.models import Item, Job
from db.session import transaction
from db.settings import Settings
from web.incoming import BUFFER_BYTES, READ_BYTES

KIND = b'--x\r\nContent-Disposition: form-data; name="kind"\r\n\r\ndetect\r\n'
END = b"\r\n--x--\r\n"
FORM = {"content_type": "multipart/form-data; boundary=x"}


def part(disposition: str, *more: str, data: bytes = b"words") -> bytes:
    lines = [f"Content-Disposition: {disposition}", *more]
    return b"--x\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def send(api: Api, disposition: str, *more: str) -> Any:
    return api.post("/v1/jobs", data=KIND + part(disposition, *more) + END, **FORM)


def name_of(api: Api, answer: Any) -> str:
    return str(api.get(f"/v1/jobs/{accepted(answer)}/results").json["results"][0]["name"])


def nothing_was_made(kit: Kit, settings: Settings) -> bool:
    with transaction(kit.database) as session:
        counts = [select(func.count()).select_from(one) for one in (Job, Item)]
        made = sum(session.scalars(one).one() for one in counts)
    return made == 0 and unowned(kit.database, settings) == set()


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('form-data; name="photos"; filename="../../etc/passwd"', "../../etc/passwd"),
        ('form-data; name="photos"; filename="C:\\\\x\\\\a.jpg"', "C:\\x\\a.jpg"),
        ("form-data; name=\"photos\"; filename*=UTF-8''..%2f..%2fa.jpg", "../../a.jpg"),
        ("form-data; name=\"photos\"; filename*=UTF-8''%e7%85%a7.jpg", "照.jpg"),
        # What .NET sends for each file.
        ("form-data; name=photos; filename=a.jpg; filename*=utf-8''a.jpg", "a.jpg"),
        ('form-data; name="photos"; filename="a%22b.jpg"', 'a"b.jpg'),
        ('form-data; name="photos"; filename="a%2e%2e%2fb.jpg"', "a%2e%2e%2fb.jpg"),
        ('form-data; name="photos"; filename="a; filename=b.jpg"', "a; filename=b.jpg"),
        ('form-data; name="photos"; filename="=?utf-8?B?YS5qcGc=?="', "=?utf-8?B?YS5qcGc=?="),
    ],
)
def test_a_file_name_is_a_text_and_leads_nowhere(api: Api, disposition: str, name: str) -> None:
    assert name_of(api, send(api, disposition)) == name


@pytest.mark.parametrize(
    "name",
    [
        "a%0D%0AX-Evil:%20yes.jpg",
        "a%0Ab.jpg",
        "a%0Db.jpg",
        "a%00.jpg",
        "a%1b[2J.jpg",
        "a%7f.jpg",
        "a%c2%85b.jpg",
        "a%e2%80%a8b.jpg",
        "a%e2%80%aeb.jpg",
    ],
)
def test_a_file_name_with_controls_in_it_is_refused(
    api: Api, local: Kit, settings: Settings, name: str
) -> None:
    answer = send(api, f"form-data; name=\"photos\"; filename*=UTF-8''{name}")
    refused(answer, 422, "file_name_invalid")
    assert nothing_was_made(local, settings)


@pytest.mark.parametrize(
    "disposition",
    [
        'form-data; name="photos"; filename="a.jpg"; filename="b.jpg"',
        "form-data; name=\"photos\"; filename*=UTF-8''a.jpg; filename*=UTF-8''b.jpg",
        'form-data; name="photos"; name="archive"; filename="a.jpg"',
        'form-data; name="photos"; FileName="a.jpg"; filename="b.jpg"',
        'form-data; name="photos"; filename=a.jpg;filename =b.jpg',
    ],
)
def test_a_part_that_names_itself_twice_is_refused(
    api: Api, local: Kit, settings: Settings, disposition: str
) -> None:
    refused(send(api, disposition), 400, "malformed_multipart")
    assert nothing_was_made(local, settings)


def test_a_part_with_two_dispositions_is_refused(api: Api, local: Kit, settings: Settings) -> None:
    one = 'form-data; name="photos"; filename="a.jpg"'
    answer = send(api, one, 'Content-Disposition: form-data; name="kind"')
    refused(answer, 400, "malformed_multipart")
    assert nothing_was_made(local, settings)


def test_a_file_name_cannot_end_its_header(api: Api) -> None:
    answer = send(api, 'form-data; name="photos"; filename="a.jpg\r\nX-Evil: yes"')
    # Its quotes never close: it is a field's value, and no file's.
    assert answer.status_code in {400, 422}


def test_a_name_with_half_a_character_is_refused_or_mended(api: Api) -> None:
    for name in ("%ed%a0%80", "%ff%fe", "%c3"):
        answer = send(api, f"form-data; name=\"photos\"; filename*=UTF-8''{name}.jpg")
        if answer.status_code == 202:
            assert name_of(api, answer).isprintable()
        else:
            assert answer.status_code in {400, 422}
        key = {"Idempotency-Key": f"half-{name.replace('%', '')}"}
        body = KIND + part(f"form-data; name=\"photos\"; filename*=UTF-8''{name}.jpg") + END
        assert api.post("/v1/jobs", data=body, headers=key, **FORM).status_code < 500


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        # Controls of a form that were left alone, without end.
        (part('form-data; name="photos"; filename=""', data=b"") + b"\r\n", 413,
         "request_too_large"),
        (part('form-data; name="archive"; filename=""', data=b"") + b"\r\n", 413,
         "request_too_large"),
        (part('form-data; name="f"', data=b"1") + b"\r\n", 422, "invalid_request"),
    ],
)  # fmt: skip
def test_parts_without_end_are_not_read_to_theirs(
    api: Api, local: Kit, settings: Settings, body: bytes, status: int, code: str
) -> None:
    stream = BytesIO(body * 200_000)
    answer = api.post("/v1/jobs", input_stream=stream, content_length=len(body) * 200_000, **FORM)
    refused(answer, status, code)
    assert stream.tell() < 1_000_000
    assert nothing_was_made(local, settings)


@pytest.mark.parametrize(
    "header",
    [
        "X-Long: " + "x" * 3_000_000,
        "\r\n".join(["X: y"] * 500_000),
        "\r\n ".join(["X: y"] * 300_000),
    ],
)
def test_the_headers_of_a_part_come_to_an_end(
    api: Api, local: Kit, settings: Settings, header: str
) -> None:
    body = b"--x\r\n" + header.encode() + b"\r\n" + part("form-data; name=kind")[5:] + END
    stream = BytesIO(body)
    answer = api.post("/v1/jobs", input_stream=stream, content_length=len(body), **FORM)
    refused(answer, 400, "malformed_multipart")
    assert stream.tell() <= BUFFER_BYTES + READ_BYTES
    assert nothing_was_made(local, settings)


def test_a_body_within_a_body_is_a_file_like_any(api: Api) -> None:
    inner = b'--y\r\nContent-Disposition: form-data; name="gallery"\r\n\r\nx\r\n--y--\r\n'
    mixed = part(
        'form-data; name="photos"; filename="a.jpg"',
        "Content-Type: multipart/mixed; boundary=y",
        data=inner,
    )
    job = accepted(api.post("/v1/jobs", data=KIND + mixed + END, **FORM))
    assert api.get(f"/v1/jobs/{job}").json["counts"]["total"] == 1


def test_a_boundary_that_only_looks_like_one_is_data(api: Api) -> None:
    data = b"a\r\n--xy\r\n--\r\n--x-\r\n\r\n-x"
    body = KIND + part('form-data; name="photos"; filename="a.jpg"', data=data) + END
    job = accepted(api.post("/v1/jobs", data=body, **FORM))
    assert api.get(f"/v1/jobs/{job}").json["counts"]["total"] == 1


@pytest.mark.parametrize("boundary", ["y" * 201, "y" * 5000])
def test_a_boundary_is_not_as_long_as_its_body(api: Api, boundary: str) -> None:
    body = f'--{boundary}\r\nContent-Disposition: form-data; name="kind"\r\n\r\n1'
    kind = f"multipart/form-data; boundary={boundary}"
    refused(api.post("/v1/jobs", data=body, content_type=kind), 400, "malformed_multipart")


@pytest.mark.parametrize("boundary", [".*", "(x+)+", "[", "a b'()+_,-./:=?"])
def test_a_boundary_is_no_pattern(api: Api, boundary: str) -> None:
    photo = f'--{boundary}\r\nContent-Disposition: form-data; name="photos"; filename="a"\r\n\r\n'
    body = f'--{boundary}\r\nContent-Disposition: form-data; name="kind"\r\n\r\ndetect\r\n{photo}'
    body += f"{'x' * 1000}\r\n--{boundary}--\r\n"
    kind = f'multipart/form-data; boundary="{boundary}"'
    accepted(api.post("/v1/jobs", data=body, content_type=kind))


def test_parts_that_never_end_leave_nothing(api: Api, local: Kit, settings: Settings) -> None:
    whole = KIND + part('form-data; name="photos"; filename="a.jpg"', data=image()) + END
    for length in (1, 10, len(KIND), len(KIND) + 20, len(whole) - 5, len(whole) - 400):
        refused(api.post("/v1/jobs", data=whole[:length], **FORM), 400, "malformed_multipart")
    assert nothing_was_made(local, settings)


JSON_ROUTES = (
    "/v1/galleries",
    "/v1/jobs",
    f"/v1/galleries/{NOWHERE}/subjects",
    f"/v1/jobs/{NOWHERE}/photos",
    f"/v1/jobs/{NOWHERE}/sources",
    f"/v1/jobs/{NOWHERE}/exports",
    f"/v1/jobs/{NOWHERE}/rematch",
    "/v1/uploads",
    "/v1/verifications",
    f"/v1/jobs/{NOWHERE}/search",
    "/v1/keys",
    f"/v1/keys/{NOWHERE}/rotate",
    "/v1/webhooks",
    f"/v1/webhooks/{NOWHERE}/rotate",
    f"/v1/webhooks/{NOWHERE}/replay",
    "/v1/callback-secret",
)


def test_every_route_that_takes_json_is_below(api: Api) -> None:
    spec = api.get("/openapi.json").json["paths"]
    taking = {
        path
        for path, methods in spec.items()
        if "application/json" in methods.get("post", {}).get("requestBody", {}).get("content", {})
    }
    assert {re.sub(r"\{\w+\}", NOWHERE, path) for path in taking} == set(JSON_ROUTES)


@pytest.mark.parametrize("depth", [33, 200, 500, 900, 950, 970, 980, 990, 1000, 10_000, 300_000])
@pytest.mark.parametrize(("opening", "closing"), [('{"name":', "}"), ("[", "]")])
def test_json_of_any_depth_breaks_nothing(api: Api, depth: int, opening: str, closing: str) -> None:
    value = opening * depth + "1" + closing * depth
    body = f'{{"kind": {value}}}'
    for path in JSON_ROUTES:
        answer = api.post(path, data=body, content_type="application/json")
        assert answer.status_code in {400, 413, 422}, (path, answer.text)
        assert answer.json["code"] in {"malformed_json", "invalid_request", "request_too_large"}


def test_json_as_deep_as_ours_is_taken(api: Api) -> None:
    wanted = {"kind": "detect", "sources": [{"kind": "prefix", "prefix": "sources/local/a/"}]}
    accepted(api.post("/v1/jobs", json=wanted))
    made(api.post("/v1/jobs", json={"kind": "detect"}))
