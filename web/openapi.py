"""What flask-openapi3 cannot tell from signatures: bodies of two kinds, errors, headers."""

import functools
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.schema import Schema
from flask_openapi3.models.security_scheme import SecurityScheme
from flask_openapi3.models.tag import Tag
from flask_openapi3.openapi import OpenAPI
from pydantic import BaseModel

from db.scopes import Scope
from web.accepting import MAX_ARCHIVES, MAX_PHOTOS
from web.problems import MEDIA_TYPE
from web.schemas.base import ProblemOut
from web.schemas.jobs import JobIn, KnownPhotosIn
from web.schemas.searches import PhotoSearchIn, SearchIn
from web.schemas.sources import SourcedJobIn, SourceIn
from web.schemas.uploads import UploadedPhotosIn
from web.schemas.verifications import PhotoVerificationIn, VerificationIn

GALLERIES = Tag(name="galleries", description="Searchable sets of people.")
SUBJECTS = Tag(name="subjects", description="The people of a gallery.")
JOBS = Tag(name="jobs", description="Submit photos, then poll, or wait with `Prefer: wait=N`.")
SOURCES = Tag(name="sources", description="Many photos at once: where they are, for a job.")
LIVE = Tag(name="live", description="Who is before a camera: a WebSocket. `/live` is its page.")
EXPORTS = Tag(name="exports", description="All results of a job as one file, and in short.")
WEBHOOKS = Tag(name="webhooks", description="Be told of events, signed, until it has arrived.")
KEYS = Tag(name="keys", description="Who may call: keys for programs.")
VERIFICATIONS = Tag(name="verifications", description="Whether two faces are of one person.")
USAGE = Tag(name="usage", description="How much there is, and how much may be.")
CLASSIC = Tag(name="classic", description="For clients of small synchronous face services.")

_REF = "#/components/schemas/"
_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
PHOTO = {"type": "string", "format": "binary"}
WAIT = "With `Prefer: wait=N` the answer is the result itself, where the job ends in time."


def blueprint(name: str, module: str, tag: Tag, *, prefix: str = "/v1") -> APIBlueprint:
    """Routes below `prefix`. Each is called by its function, for those who make clients of it."""
    return APIBlueprint(
        name,
        module,
        url_prefix=prefix or None,
        abp_tags=[tag],
        operation_id_callback=lambda *, name, path, method: name,  # noqa: ARG005 - the library's.
    )


def problems(*statuses: int) -> dict[str | int, Any]:
    """The responses that are errors, for a route's `responses`."""
    content = {MEDIA_TYPE: {"schema": {"$ref": f"{_REF}{ProblemOut.__name__}"}}}
    return {status: {"content": content} for status in statuses}


def photos_body(
    *, field: str = "photos", archives: bool = False, **fields: dict[str, Any]
) -> dict[str, Any]:
    """A multipart body that brings photos (or one) and further form fields.

    With `archives`, zips may come beside the photos or in place of them.
    """
    photos = {"type": "array", "items": PHOTO, "minItems": 1, "maxItems": MAX_PHOTOS}
    files = {field: photos if field == "photos" else PHOTO}
    if archives:
        files["archive"] = {
            **photos,
            "items": {**PHOTO, "minLength": 1},
            "maxItems": MAX_ARCHIVES,
        }
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {**fields, **files},
        "required": [
            *([] if archives else [field]),
            *(name for name in fields if name == "name"),
        ],
        "additionalProperties": False,
    }
    if archives:
        schema["anyOf"] = [{"required": [one]} for one in files]
    return {"content": {"multipart/form-data": {"schema": schema}}, "required": True}


def job_body() -> dict[str, Any]:
    """Photos with what to do in form fields, or JSON for a job whose photos are elsewhere."""
    wanted = JobIn.model_json_schema(ref_template=_REF + "{model}")
    # Written out, because the page to try it shows no fields of a schema that refers to another.
    fields = _form_fields(wanted)
    fields["galleries"] = {
        "type": "string",
        "pattern": f"^{_UUID}(,{_UUID})*$",
        "description": fields["galleries"]["description"],
    }
    body = photos_body(archives=True, **fields)
    body["content"]["multipart/form-data"]["schema"]["required"] += wanted["required"]
    body["content"]["application/json"] = {"schema": {"$ref": f"{_REF}{SourcedJobIn.__name__}"}}
    return body


def verification_body() -> dict[str, Any]:
    """Two photos, or one and a subject; or JSON that names faces of jobs."""
    return _body_of_either(PhotoVerificationIn, VerificationIn, reference=PHOTO)


def _body_of_either(
    form: type[BaseModel], body: type[BaseModel], **files: dict[str, Any]
) -> dict[str, Any]:
    """A photo with form fields and further files, or JSON."""
    fields = _form_fields(form.model_json_schema(ref_template=_REF + "{model}")) | files
    made = photos_body(field="photo", **fields)
    made["content"]["application/json"] = {"schema": {"$ref": f"{_REF}{body.__name__}"}}
    return made


def _form_fields(schema: dict[str, Any]) -> dict[str, Any]:
    """The properties as a form sends them, which leaves out what is null.

    Without defaults: the page to try it would send each, and most kinds of jobs refuse most fields.
    """
    fields: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        kept = {key: value for key, value in field.items() if key != "default"}
        kinds = [one for one in kept.get("anyOf", []) if one != {"type": "null"}]
        if len(kinds) == 1:
            kept = {**kinds[0], **{key: value for key, value in kept.items() if key != "anyOf"}}
        fields[name] = kept
    return fields


def search_body() -> dict[str, Any]:
    """A photo of whom to search for, or JSON that names a face or a subject."""
    return _body_of_either(PhotoSearchIn, SearchIn)


def source_body() -> dict[str, Any]:
    """A source, of whichever kind."""
    schema = {"$ref": f"{_REF}{SourceIn.__name__}"}
    return {"content": {"application/json": {"schema": schema}}, "required": True}


def added_body() -> dict[str, Any]:
    """Photos and zips of them, or photos' hashes, or what was uploaded of them."""
    body = photos_body(archives=True)
    kinds = [{"$ref": f"{_REF}{one.__name__}"} for one in (KnownPhotosIn, UploadedPhotosIn)]
    body["content"]["application/json"] = {"schema": {"oneOf": kinds}}
    return body


BEARER = "bearer"
SECURITY: dict[str, SecurityScheme | dict[str, Any]] = {
    BEARER: {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, `fb_live_...`, or a token of the operator's issuer. A route's "
        "scope stands in its `security`.",
    }
}


def secured(spec: dict[str, Any], needed: Mapping[tuple[str, str], Scope]) -> None:
    """Says of each operation, by path and method, which scope it needs, and how it is refused."""
    refused = problems(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            scope = needed.get((path, method))
            operation["security"] = [] if scope is None else [{BEARER: [scope.value]}]
            if scope is not None:
                answers = {str(int(status)): one for status, one in refused.items()}
                for status, one in answers.items():
                    operation["responses"].setdefault(
                        status, {"description": HTTPStatus(int(status)).phrase, **one}
                    )


def describe(app: OpenAPI, *blueprints: APIBlueprint) -> None:
    """Registers the routes, and the schemas that no signature mentions."""
    for blueprint in blueprints:
        app.register_api(blueprint)
    for model in (
        *(JobIn, SourcedJobIn, SourceIn, KnownPhotosIn, UploadedPhotosIn, ProblemOut),
        *(VerificationIn, SearchIn),
    ):
        _add_schema(app, model)


def _add_schema(app: OpenAPI, model: type[BaseModel]) -> None:
    app.components_schemas.update(_schemas_of(model))


@functools.cache
def _schemas_of(model: type[BaseModel]) -> dict[str, Schema]:
    """By name, with those that it refers to; made once, as no app changes any."""
    schema = model.model_json_schema(ref_template=_REF + "{model}")
    definitions = schema.pop("$defs", {}) | {model.__name__: schema}
    return {name: Schema(**definition) for name, definition in definitions.items()}
