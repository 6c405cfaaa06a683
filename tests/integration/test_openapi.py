"""The API describes itself, and its pages and logs say what they should and no more."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from api_kit import Api, BackgroundWorker, image, photo
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import validate

from cli.sample import Sample
from db.logs import configure_logs

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture
def spec(api: Api) -> dict:
    return dict(api.get("/openapi.json").json)


def operations(spec: dict) -> dict[str, dict]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
    }


def test_the_description_is_valid_openapi_3_1(spec: dict) -> None:
    assert spec["openapi"].startswith("3.1")
    validate(spec)


def test_every_route_is_described(api: Api, spec: dict) -> None:
    routes = {
        method + " " + re.sub(r"<(?:\w+:)?(.*?)>", r"{\1}", rule.rule)
        for rule in api.client.application.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if not rule.rule.startswith(("/docs", "/openapi.json", "/live"))
    }
    assert routes == set(operations(spec))
    for operation in operations(spec).values():
        assert operation["summary"]


def test_every_operation_on_something_is_linked_to_from_where_its_ids_come_from(spec: dict) -> None:
    linked = {
        link["operationId"]: link["parameters"].keys()
        for operation in operations(spec).values()
        for response in operation["responses"].values()
        for link in response.get("links", {}).values()
    }
    of_paths = {
        operation["operationId"]: set(re.findall(r"{(\w+)}", name))
        for name, operation in operations(spec).items()
    }
    assert linked == {one: parameters for one, parameters in of_paths.items() if parameters}
    assert len(of_paths) == len(operations(spec))


def test_the_id_of_an_answer_is_where_its_links_say(api: Api, spec: dict) -> None:
    made = api.post("/v1/galleries", json={"name": "staff"})
    link = operations(spec)["POST /v1/galleries"]["responses"]["201"]["links"]["read_gallery"]
    assert link["parameters"] == {"gallery_id": "$response.body#/id"}
    listed = operations(spec)["GET /v1/galleries"]["responses"]["200"]["links"]["read_gallery"]
    assert listed["parameters"] == {"gallery_id": "$response.body#/galleries/0/id"}
    gallery_id = api.get("/v1/galleries").json["galleries"][0]["id"]
    assert gallery_id == made.json["id"]
    assert api.get(f"/v1/galleries/{gallery_id}").json["name"] == "staff"


def test_every_route_is_in_the_reference(spec: dict) -> None:
    text = (REFERENCE / "api.md").read_text(encoding="utf-8")
    missing = [name for name in operations(spec) if f"`{name}`" not in text]
    assert missing == []
    named = set(re.findall(r"`((?:GET|POST|PATCH|DELETE|PUT) /[^`\s]*)`", text))
    assert named - set(operations(spec)) <= {
        *("GET /docs", "GET /openapi.json"),
        *("GET /live", "GET /live/live.css", "GET /live/live.js"),
    }


def test_every_member_of_a_body_is_in_the_reference(spec: dict) -> None:
    text = "".join((REFERENCE / page).read_text("utf-8") for page in ("api.md", "errors.md"))
    schemas = spec["components"]["schemas"]
    members = {member for schema in schemas.values() for member in schema.get("properties", {})}
    assert sorted(member for member in members if f"`{member}`" not in text) == []


def test_a_body_of_two_kinds_says_so(spec: dict) -> None:
    for path in ("/v1/jobs", "/v1/jobs/{job_id}/photos"):
        content = spec["paths"][path]["post"]["requestBody"]["content"]
        assert set(content) == {"multipart/form-data", "application/json"}


def test_the_page_to_try_it_sends_no_field_that_was_left_alone(spec: dict) -> None:
    content = spec["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    fields = content["multipart/form-data"]["schema"]["properties"]
    assert {"kind", "top_k", "multiple_faces"} <= fields.keys()
    assert [name for name, field in fields.items() if "default" in field] == []


def test_who_can_wait_says_so(spec: dict) -> None:
    waiting = {
        name
        for name, operation in operations(spec).items()
        if any(one.get("name") == "Prefer" for one in operation.get("parameters", []))
    }
    assert waiting == {
        "POST /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "POST /v1/jobs/{job_id}/rematch",
        "POST /v1/jobs/{job_id}/seal",
        "POST /v1/jobs/{job_id}/retry",
        "POST /v1/galleries/{gallery_id}/subjects/{subject_id}/photos",
    }


def resolved(spec: dict, one: dict) -> dict:
    """What a reference stands for."""
    while "$ref" in one:
        found = spec
        for step in one["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        one = found
    return one


def test_errors_are_problems_in_the_description(spec: dict) -> None:
    for name, operation in operations(spec).items():
        for status, answer in operation["responses"].items():
            if status >= "400" and not (name.endswith("/health") and status == "503"):
                content = resolved(spec, answer)["content"]
                assert list(content) == ["application/problem+json"], (name, status)


def test_every_route_tells_of_every_error_that_may_come(spec: dict) -> None:
    for name, operation in operations(spec).items():
        told = {int(status) for status in operation["responses"]}
        parameters = [resolved(spec, one) for one in operation.get("parameters", [])]
        named = {one["name"] for one in parameters if one["in"] == "header"}
        may_come = {400, 401, 403, 404, 405, 414, 421, 422, 429, 431, 500, 503}
        if "requestBody" in operation:
            may_come |= {408, 413, 415}
        if name.startswith("POST"):
            may_come |= {409}
            assert "Idempotency-Key" in named, name
        if "If-Match" in named:
            may_come |= {412}
        if "If-None-Match" in named:
            may_come |= {304}
        assert may_come <= told, name


def test_an_example_of_an_error_is_one_of_the_reference(spec: dict) -> None:
    text = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    for answer in spec["components"]["responses"].values():
        example = answer["content"]["application/problem+json"]["example"]
        # Who may ask is for those who admit requests.
        if example["status"] != 401:
            assert f"| `{example['code']}` | {example['status']} |" in text


def contents(spec: dict) -> Iterator[tuple[str, str, dict]]:
    """Of each route's bodies, in and out, but for errors: whose, its media type, its content."""
    for name, operation in operations(spec).items():
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} takes", kind, content
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                yield f"{name} {status}", kind, content


def test_every_body_has_an_example_that_is_one(spec: dict) -> None:
    checked = 0
    for whose, kind, content in contents(spec):
        examples = [one["value"] for one in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        assert examples, (whose, kind)
        schema = {**content["schema"], "components": spec["components"]}
        for example in examples:
            if kind == "application/json":
                OAS31Validator(schema, format_checker=oas31_format_checker).validate(example)
            elif kind == "multipart/form-data":
                assert example.keys() <= content["schema"]["properties"].keys()
                assert {*content["schema"]["required"]} <= example.keys()
            checked += 1
    assert checked > 40


def test_a_body_of_several_kinds_has_an_example_of_each(spec: dict) -> None:
    content = spec["paths"]["/v1/jobs/{job_id}/photos"]["post"]["requestBody"]["content"]
    assert set(content["application/json"]["examples"]) == {"KnownPhotosIn", "UploadedPhotosIn"}


def test_every_schema_of_what_comes_in_refuses_what_it_does_not_know(spec: dict) -> None:
    for name, schema in spec["components"]["schemas"].items():
        if name.endswith("In") and schema.get("type") == "object":
            assert schema["additionalProperties"] is False, name


def test_the_page_to_try_it_needs_no_other_host(api: Api) -> None:
    answer = api.get("/docs", follow_redirects=True)
    assert answer.status_code == 200
    links = re.findall(r"""(?:src|href)=["']([^"']+)["']""", answer.text)
    assert links
    for link in links:
        assert not link.startswith(("http:", "https:", "//"))
        found = api.get(f"/docs/{link.removeprefix('./')}" if link[0] != "/" else link)
        assert found.status_code == 200, link


@pytest.fixture
def log_defaults() -> Iterator[None]:
    """Undoes what a test has configured, so that no other logs into its closed stream."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("log_defaults")
def test_logs_tell_ids_and_never_names_or_secrets(
    api: Api,
    worker: BackgroundWorker,
    sample: Sample,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    configure_logs("debug")
    gallery = api.gallery("gallery of Jane Doe")
    api.enrol(gallery, "Jane Doe", photo(sample.people_dir / "obama" / "obama.jpg"))
    api.get("/v1/galleries", query_string={"name": "Jane Doe"})
    answer = api.submit(("Jane Doe.jpg", image()), wait=60, kind="identify", gallery=gallery)
    said = capsys.readouterr().out
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {"request", "chunk_recorded"} <= {one["event"] for one in events}
    assert answer.json["job"]["id"] in said
    assert "Jane" not in said
    assert "facebatch:" not in said  # The database's user and password.
