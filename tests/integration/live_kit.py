"""What tests of live streams share: clients, frames, and a gallery that knows somebody."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from ledger_kit import Kit
from PIL import Image
from server_kit import Server
from sqlalchemy import func, select
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from cli.sample import Sample
from db.session import transaction

PATIENCE_S = 120.0


def gallery_of_obama(web: Server, sample: Sample) -> str:
    """A gallery that knows Obama."""
    with web.client() as client:
        made = str(client.post("/v1/galleries", json={"name": "people"}).json()["id"])
        path = f"/v1/galleries/{made}/subjects"
        subject = client.post(path, json={"name": "Barack Obama"}).json()["id"]
        shown = (sample.people_dir / "obama" / "obama.jpg").read_bytes()
        done = client.post(
            f"{path}/{subject}/photos",
            files={"photos": ("o.jpg", shown)},
            headers={"Prefer": "wait=60"},
        )
        assert done.json()["results"][0]["status"] == "done"
    return made


@contextlib.contextmanager
def opened(web: Server, gallery: object, **more: Any) -> Iterator[ClientConnection]:
    """A stream whose first message has been read."""
    url = f"ws://127.0.0.1:{web.port}/v1/live?gallery={gallery}"
    with connect(url, proxy=None, open_timeout=PATIENCE_S, **more) as connection:
        assert told(connection)["type"] == "ready"
        yield connection


def refusal(web: Server, gallery: object, **more: Any) -> tuple[int, str]:
    """Status and code with which a stream is not opened."""
    with pytest.raises(InvalidStatus) as answer, opened(web, gallery, **more):
        pass
    response = answer.value.response
    return response.status_code, str(json.loads(response.body)["code"])


def told(connection: ClientConnection) -> dict:
    return dict(json.loads(connection.recv(timeout=PATIENCE_S)))


def closed(connection: ClientConnection) -> tuple[int, str, list[dict]]:
    """Code and reason of the end, and what was told before."""
    messages = []
    with pytest.raises(ConnectionClosed) as end:  # noqa: PT012 - until there are no more.
        while True:
            messages.append(told(connection))
    assert end.value.rcvd
    return end.value.rcvd.code, end.value.rcvd.reason, messages


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def frames(sample: Sample, count: int) -> list[bytes]:
    """Pictures of Obama, of which no two are the same."""
    made = []
    with Image.open(sample.photos_dir / "obama3.jpg") as photo:
        small = photo.convert("RGB")
    small.thumbnail((320, 320))
    for n in range(count):
        small.putpixel((0, 0), (255, 8 * n % 256, 0))
        out = BytesIO()
        small.save(out, "JPEG", quality=95 - n)
        made.append(out.getvalue())
    assert len(set(made)) == count
    return made


def count(local: Kit, table: type) -> int:
    with transaction(local.database) as session:
        return int(session.scalar(select(func.count()).select_from(table)) or 0)


def ended(web: Server) -> list[str]:
    """What the server has logged of streams that are over."""
    return [line for line in web.log.splitlines() if '"event": "live_ended"' in line]
