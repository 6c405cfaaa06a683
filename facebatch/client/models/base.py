"""What all answers share: frozen, tolerant of a newer server, and silent about what is secret."""

from typing import Any, ClassVar, Generic, TypeVar, cast
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema


class _Open:
    """Takes a word that we know, or one that a newer server has come to use."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.union_schema(
            [handler(source), core_schema.str_schema()], mode="left_to_right"
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Of the words that we know."""
        return handler(cast("core_schema.UnionSchema", schema)["choices"][0])  # type: ignore[arg-type]


OPEN = _Open()
"""Beside a `Literal`: the words that there are today."""


class Answer(BaseModel):
    """What the API tells. Members that a newer server adds are kept as they come."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)

    def as_json(self) -> dict[str, Any]:
        """Its members as JSON has them, as they came; but secrets are stars."""
        return self.model_dump(mode="json")


class Tagged(Answer):
    """What has an entity tag. (Not every answer: a page has thousands, and each would pay.)"""

    _etag: str | None = PrivateAttr(default=None)

    @property
    def etag(self) -> str | None:
        """For `if_match`: as what it is known; None where the API has no tag for it."""
        return self._etag

    def take_tag(self, etag: str | None) -> None:
        """Notes the tag that came with the answer."""
        self._etag = etag


Entry = TypeVar("Entry", bound=Answer)


class Page(Answer, Generic[Entry]):
    """A page of a list."""

    FIELD: ClassVar[str]
    """The member that holds the entries."""

    next_cursor: str | None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is on this page."""
        return cast("tuple[Entry, ...]", getattr(self, self.FIELD))


class Error(Answer):
    """Why something failed."""

    code: str
    detail: str


class Engine(Answer):
    """What made the embeddings; those of two engines or versions are never compared."""

    name: str
    version: str


class Who(Answer):
    """A subject, in short."""

    id: UUID
    name: str
