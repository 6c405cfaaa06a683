"""Requests as they come in: strict JSON, and multipart bodies read part by part."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.sansio import multipart

from web.errors import (
    InvalidRequestError,
    MalformedJsonError,
    MalformedMultipartError,
    MediaTypeError,
    RequestTooLargeError,
    TooSlowError,
)
from web.patience import sending

READ_BYTES = 64 * 1024
JSON_BYTES = 1_000_000
"""Longest JSON body: it is held whole, and takes many times its length once it is read."""
MAX_MEMBERS = 100
"""Members of one JSON object; none that we know has a quarter of that."""
FIELD_BYTES = 64 * 1024
"""Longest form field. Photos have no limit here: whoever reads them sets one."""
BUFFER_BYTES = 1024 * 1024
"""Longest header of a part; a body of nothing but header lines must not fill the memory."""
TOO_SLOW = "the body comes too slowly; send it anew"
MULTIPART = "multipart/form-data"


class ApiRequest(Request):
    """A request whose JSON is a JSON object or an error that says what it is instead."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002 - Flask's signature.
        """The body, which can be asked for once; a `RequestError`, even where silence is asked.

        The library that validates bodies asks for silence, and would go on to report fields that
        are missing from a body that nobody could read.
        """
        if not self.is_json:
            raise MediaTypeError("send the body as application/json")
        with sending():
            data = _whole(self)
        return json_object(data, "body")


def json_object(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object, read strictly; raises a `RequestError` that calls it `what`."""
    try:
        found = json.loads(data, object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise MalformedJsonError(f"the {what} is no JSON; check its quotes and commas") from exc
    if not isinstance(found, dict):
        raise InvalidRequestError(f"the {what} must be a JSON object")
    return found


def _whole(request: Request) -> bytes:
    """A body of at most `JSON_BYTES`."""
    body = bytearray()
    try:
        while chunk := request.stream.read(min(READ_BYTES, JSON_BYTES + 1 - len(body))):
            body += chunk
            if len(body) > JSON_BYTES:
                raise RequestTooLargeError(
                    f"a JSON body has at most {JSON_BYTES} bytes; send it in parts"
                )
    except TimeoutError as exc:
        raise TooSlowError(TOO_SLOW) from exc
    except (OSError, BadRequest) as exc:
        raise MalformedJsonError("the body breaks off; send it anew") from exc
    return bytes(body)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of a member that is sent twice nobody knows which one was meant."""
    if len(pairs) > MAX_MEMBERS:
        raise InvalidRequestError(f"an object has at most {MAX_MEMBERS} members")
    made = dict(pairs)
    if len(made) != len(pairs):
        raise InvalidRequestError("a member of an object is sent twice; send it once")
    return made


def _no_constant(name: str) -> NoReturn:
    """Python would read NaN and Infinity, which JSON does not have."""
    raise ValueError(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPart:
    """A form field."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilePart:
    """A file. Its chunks can be read once, before the next part is asked for."""

    name: str
    filename: str
    chunks: Iterator[bytes]


def read_parts(request: Request) -> Iterator[FieldPart | FilePart]:
    """The parts of a multipart body in their order, never held whole.

    Raises `MediaTypeError` and, when it gets there, `MalformedMultipartError`.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if request.mimetype != MULTIPART or not boundary:
        raise MediaTypeError("send the photos as multipart/form-data (curl -F does)")
    events = _events(request, boundary)
    for event in events:
        if isinstance(event, multipart.Field):
            yield FieldPart(name=event.name or "", value=_field(events))
        elif isinstance(event, multipart.File):
            chunks = _chunks(events)
            yield FilePart(name=event.name or "", filename=event.filename, chunks=chunks)
            for _ in chunks:
                pass  # What the reader left.


def _events(request: Request, boundary: str) -> Iterator[multipart.Event]:
    decoder = multipart.MultipartDecoder(boundary.encode(), BUFFER_BYTES)
    try:
        while True:
            event = decoder.next_event()
            if isinstance(event, multipart.NeedData):
                decoder.receive_data(request.stream.read(READ_BYTES) or None)
                continue
            yield event
            if isinstance(event, multipart.Epilogue):
                return
    except TimeoutError as exc:
        raise TooSlowError(TOO_SLOW) from exc
    except (ValueError, AttributeError, OSError, BadRequest) as exc:
        raise MalformedMultipartError("the body breaks off or is malformed; send it anew") from exc
    except RequestEntityTooLarge as exc:
        raise MalformedMultipartError("a part's header is too long") from exc


def _chunks(events: Iterator[multipart.Event]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, multipart.Data):
            if event.data:
                yield event.data
            if not event.more_data:
                return


def _field(events: Iterator[multipart.Event]) -> str:
    value = bytearray()
    for chunk in _chunks(events):
        value += chunk
        if len(value) > FIELD_BYTES:
            raise MalformedMultipartError(f"a form field is longer than {FIELD_BYTES} bytes")
    try:
        return value.decode()
    except UnicodeDecodeError as exc:
        raise MalformedMultipartError("a form field is not in UTF-8") from exc
