"""What flask-openapi3 cannot tell from signatures: bodies of two kinds, errors, headers."""

from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.schema import Schema
from flask_openapi3.models.tag import Tag
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel

from web.problems import MEDIA_TYPE
from web.schemas.base import ProblemOut
from web.schemas.jobs import JobIn, KnownPhotosIn

GALLERIES = Tag(name="galleries", description="Searchable sets of people.")
SUBJECTS = Tag(name="subjects", description="The people of a gallery.")
JOBS = Tag(name="jobs", description="Submit photos, then poll, or wait with `Prefer: wait=N`.")
CLASSIC = Tag(name="classic", description="For clients of small synchronous face services.")

_REF = "#/components/schemas/"
PHOTO = {"type": "string", "format": "binary"}
WAIT = "With `Prefer: wait=N` the answer is the result itself, where the job ends in time."


def problems(*statuses: int) -> dict[str | int, Any]:
    """The responses that are errors, for a route's `responses`."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}{ProblemOut.__name__}"}}}
    return {status: {"content": content} for status in statuses}


def photos_body(*, field: str = "photos", **fields: dict[str, Any]) -> dict[str, Any]:
    """A multipart body that brings photos (or one) and further form fields."""
    photo = {"type": "array", "items": PHOTO, "minItems": 1} if field == "photos" else PHOTO
    schema = {
        "type": "object",
        "properties": {**fields, field: photo},
        "required": [field, *(name for name in fields if name == "name")],
    }
    return {"content": {"multipart/form-data": {"schema": schema}}, "required": True}


def job_body() -> dict[str, Any]:
    """Photos with what to do in form fields, or JSON for a job that gets its photos later."""
    wanted = JobIn.model_json_schema(ref_template=_REF + "{model}")
    # Written out, because the page to try it shows no fields of a schema that refers to another.
    fields = wanted["properties"]
    # The page would send each default, and most kinds of jobs refuse most fields.
    for field in fields.values():
        field.pop("default", None)
    fields["galleries"] = {"type": "string", "description": fields["galleries"]["description"]}
    body = photos_body(**fields)
    body["content"]["multipart/form-data"]["schema"]["required"] += wanted["required"]
    body["content"]["application/json"] = {"schema": {"$ref": f"{_REF}{JobIn.__name__}"}}
    return body


def added_body() -> dict[str, Any]:
    """Photos, or their hashes."""
    body = photos_body()
    body["content"]["application/json"] = {
        "schema": {"$ref": f"{_REF}{KnownPhotosIn.__name__}"},
    }
    return body


def describe(app: OpenAPI, *blueprints: APIBlueprint) -> None:
    """Registers the routes, and the schemas that no signature mentions."""
    for blueprint in blueprints:
        app.register_api(blueprint)
    for model in (JobIn, KnownPhotosIn, ProblemOut):
        _add_schema(app, model)


def _add_schema(app: OpenAPI, model: type[BaseModel]) -> None:
    schema = model.model_json_schema(ref_template=_REF + "{model}")
    for name, definition in schema.pop("$defs", {}).items():
        app.components_schemas[name] = Schema(**definition)
    app.components_schemas[model.__name__] = Schema(**schema)
