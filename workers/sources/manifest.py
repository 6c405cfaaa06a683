"""The objects that a manifest names: NDJSON, a line each, with the client's own ids."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from db.errors import ManifestLineError
from db.page import ListedEntry, Page
from db.places import PhotoPlace
from db.setting_kinds import BucketName, ObjectKey
from pipeline.names import MAX_FILE_NAME_CHARS, storable
from workers.sources.lines import MAX_LINE_BYTES, Line, lines
from workers.sources.naming import name_flaw
from workers.sources.reading import Reading

PAGE_LINES = 1000

_Name = Annotated[str, Field(min_length=1, max_length=MAX_FILE_NAME_CHARS)]


class ManifestLine(BaseModel):
    """What a line may say."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    key: ObjectKey
    bucket: BucketName | None = None
    id: _Name | None = None
    name: _Name | None = None
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


def pages(reading: Reading) -> Iterator[Page]:
    """Pages of up to 1,000 lines. The cursor is where the next one begins, and its number.

    A line that names no object becomes an item that failed; an empty one is passed over.
    """
    head = reading.head()
    offset, number = map(int, (reading.claim.cursor or "0 0").split())

    def read(offset: int, length: int) -> bytes:
        return reading.get(offset, length, etag=head.etag)

    found = lines(read, head.size_bytes, offset=offset, number=number)
    while some := list(islice(found, PAGE_LINES)):
        yield Page(
            entries=list(_entries(reading, some)),
            cursor=f"{some[-1].next_offset} {some[-1].number}",
            etag=head.etag,
        )


def _entries(reading: Reading, some: Iterable[Line]) -> Iterator[ListedEntry]:
    for line in some:
        if line.data is not None and not line.data.strip():
            continue
        try:
            yield _entry(reading, line)
        except ManifestLineError as exc:
            detail = f"line {line.number} of the manifest {exc}"
            yield ListedEntry(
                name=f"line {line.number}",
                client_id=None,
                error_code=exc.code,
                error_detail=detail,
            )


def _entry(reading: Reading, line: Line) -> ListedEntry:
    told = _told(line)
    bucket = told.bucket or reading.bucket or reading.places.own_bucket
    if not reading.places.hold(bucket, told.key):
        raise ManifestLineError("names an object where none may be")
    for name in (told.id, told.name):
        if name is not None and not storable(name):
            raise ManifestLineError("has a name with control characters in it")
    client_id = told.id or told.key
    entry = ListedEntry(
        name=told.name or client_id,
        client_id=client_id,
        source_key=told.key,
        source_bucket=bucket,
        # Its own answer will tell its version and size: to ask for each would cost as much as to
        # read it.
        photo=PhotoPlace(bucket=bucket, object_key=told.key, etag=None, size_bytes=0, entry=None),
        sha256=bytes.fromhex(told.sha256) if told.sha256 else None,
    )
    if name_flaw(entry.name) is not None or name_flaw(client_id) is not None:
        raise ManifestLineError("names an object by a key that is no name; give it an id")
    return entry


def _told(line: Line) -> ManifestLine:
    """What the line says; raises `ManifestLineError`."""
    if line.data is None:
        raise ManifestLineError(f"has more than {MAX_LINE_BYTES} bytes")
    try:
        body = json.loads(line.data.decode(), object_pairs_hook=_once_each)
        # As JSON, in which a number is no string.
        return ManifestLine.model_validate(body)
    except UnicodeDecodeError as exc:
        raise ManifestLineError("is not in UTF-8") from exc
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))[:100]
        reason = first["msg"].removeprefix("Value error, ")
        raise ManifestLineError(f"is not as it should be: {where} {reason}") from exc
    except (ValueError, RecursionError) as exc:
        raise ManifestLineError("is no JSON object") from exc


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ManifestLineError("has a member twice")
    return dict(pairs)
