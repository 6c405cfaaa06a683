"""Requests as they come in: strict JSON, and multipart bodies read part by part."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from flask import Request
from flask import request as current
from gunicorn.http.errors import ParseException
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
from web.fingerprint import Fingerprint
from web.patience import sending

READ_BYTES = 256 * 1024
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
MAX_PARTS = 1100
"""More than the photos, zips and fields that a request may bring: controls of a form that were left
alone count too."""
MAX_BOUNDARY_CHARS = 200
"""RFC 2046 has 70, which some clients exceed now and then."""
MAX_DEPTH = 32
"""Of JSON; no body that we know has a quarter of it."""
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_PARAMETER = re.compile(r";[ \t]*([^\s=;\"]+)[ \t]*=")


class ApiRequest(Request):
    """A request whose JSON is a JSON object or an error that says what it is instead."""

    fingerprint: Fingerprint | None = None
    """Takes in the body as it is read, where the request came with a key."""

    def get_json(self, force: bool = False, silent: bool = False, cache: bool = True) -> Any:  # noqa: ARG002, FBT001, FBT002 - Flask's signature.
        """The body, which can be asked for once; a `RequestError`, even where silence is asked.

        The library that validates bodies asks for silence, and would go on to report fields that
        are missing from a body that nobody could read.
        """
        if not self.is_json:
            raise MediaTypeError("send the body as application/json")
        with sending():
            data = self.whole()
        return json_object(data, "body")

    def whole(self) -> bytes:
        """A body of at most `JSON_BYTES`."""
        body = bytearray()
        try:
            while chunk := self.stream.read(min(READ_BYTES, JSON_BYTES + 1 - len(body))):
                body += chunk
                if len(body) > JSON_BYTES:
                    raise RequestTooLargeError(
                        f"a JSON body has at most {JSON_BYTES} bytes; send it in parts"
                    )
        except TimeoutError as exc:
            raise TooSlowError(TOO_SLOW) from exc
        except (OSError, BadRequest, ParseException) as exc:
            raise MalformedJsonError("the body breaks off; send it anew") from exc
        if self.fingerprint is not None:
            self.fingerprint.json(bytes(body))
        return bytes(body)


def json_object(data: bytes, what: str) -> dict[str, Any]:
    """A JSON object, read strictly; raises a `RequestError` that calls it `what`."""
    try:
        found = json.loads(data, object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise MalformedJsonError(f"the {what} is no JSON; check its quotes and commas") from exc
    if not isinstance(found, dict):
        raise InvalidRequestError(f"the {what} must be a JSON object")
    if _depth(found) > MAX_DEPTH:
        raise InvalidRequestError(f"the {what} is nested more than {MAX_DEPTH} levels deep")
    return found


def read_through(request: ApiRequest) -> None:
    """Reads a body for its fingerprint alone; of a kind that no route takes, nothing."""
    with sending():
        if request.mimetype == MULTIPART:
            for _ in read_parts(request):
                pass
        elif request.is_json:
            request.whole()


def incoming() -> ApiRequest:
    """The request that is being answered."""
    return cast("ApiRequest", current)


def _depth(body: object) -> int:
    """How deep a body is nested, counted level by level."""
    level: list[Any] = [body]
    depth = 0
    while level:
        depth += 1
        inner = [one.values() if isinstance(one, dict) else one for one in level]
        level = [one for some in inner for one in some if isinstance(one, dict | list)]
    return depth


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
    if len(boundary) > MAX_BOUNDARY_CHARS:
        raise MalformedMultipartError(f"a boundary has at most {MAX_BOUNDARY_CHARS} characters")
    events = _events(request, boundary)
    # Flask's name for the request that is being answered has no type of ours.
    fingerprint: Fingerprint | None = getattr(request, "fingerprint", None)
    for event in events:
        if isinstance(event, multipart.Field):
            field = FieldPart(name=event.name or "", value=_field(events))
            if fingerprint is not None:
                fingerprint.field(field.name, field.value)
            yield field
        elif isinstance(event, multipart.File):
            name, chunks = event.name or "", _chunks(events)
            if fingerprint is not None:
                chunks = fingerprint.file(name, event.filename, chunks)
            yield FilePart(name=name, filename=event.filename, chunks=chunks)
            for _ in chunks:
                pass  # What the reader left.


def _events(request: Request, boundary: str) -> Iterator[multipart.Event]:
    decoder = multipart.MultipartDecoder(boundary.encode(), BUFFER_BYTES)
    parts = 0
    try:
        while True:
            event = decoder.next_event()
            if isinstance(event, multipart.NeedData):
                decoder.receive_data(request.stream.read(READ_BYTES) or None)
                continue
            if isinstance(event, multipart.Field | multipart.File):
                _check_named_once(event)
                parts += 1
            if parts > MAX_PARTS:
                raise RequestTooLargeError(f"a request has at most {MAX_PARTS} parts; send several")
            yield event
            if isinstance(event, multipart.Epilogue):
                return
    except TimeoutError as exc:
        raise TooSlowError(TOO_SLOW) from exc
    except (ValueError, AttributeError, OSError, BadRequest, ParseException) as exc:
        raise MalformedMultipartError("the body breaks off or is malformed; send it anew") from exc
    except RequestEntityTooLarge as exc:
        raise MalformedMultipartError("a part's header is too long") from exc


def _check_named_once(part: multipart.Field | multipart.File) -> None:
    """Of two names that a part gives itself, others would take the one that we do not."""
    dispositions = part.headers.getlist("Content-Disposition")
    names = _PARAMETER.findall(_QUOTED.sub('""', dispositions[0]).lower())
    if len(dispositions) > 1 or len(set(names)) < len(names):
        raise MalformedMultipartError("a part names itself twice; give it one name")


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
