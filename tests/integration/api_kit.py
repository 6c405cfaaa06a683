"""What tests of the API share: a client, photos, and a worker beside it."""

import threading
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Self

from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from db.api_keys import MadeKey, NewKey, create_key
from db.crops.queue import dispatch_crops
from db.derived_keys import Purpose, derived_key
from db.dispatch import Lane, Room, dispatch
from db.errands import ErrandKind, dispatch_errands
from db.scopes import Scope
from db.session import Role, make_database, transaction
from db.settings import Settings
from db.tenants import ensure_tenant
from web.app import create_app
from workers.context import WorkerContext
from workers.stages.chunk import process_chunk
from workers.stages.cropping import make_crop
from workers.stages.exporting import write_export
from workers.stages.listing import list_source

Photo = tuple[str, bytes]
_DO = {
    ErrandKind.SOURCE: list_source,
    ErrandKind.EXPORT: write_export,
    ErrandKind.CROP: make_crop,
}
ROOM = Room(items=64, chunk_items=16, workers=1)
NOWHERE = "00000000-0000-7000-8000-000000000000"


def image(width: int = 64, height: int = 64, image_format: str = "JPEG") -> bytes:
    """A picture of nobody."""
    out = BytesIO()
    Image.new("RGB", (width, height), "grey").save(out, image_format)
    return out.getvalue()


def photo(path: Path) -> Photo:
    return path.name, path.read_bytes()


def _closing(sent: Callable[..., TestResponse]) -> Callable[..., TestResponse]:
    """`sent`, whose answers are read to their ends and closed, as servers do it.

    With `buffered=False` that is left to whoever asks.
    """

    def send(*arguments: Any, **options: Any) -> TestResponse:
        answer = sent(*arguments, **options)
        if options.get("buffered") is not False:
            answer.get_data()
            answer.close()
        return answer

    return send


class Api:
    """Flask's test client with what tests ask for again and again, and a key where there is one."""

    def __init__(self, client: FlaskClient, key: str | None = None) -> None:
        self.client = client
        client.open = _closing(client.open)  # type: ignore[method-assign]
        if key is not None:
            client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {key}"
        self.get, self.post = client.get, client.post
        self.patch, self.delete = client.patch, client.delete

    def gallery(self, name: str = "people") -> str:
        return made(self.post("/v1/galleries", json={"name": name}))

    def subject(self, gallery: str, name: str) -> str:
        return made(self.post(f"/v1/galleries/{gallery}/subjects", json={"name": name}))

    def submit(self, *photos: Photo, wait: int = 0, **fields: Any) -> TestResponse:
        return self.send("/v1/jobs", photos, wait=wait, **fields)

    def send(
        self,
        path: str,
        photos: Sequence[Photo],
        *,
        field: str = "photos",
        wait: int = 0,
        **fields: Any,
    ) -> TestResponse:
        files = [(BytesIO(data), name) for name, data in photos]
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        return self.post(path, data={**fields, field: files}, headers=headers)

    def enrol(self, gallery: str, name: str, shown: Photo) -> str:
        subject = self.subject(gallery, name)
        path = f"/v1/galleries/{gallery}/subjects/{subject}/photos"
        answer = self.send(path, [shown], wait=60)
        assert answer.json["results"][0]["status"] == "done", answer.json
        return subject

    def counts(self, job: str) -> dict[str, int]:
        return dict(self.get(f"/v1/jobs/{job}").json["counts"])


def key_of(settings: Settings, tenant: str, *scopes: Scope, **more: Any) -> MadeKey:
    """A key of the tenant, which is made if need be; with all scopes where none is named."""
    new = NewKey(name="test", scopes=scopes or tuple(Scope), **more)
    hashing_key = derived_key(settings, Purpose.API_KEYS)
    database = make_database(settings.database or "", role=Role.SYSTEM)
    with transaction(database) as session:
        made_key = create_key(session, ensure_tenant(session, tenant), new, hashing_key)
    database.dispose()
    return made_key


def api_of(settings: Settings, tenant: str, *scopes: Scope) -> Api:
    """The API as the tenant's programs reach it, who have a key."""
    key = key_of(settings, tenant, *scopes)
    return Api(create_app(settings).test_client(), key.text)


def made(answer: TestResponse) -> str:
    assert answer.status_code == 201, answer.text
    return str(answer.json["id"])


def accepted(answer: TestResponse) -> str:
    """The id of the job that was accepted."""
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"].endswith(answer.json["id"])
    return str(answer.json["id"])


def refused(answer: TestResponse, status: int, code: str) -> str:
    """Checks that the answer is this problem; returns what it says."""
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    assert answer.content_type == "application/problem+json"
    assert answer.json["status"] == status
    return str(answer.json["detail"])


class BackgroundWorker:
    """Dispatcher and worker in one thread, without the queue between them."""

    def __init__(self, settings: Settings) -> None:
        self._context = WorkerContext.from_settings(settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._context.close()

    def _work(self) -> None:
        while not self._stop.wait(0.02):
            with transaction(self._context.database) as session:
                errands = dispatch_errands(session, in_flight=4)
                errands += dispatch_crops(session, in_flight=4)
                found = dispatch(session, dict.fromkeys(Lane, ROOM), {})
            for one in errands:
                _DO[one.kind](self._context, one.id)
            for chunk in found.chunks:
                process_chunk(self._context, chunk.item_ids)
