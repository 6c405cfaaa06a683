"""Results out of a real stack: through its queue and its bucket, and by the command."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image
from place import Place, wait_for

from cli.sample import Sample
from cli.stack.ports import FreePorts

TAKEN = "2012:11:06 21:30:00"
MWG = "{http://www.metadataworkinggroup.com/schemas/regions/}"
AREA = "{http://ns.adobe.com/xmp/sType/Area#}"
BREAKING = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"first\\n"
    if environ["PATH_INFO"] == "/broken":
        raise RuntimeError("half-way")
    yield b"last\\n"
"""


@pytest.fixture
def api(served: Place) -> Iterator[httpx.Client]:
    view = served.view()
    assert view
    with httpx.Client(base_url=view.api_url, timeout=120, trust_env=False) as client:
        yield client


def _on_its_side(path: Path) -> bytes:
    """The photo as a camera stores it that was held upright: turned, and EXIF that says so."""
    with Image.open(path) as photo:
        stored = photo.convert("RGB").transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = TAKEN
    out = io.BytesIO()
    stored.save(out, "JPEG", quality=95, exif=exif)
    return out.getvalue()


def _corners(sidecar: str, photo: bytes) -> list[list[float]]:
    """The upper left and the lower right corner of each region, in pixels of the stored photo."""
    areas = [
        {one.tag.removeprefix(AREA): one.text or "" for one in area}
        for area in ET.fromstring(sidecar).iter(f"{MWG}Area")
    ]
    with Image.open(io.BytesIO(photo)) as stored:
        width, height = stored.size
    return [
        [
            (float(area["x"]) - sign * float(area["w"]) / 2) * width,
            (float(area["y"]) - sign * float(area["h"]) / 2) * height,
        ]
        for area in areas
        for sign in (1, -1)
    ]


def test_results_leave_the_stack_in_every_way(
    api: httpx.Client, served: Place, sample: Sample, tmp_path: Path
) -> None:
    data = _on_its_side(sample.photos_dir / "obama2.jpg")
    answer = api.post(
        "/v1/jobs",
        data={"kind": "detect"},
        files={"photos": ("day 1/a.jpg", data)},
        headers={"Prefer": "wait=60"},
    )
    job = answer.json()["job"]["id"]
    (line,) = answer.json()["results"]
    assert (line["taken_at"], line["orientation"]) == ("2012-11-06T21:30:00", 6)

    asked = api.post(f"/v1/jobs/{job}/exports", json={"format": "parquet"})
    at = asked.headers["Location"]
    wait_for(lambda: api.get(at).json()["state"] == "done")
    file = httpx.get(api.get(at).json()["url"], trust_env=False).content
    rows = pq.read_table(io.BytesIO(file)).to_pylist()
    assert [row["taken_at"] for row in rows] == [line["taken_at"]] * len(line["faces"])

    told = served.run("results", job)
    assert told.returncode == 0, told.stderr
    assert [json.loads(one) for one in told.stdout.splitlines()] == [line]
    assert job in served.run("jobs").stdout

    done = served.run("results", job, "--format", "xmp", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    boxes = _corners((tmp_path / "day 1" / "a.jpg.xmp").read_text(encoding="utf-8"), data)
    with Image.open(io.BytesIO(data)) as stored:
        height = stored.height
    (left, top, right, bottom) = line["faces"][0]["box"]
    # The stored photo's left is the upright one's top, its bottom the upright one's left.
    assert boxes[0] == pytest.approx([top, height - right], abs=0.1)
    assert boxes[1] == pytest.approx([bottom, height - left], abs=0.1)


def test_a_stream_that_breaks_is_no_whole_answer(tmp_path: Path) -> None:
    (tmp_path / "breaking.py").write_text(BREAKING)
    port = FreePorts().one()
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "--config", "python:web.gunicorn_conf"),
            *("--workers", "1", "--bind", f"127.0.0.1:{port}", "breaking:app"),
        ],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _text(f"{url}/whole") == "first\nlast\n")
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{url}/broken", trust_env=False)
    finally:
        server.terminate()
        server.wait()


def _text(url: str) -> str | None:
    try:
        return httpx.get(url, trust_env=False).text
    except httpx.TransportError:
        return None
