"""What the bodies of the API share: names, pages, paths, problems."""

import datetime as dt
import functools
import json
import uuid
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from db.states import QuotaKind
from db.webhooks.targets import MAX_URL_CHARS
from pipeline.names import storable
from web.errors import InvalidNameError

MAX_NAME_CHARS = 255
MAX_PAGE = 1000
MAX_TOP_K = 100
MAX_KNOWN = 1000
MAX_ENGINE_CHARS = 100


def _name(value: str) -> str:
    if not value.strip():
        raise PydanticCustomError(InvalidNameError.code, "a name cannot be empty")
    if len(value) > MAX_NAME_CHARS:
        raise PydanticCustomError(
            InvalidNameError.code,
            f"a name has at most {MAX_NAME_CHARS} characters, this one has {len(value)}",
        )
    if not storable(value):
        raise PydanticCustomError(
            InvalidNameError.code, "a name cannot have control characters in it"
        )
    return value


Name = Annotated[
    str,
    Field(
        description=f"1 to {MAX_NAME_CHARS} characters, no control characters; kept as it is.",
        examples=["Ada Lovelace"],
    ),
    AfterValidator(_name),
]


def _utc(value: dt.datetime) -> dt.datetime:
    try:
        return value.astimezone(dt.UTC)
    except OverflowError:  # Its zone leads it out of the years that there are.
        if value.year == dt.MINYEAR:
            return dt.datetime.min.replace(tzinfo=dt.UTC)
        return dt.datetime.max.replace(tzinfo=dt.UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
"""In UTC, whatever its zone: PostgreSQL knows none that is more than 16 hours away."""


Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_URL_CHARS,
        description="http or https; its host must have public addresses alone.",
        examples=["https://example.com/hooks/facebatch"],
    ),
]


class Asked(BaseModel):
    """Parts of a request."""

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
        """As pydantic makes it; as it is by default, made once.

        flask-openapi3 asks for that at every request, and changes nothing of it.
        """
        if args or options:
            return super().model_json_schema(*args, **options)
        return _schema_of(cls)


@functools.cache
def _schema_of(model: type[Asked]) -> dict[str, Any]:
    return super(Asked, model).model_json_schema()


class Incoming(Asked):
    model_config = ConfigDict(extra="forbid", frozen=True)


Body = TypeVar("Body", bound=BaseModel)


def as_json(model: type[Body], body: dict[str, Any]) -> Body:
    """A JSON body as `model`, without taking true for 1 or a string for a number.

    A form has nothing but strings; there pydantic may read them. Raises `ValidationError`.
    """
    return model.model_validate_json(json.dumps(body), strict=True)


class JsonBody(Incoming):
    """A body that is JSON and nothing else, for the parameter `body` of a route."""

    @classmethod
    def model_validate(cls, obj: Any, **_: Any) -> Self:
        """Strictly. It is what flask-openapi3 calls, which would take true for 1."""
        return as_json(cls, obj)


class Outgoing(BaseModel):
    model_config = ConfigDict(frozen=True)


class Headers(Asked):
    """Headers that a route looks at, among all others."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class PreferHeader(Headers):
    """How patient the client is."""

    prefer: str | None = Field(
        None,
        alias="Prefer",
        description="`wait=N`: answer when the job has ended, after N seconds (60) at the most.",
    )


class IfMatchHeader(Headers):
    """As what the client knows that which it would change."""

    if_match: str | None = Field(
        None,
        alias="If-Match",
        description="Change it only where its `ETag` is one of these; `*`: where it is there.",
    )


class PreferIfMatchHeader(PreferHeader, IfMatchHeader):
    """Both."""


class IfNoneMatchHeader(Headers):
    """What the client has already."""

    if_none_match: str | None = Field(
        None,
        alias="If-None-Match",
        description="`ETag` of an answer that you have: 304 where nothing has changed.",
    )


class PreferIfNoneMatchHeader(PreferHeader, IfNoneMatchHeader):
    """Both."""


class PageQuery(Incoming):
    """Where a list goes on."""

    limit: int = Field(100, ge=1, le=MAX_PAGE, description="Entries in one answer, at the most.")
    cursor: str | None = Field(
        None, description="`next_cursor` of the answer before; leave it out for the first."
    )


class NamedPageQuery(PageQuery):
    """Where a list goes on, or the one entry of a name."""

    name: Name | None = Field(None, description="Only the entry with exactly this name.")


class GalleryPath(Incoming):
    gallery_id: uuid.UUID


class SubjectPath(Incoming):
    gallery_id: uuid.UUID
    subject_id: uuid.UUID


class JobPath(Incoming):
    job_id: uuid.UUID


class FieldErrorOut(Outgoing):
    """A field that was refused."""

    field: str
    message: str


class ProblemOut(Outgoing):
    """An error (RFC 9457)."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str = Field(description="Stable; listed in the reference of errors.")
    detail: str
    request_id: str = Field(description="In the header `X-Request-ID` too, and in the log.")
    errors: list[FieldErrorOut] | None = None
    quota: QuotaKind | None = Field(None, description="Of `quota_exceeded`: which.")
    used: int | None = Field(None, description="How much of it there is.")
    allowed: int | None = Field(None, description="How much of it may be.")
