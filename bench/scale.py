"""A long job of small photos: does it go on as it began, and what do others feel of it meanwhile?

Run as `python -m bench.scale [--items N]`; `make bench-scale` does. LFW's photos, encoded anew
until there are enough that differ, go as one zip into an identification. While it runs, somebody
looks at it, pages through its results, submits other photos, and asks who is in one and waits for
the answer. Rates come from the times at which the photos ended, as the database has them.
"""

import argparse
import io
import itertools
import json
import statistics
import sys
import tempfile
import threading
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from PIL import Image
from sqlalchemy import text

from bench.photos import DATA, below
from bench.soak.stack import SoakStack
from cli.stack.home import Home
from db.session import Role, make_database, transaction

PROCESSES = 2
SUBJECTS = 200
IDLE_ASKS = 30
PAUSE_S = 0.5
NOTHING = "/v1/nothing"
"""No route: what client, server and framework take by themselves."""
READY_S = 3.0
MEGABYTE = 1_000_000


@dataclass(slots=True)
class Felt:
    """What was measured from outside, in the order in which it was."""

    ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    worker_mb: list[float] = field(default_factory=list)
    web_mb: list[float] = field(default_factory=list)

    def timed(self, name: str, call: Callable[[], httpx.Response]) -> dict[str, Any]:
        """The answer, a success; how long it took is noted."""
        began_at = time.perf_counter()
        response = call()
        self.ms[name].append(1000 * (time.perf_counter() - began_at))
        if not response.is_success:
            raise SystemExit(f"{name}: {response.status_code} {response.text}")
        return dict(response.json())

    def looked_at(
        self, name: str, connection: HTTPConnection, path: str, *, expected: int = 200
    ) -> dict[str, Any]:
        """Likewise, asked by a client that takes next to no time itself."""
        began_at = time.perf_counter()
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        self.ms[name].append(1000 * (time.perf_counter() - began_at))
        if response.status != expected:
            raise SystemExit(f"{name}: {response.status} {body.decode()}")
        return dict(json.loads(body))

    def percentile(self, name: str, share: float) -> float:
        """Of the calls of this name, in milliseconds."""
        some = sorted(self.ms[name])
        return some[min(len(some) - 1, int(share * len(some)))]


def main() -> int:
    """Runs the benchmark and prints it; 1 where the job lost a photo."""
    parser = argparse.ArgumentParser(prog="bench.scale")
    parser.add_argument("--items", type=int, default=20_000)
    items = parser.parse_args().items
    photos = below(DATA / "lfw" / "images")
    if not photos:
        raise SystemExit(f"no photos: {DATA / 'lfw'} is absent")
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        root = Path(folder)
        archive = _write_zip(root / "photos.zip", photos, items)
        stack = SoakStack(home=Home(root / "home"))
        try:
            stack.up(FACEBATCH_WORKERS=str(PROCESSES))
            time.sleep(READY_S)
            return _measured(stack, archive, photos, items)
        finally:
            stack.down()


def _write_zip(path: Path, photos: Sequence[Path], items: int) -> Path:
    """A zip of so many photos, no two of the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number, data in enumerate(itertools.islice(_encoded(photos), items)):
            archive.writestr(f"{number:06}.jpg", data)
    return path


def _encoded(photos: Sequence[Path]) -> Iterator[bytes]:
    """The photos at one quality after the other."""
    for quality in range(95, 40, -1):
        for photo in photos:
            file = io.BytesIO()
            with Image.open(photo) as image:
                image.save(file, "JPEG", quality=quality)
            yield file.getvalue()


def _measured(stack: SoakStack, archive: Path, photos: Sequence[Path], items: int) -> int:
    felt = Felt()
    with httpx.Client(base_url=stack.api_url, timeout=600, trust_env=False) as client:
        gallery = _enrolled(client, photos)
        asker = _Asker(client, felt, gallery, photos)
        for _ in range(IDLE_ASKS):
            asker.identify("identify_idle")
        with archive.open("rb") as file:
            job_id = felt.timed(
                "submit_archive",
                lambda: client.post(
                    "/v1/jobs",
                    data={"kind": "identify", "gallery": gallery},
                    files={"archive": file},
                ),
            )["id"]
        _look_until_ended(stack, felt, asker, job_id)
        counts = client.get(f"/v1/jobs/{job_id}").json()["counts"]
    if counts["done"] + counts["no_face"] != items:
        print(f"lost photos: {counts}", file=sys.stderr)
        return 1
    _print(felt, _tenths(stack, job_id), items)
    return 0


def _enrolled(client: httpx.Client, photos: Sequence[Path]) -> str:
    """A gallery of some of LFW's people."""
    gallery = str(client.post("/v1/galleries", json={"name": "bench"}).json()["id"])
    by_person = {photo.parent.name: photo for photo in reversed(photos)}
    for name, photo in itertools.islice(sorted(by_person.items()), SUBJECTS):
        subject = client.post(f"/v1/galleries/{gallery}/subjects", json={"name": name}).json()["id"]
        client.post(
            "/v1/jobs",
            data={
                "kind": "enrol",
                "gallery": gallery,
                "subject": subject,
                "multiple_faces": "largest",
            },
            files={"photos": (photo.name, photo.read_bytes())},
            headers={"Prefer": "wait=60"},
        ).raise_for_status()
    return gallery


class _Asker:
    """Somebody who submits single photos that nobody has sent before."""

    def __init__(
        self, client: httpx.Client, felt: Felt, gallery: str, photos: Sequence[Path]
    ) -> None:
        self._client = client
        self._felt = felt
        self._gallery = gallery
        self._photos = itertools.cycle(photos)
        self._numbers = itertools.count()

    def identify(self, name: str) -> None:
        """Asks who it is, and waits for the answer."""
        answer = self._submit(name, {"Prefer": "wait=60"})
        if not answer.get("results"):
            raise SystemExit(f"{name}: no answer within a minute")

    def submit(self, name: str) -> None:
        """Submits, and does not wait."""
        self._submit(name, {})

    def _submit(self, name: str, headers: dict[str, str]) -> dict[str, Any]:
        data = next(self._photos).read_bytes() + f" {next(self._numbers)}".encode()
        return self._felt.timed(
            name,
            lambda: self._client.post(
                "/v1/jobs",
                data={"kind": "identify", "gallery": self._gallery},
                files={"photos": ("photo.jpg", data)},
                headers=headers,
            ),
        )


def _look_until_ended(stack: SoakStack, felt: Felt, asker: _Asker, job_id: str) -> None:
    pause = threading.Event()
    cursor = None
    connection = HTTPConnection(urlsplit(stack.api_url).netloc, timeout=60)
    for turn in itertools.count():
        # Idle for too long, the server has closed it.
        connection.close()
        connection.connect()
        felt.looked_at("nothing", connection, NOTHING, expected=404)
        job = felt.looked_at("status", connection, f"/v1/jobs/{job_id}")
        if job["finished_at"] is not None:
            return
        if job["counts"]["done"] == 0:
            pause.wait(PAUSE_S / 5)
            continue
        page = felt.looked_at("results_page", connection, _page(job_id, cursor))
        cursor = page["next_cursor"] or cursor
        asker.identify("identify_busy")
        if turn % 2:
            asker.submit("submit")
        felt.worker_mb.append(_memory_mb(stack, "worker"))
        felt.web_mb.append(_memory_mb(stack, "web"))
        pause.wait(PAUSE_S)


def _page(job_id: str, cursor: str | None) -> str:
    return f"/v1/jobs/{job_id}/results?limit=100" + (f"&cursor={cursor}" if cursor else "")


def _memory_mb(stack: SoakStack, part: str) -> float:
    """What the part's processes have in memory together, each share of a page counted once."""
    return (
        sum(psutil.Process(pid).memory_full_info().pss for pid in stack.children(part)) / MEGABYTE
    )


def _tenths(stack: SoakStack, job_id: str) -> list[float]:
    """Photos a second in each tenth of the job's photos, by the times at which they ended."""
    database = make_database(stack.database_url, role=Role.OWNER)
    with transaction(database) as session:
        query = text("SELECT finished_at FROM item WHERE job_id = :job_id ORDER BY finished_at")
        ended_at = list(session.scalars(query, {"job_id": job_id}))
    database.dispose()
    edges = [round(n * (len(ended_at) - 1) / 10) for n in range(11)]
    return [
        (last - first) / (ended_at[last] - ended_at[first]).total_seconds()
        for first, last in itertools.pairwise(edges)
    ]


def _print(felt: Felt, tenths: Sequence[float], items: int) -> None:
    print(f"\n{items} photos, {PROCESSES} processes\n")
    print("| tenth | photos/s |\n| --- | --- |")
    for number, rate in enumerate(tenths, start=1):
        print(f"| {number} | {rate:.1f} |")
    print("\n| call | times | p50 ms | p95 ms | p99 ms |\n| --- | --- | --- | --- | --- |")
    for name, some in felt.ms.items():
        cells = (f"{felt.percentile(name, share):.1f}" for share in (0.5, 0.95, 0.99))
        print(f"| {name} | {len(some)} |", " | ".join(cells), "|")
    quarter = max(1, len(felt.worker_mb) // 10)
    memory = {
        f"{part}_rss_mb_{when}": round(statistics.median(some), 1)
        for part, all_of_it in (("worker", felt.worker_mb), ("web", felt.web_mb))
        for when, some in (("first", all_of_it[:quarter]), ("last", all_of_it[-quarter:]))
    }
    print("\n| memory | MB |\n| --- | --- |")
    for name, megabytes in memory.items():
        print(f"| {name} | {megabytes} |")
    idle, busy = felt.percentile("identify_idle", 0.5), felt.percentile("identify_busy", 0.5)
    print(
        json.dumps(
            {
                "rate_last_to_first": round(tenths[-1] / tenths[0], 4),
                **memory,
                "nothing_ms_p95": round(felt.percentile("nothing", 0.95), 2),
                "status_ms_p50": round(felt.percentile("status", 0.5), 2),
                "status_ms_p95": round(felt.percentile("status", 0.95), 2),
                "results_page_ms_p95": round(felt.percentile("results_page", 0.95), 2),
                "submit_ms_p50": round(felt.percentile("submit", 0.5), 2),
                "submit_ms_p99": round(felt.percentile("submit", 0.99), 2),
                "identify_ms_idle_p50": round(idle, 2),
                "identify_ms_busy_p50": round(busy, 2),
                "identify_busy_to_idle": round(busy / idle, 3),
                "photos_per_s": round(statistics.median(tenths), 1),
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
