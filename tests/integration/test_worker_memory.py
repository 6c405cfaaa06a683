"""A worker's memory stays bounded, however large its photos are."""

import subprocess
import sys
import uuid
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest
from ledger_kit import Kit
from PIL import Image

from cli.stack.app_parts import ONE_THREAD, settings_environ
from db import results
from db.session import transaction
from db.settings import Settings
from db.states import ItemState, JobKind
from db.storage import ObjectStore
from db.tenants import ensure_model
from db.views import ItemView, NewItem
from pipeline.specs import engine_spec

PHOTOS = 16
BROKEN_PHOTOS = 5
SIZE_PX = (8660, 5774)
MAX_MB = 700
PROCESS_A_CHUNK = """
import sys
import workers.app
from db.settings import load_settings
from workers.context import WorkerContext
from workers.stages.chunk import process_chunk

process_chunk(WorkerContext.from_settings(load_settings()), [int(one) for one in sys.argv[1:]])
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


@pytest.fixture(scope="module")
def group_in_50_megapixels(photos_dir: Path) -> bytes:
    """Seven faces so small that they are cut out of all the pixels."""
    canvas = Image.new("RGB", SIZE_PX, (90, 110, 130))
    with Image.open(photos_dir / "groups" / "group-5.jpg") as group:
        canvas.paste(group, (5000, 3000))
    file = BytesIO()
    canvas.save(file, "JPEG", quality=90)
    return file.getvalue()


def test_sixteen_photos_of_50_megapixels_fit_in_700_megabytes(
    kit: Kit, settings: Settings, group_in_50_megapixels: bytes, tmp_path: Path
) -> None:
    photos = [group_in_50_megapixels + bytes([n]) for n in range(PHOTOS)]
    peak_mb, rows = _processed(kit, settings, photos, tmp_path)
    assert [row.state for row in rows] == [ItemState.DONE] * PHOTOS
    assert [len(row.faces) for row in rows] == [7] * PHOTOS
    assert peak_mb < MAX_MB


def test_photos_that_break_off_leave_nothing_behind(
    kit: Kit, settings: Settings, tmp_path: Path
) -> None:
    file = BytesIO()
    Image.new("RGB", SIZE_PX, (90, 110, 130)).save(file, "PNG", compress_level=1)
    broken = file.getvalue()[: -len(file.getvalue()) // 20]
    photos = [broken + bytes([n]) for n in range(BROKEN_PHOTOS)]
    peak_mb, rows = _processed(kit, settings, photos, tmp_path)
    assert [row.error_code for row in rows] == ["image_truncated"] * BROKEN_PHOTOS
    assert peak_mb < MAX_MB


def _processed(
    kit: Kit, settings: Settings, photos: Sequence[bytes], folder: Path
) -> tuple[float, list[ItemView]]:
    """The peak of a worker process's memory over one chunk, in MB, and how its items ended."""
    store = ObjectStore.from_settings(settings)
    items = [_stored(store, f"{uuid.uuid4()}", data) for data in photos]
    with transaction(kit.database) as session:
        ensure_model(session, engine_spec("dlib"))
    job_id = kit.job(*items, kind=JobKind.DETECT, engine="dlib")
    chunk = [item_id for some in kit.dispatch() for item_id in some]
    process = subprocess.run(
        [sys.executable, "-c", PROCESS_A_CHUNK, *map(str, chunk)],
        env=settings_environ(settings) | ONE_THREAD,
        cwd=folder,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    peak_mb = int(process.stdout.splitlines()[-1]) / 1024
    with transaction(kit.database) as session:
        return peak_mb, results.job_items(session, kit.tenant_id, job_id)


def _stored(store: ObjectStore, name: str, data: bytes) -> NewItem:
    stored = store.put(f"memory/{name}", [data])
    return NewItem(
        name=name,
        client_id=name,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        object_key=f"memory/{name}",
    )
