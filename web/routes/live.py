"""The live stream, and the page that shows it."""

from pathlib import Path
from typing import Any

from flask import Flask, Response, request, send_file

from db import galleries
from db.session import transaction
from db.views import GalleryView
from web.callers import admit_again
from web.errors import UpgradeRequiredError
from web.live import page
from web.live.handshake import NO_WEBSOCKET, handshake
from web.live.line import Line
from web.live.lines import admitted, listed
from web.live.talking import talk
from web.openapi import LIVE, blueprint, problems
from web.request_ids import HEADER as REQUEST_ID
from web.request_ids import request_id
from web.schemas.live import LiveQuery
from web.services import services

api = blueprint("live", __name__, LIVE, prefix="")
STREAM = "/v1/live"
FRAME_BYTES = 2_000_000
"""Of one frame, at the most: four times what a camera's full HD picture takes."""
PAGES = Path(page.__file__).parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'"
)
"""Nothing inline and nothing from elsewhere."""


class Upgraded(Response):
    """What Flask logs for a connection whose answer was another protocol."""

    def __call__(self, *_: Any) -> Any:
        """Gunicorn takes this for the end of the connection, and writes nothing more."""
        raise StopIteration


@api.get(
    STREAM,
    description="A WebSocket: send frames of a camera, as JPEG, and get who is in them. Its "
    "messages are in the reference of live streams. Without a WebSocket's headers the answer is "
    "what would refuse one, or 426.",
    responses={101: {"description": "The stream is open."}, **problems(403, 404, 422, 426, 503)},
)
def open_stream(query: LiveQuery) -> Response:
    """Open a live stream."""
    here = services()
    with admitted(here.settings.live_streams, tenant_id=here.tenant_id):
        _gallery(query)
    raise UpgradeRequiredError(NO_WEBSOCKET)


def stream() -> Response:
    """The stream itself, for requests that are a WebSocket's."""
    here = services()
    query = LiveQuery.model_validate(request.args.to_dict())
    frame_bytes = min(FRAME_BYTES, here.settings.max_upload_bytes)
    with admitted(here.settings.live_streams, tenant_id=here.tenant_id):
        gallery = _gallery(query)
        told = {REQUEST_ID: request_id()}
        line = Line(*handshake(request, most_bytes=frame_bytes, headers=told))
        with line, listed(line):
            talk(here, line, gallery, frame_bytes=frame_bytes, ask_again=admit_again)
    return Upgraded(status=101)


def _gallery(query: LiveQuery) -> GalleryView:
    here = services()
    with transaction(here.database) as session:
        return galleries.get_gallery(session, here.tenant_id, query.gallery)


@api.after_request
def _name_protocol(response: Response) -> Response:
    if response.status_code == UpgradeRequiredError.status:
        response.headers["Upgrade"] = "websocket"
        response.headers["Sec-WebSocket-Version"] = "13"
    return response


@api.get("/live", doc_ui=False)
def show() -> Response:
    """A page that shows who is before the camera."""
    response = _file("live.html", "text/html")
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Permissions-Policy"] = "camera=(self)"
    return response


@api.get("/live/live.css", doc_ui=False)
def style() -> Response:
    """The style of that page."""
    return _file("live.css", "text/css")


@api.get("/live/live.js", doc_ui=False)
def script() -> Response:
    """The script of that page."""
    return _file("live.js", "text/javascript")


def _file(name: str, mimetype: str) -> Response:
    """A file of the page's, of which a browser asks each time whether it has changed."""
    return send_file(PAGES / name, mimetype, max_age=0)


def register_stream(app: Flask) -> None:
    """Adds the stream itself, which OpenAPI has no word for."""
    app.add_url_rule(STREAM, "live.stream", stream, websocket=True, methods=["GET"])
