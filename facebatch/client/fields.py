"""What a job can be asked for, as JSON and as the fields of a form."""

from collections.abc import Mapping, Sequence
from typing import Any, Required, TypedDict
from uuid import UUID

from facebatch.client.models.files import SourceKind
from facebatch.client.models.jobs import MultipleFaces, Priority

Id = UUID | str


class ThresholdFields(TypedDict, total=False):
    """How near is near enough: one of these, or none."""

    threshold: float | None
    target_fmr: float | None
    target_fpir: float | None


class JobFields(ThresholdFields, total=False):
    """What a job is to do, beside its kind. None is as good as left out."""

    gallery: Id | None
    galleries: Sequence[Id] | None
    subject: Id | None
    top_k: int | None
    multiple_faces: MultipleFaces | None
    engine: str | None
    min_face_px: int | None
    min_quality: float | None
    priority: Priority | None
    callback_url: str | None


class SourceFields(TypedDict, total=False):
    """Photos that are elsewhere: a `prefix`, an `archive` or `manifest`, or those of a `job`."""

    kind: Required[SourceKind]
    bucket: str | None
    prefix: str | None
    key: str | None
    upload: Id | None
    job: Id | None


def as_json(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given, as JSON takes them."""
    return {name: _plain(value) for name, value in fields.items() if value is not None}


def as_form(fields: Mapping[str, Any]) -> dict[str, str]:
    """The fields that were given, as a form takes them: a list has commas."""
    return {name: _text(value) for name, value in as_json(fields).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return as_json(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(one) for one in value]
    return value


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
