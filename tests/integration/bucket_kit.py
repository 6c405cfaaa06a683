"""What tests of objects share that are not given: a server before the bucket that refuses some."""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr
from sqlalchemy import select

from db.erase import unused_keys
from db.models import DoomedObject, Photo, Upload
from db.session import Database, transaction
from db.settings import Settings
from db.storage import ObjectStore

EVERYTHING = ""


def unowned(database: Database, settings: Settings) -> set[str]:
    """Objects of which nothing was made and which nobody will delete.

    They are looked for beside all that this database knows of: the bucket has other tests' too.
    """
    store = ObjectStore.from_settings(settings)
    with transaction(database) as session:
        doomed = set(session.scalars(select(DoomedObject.object_key)))
        known = doomed | {key for key in session.scalars(select(Photo.object_key)) if key}
        folders = {str(one) for one in session.scalars(select(Upload.id))}
        folders |= {key.partition("/")[0] for key in known}
        keys = [key for folder in folders for key in store.keys(f"{folder}/")]
        return set(unused_keys(session, keys)) - doomed


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What is answered in place of an object."""

    status: int
    code: str
    method: str | None = None
    """None: to each request."""

    def answer(self, method: str) -> bytes:
        """The body; none has the answer to HEAD."""
        told = f"<?xml version='1.0'?><Error><Code>{self.code}</Code><Message>No</Message></Error>"
        return b"" if method == "HEAD" or not self.code else told.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The server: what it hands on to the bucket, and what it refuses."""

    settings: Settings
    """They lead to the bucket by way of it."""
    refused: dict[str, Refused] = field(default_factory=dict)
    """By the ends of keys."""
    spans: dict[str, list[str | None]] = field(default_factory=dict)
    """What was asked for by GET, by the key: the `Range` of each request."""

    def refusal(self, method: str, key: str) -> Refused | None:
        for end, one in self.refused.items():
            if key.endswith(end) and one.method in {None, method}:
                return one
        return None


class _Server(ThreadingHTTPServer):
    """Knows its front and the bucket's address."""

    front: Front
    bucket: str


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def serve(self) -> None:
        front = self.server.front
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key = unquote(urlsplit(self.path).path).partition("/")[2].partition("/")[2]
        if self.command == "GET":
            front.spans.setdefault(key, []).append(self.headers.get("Range"))
        if refusal := front.refusal(self.command, key):
            self.answer(refusal.status, {}, refusal.answer(self.command))
            return
        bucket = http.client.HTTPConnection(self.server.bucket)
        # As it came, or its signature would not hold.
        bucket.request(self.command, self.path, body, dict(self.headers))
        found = bucket.getresponse()
        self.answer(found.status, dict(found.headers), found.read())
        bucket.close()

    # What the server's library looks for.
    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve  # noqa: N815

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def in_front_of(settings: Settings) -> Iterator[Front]:
    """Serves for as long as the context lasts."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.bucket = urlsplit(settings.s3_endpoint_url.get_secret_value()).netloc
    url = f"http://127.0.0.1:{server.server_address[1]}"
    server.front = Front(settings=settings.model_copy(update={"s3_endpoint_url": SecretStr(url)}))
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield server.front
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
