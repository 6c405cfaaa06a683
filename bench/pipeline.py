"""The whole pipeline against the bare engine: the same photos as a job, four ways in.

Run as `python -m bench.pipeline [PHOTOS] [--count N] [--rounds N]`; `make bench-pipeline` does. Two
processes compute, in the engine's runs and in the jobs. They take turns on photos of other bytes,
so that no job finds any of them known. A machine's pace changes by the minute: each job is compared
with the engine's runs before and after it, and the median of the rounds counts. `uploads` is
what `facebatch submit` does with a folder, `requests` one request a photo. A job is timed from the
moment before it is submitted to the moment when its client hears that all photos have ended.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from bench.bare_engine import run_engine
from bench.cpu import cpu_seconds, spent_ms
from bench.megapixels import copies, real_photos, write_photos
from bench.photos import TEST_DATA, below
from bench.soak.stack import SoakStack
from cli.stack.home import Home

PROCESSES = 2
UPLOADS_AT_ONCE = 4
ENGINE = "engine"
READY_S = 3.0
"""What a stack is given before each run, to load its models or to come to rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one run of the benchmark happens."""

    root: Path
    stack: SoakStack
    photos: Sequence[Path]

    def client(self) -> httpx.Client:
        """Speaks to the stack's API."""
        return httpx.Client(base_url=self.stack.api_url, timeout=120, trust_env=False)


Way = Callable[[Place, httpx.Client, Sequence[Path], str], str]
"""Submits photos, prepared under a name of this round's, and returns the job's id."""


def main() -> int:
    """Runs the benchmark and prints it; 1 where a job lost a photo."""
    parser = argparse.ArgumentParser(prog="bench.pipeline")
    parser.add_argument("photos", nargs="?", type=Path, help="folder of photos, as they are")
    parser.add_argument("--count", type=int, default=1000, help="how many to make of the test data")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-pipeline-") as folder:
        root = Path(folder)
        photos = (
            below(options.photos)
            if options.photos
            else write_photos(root / "photos", real_photos(), options.count)
        )
        if not photos:
            parser.error(f"{options.photos} holds no JPEG or PNG")
        stack = SoakStack(home=Home(root / "home"))
        try:
            stack.up(FACEBATCH_WORKERS=str(PROCESSES))
            runs = _run(Place(root=root, stack=stack, photos=photos), options.rounds)
        finally:
            stack.down()
    _print(runs, len(photos))
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One way, once."""

    seconds: float
    cpu_ms: Mapping[str, float]
    """Of CPU, a photo, by part of the stack, or of the bare engine."""
    of_engine: float = 1.0
    """The ratio to the engine's runs before and after it."""


def _run(place: Place, rounds: int) -> Mapping[str, list[Run]]:
    runs: dict[str, list[Run]] = defaultdict(list)
    before = _one(place, ENGINE, "engine-0")
    runs[ENGINE].append(before)
    for number in range(rounds):
        for name in WAYS:
            run = _one(place, name, f"{name}-{number}")
            after = _one(place, ENGINE, f"engine-{name}-{number}")
            beside_s = (before.seconds + after.seconds) / 2
            runs[name].append(replace(run, of_engine=beside_s / run.seconds))
            runs[ENGINE].append(after)
            before = after
    return runs


def _one(place: Place, name: str, mark: str) -> Run:
    photos = copies(place.root / mark, place.photos, mark)
    run = _timed(place, name, photos, mark)
    shutil.rmtree(photos[0].parent)
    print(f"{mark}: {len(photos) / run.seconds:.1f} photos/s", file=sys.stderr)
    return run


def _timed(place: Place, name: str, photos: Sequence[Path], mark: str) -> Run:
    if name == ENGINE:
        folder, names = photos[0].parent, [photo.name for photo in photos]
        models_dir = place.stack.home.path / "models"
        time.sleep(READY_S)
        ran = run_engine(folder, names, models_dir, PROCESSES)
        cpu_ms = {ENGINE: 1000 * ran.cpu_seconds / len(photos)}
        return Run(seconds=ran.seconds, cpu_ms=cpu_ms)
    prepare, submit = WAYS[name]
    with place.client() as client:
        prepare(place, photos, mark)
        time.sleep(READY_S)
        before, began_at = cpu_seconds(place.stack), time.monotonic()
        job_id = submit(place, client, photos, mark)
        job = _ended(client, job_id)
        seconds = time.monotonic() - began_at
        used = spent_ms(before, cpu_seconds(place.stack), len(photos))
    counts = job["counts"]
    if counts["done"] + counts["no_face"] != len(photos):
        raise SystemExit(f"{name}: {counts} of {len(photos)} photos")
    return Run(seconds=seconds, cpu_ms=used)


def _ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    while True:
        job = _answer(client.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=60"}))
        if job["finished_at"] is not None:
            return job


def _answer(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        raise SystemExit(f"{response.request.url}: {response.status_code} {response.text}")
    return dict(response.json())


def _nothing(_place: Place, _photos: Sequence[Path], _mark: str) -> None:
    """Nothing has to be there before."""


def _put_below_prefix(place: Place, photos: Sequence[Path], mark: str) -> None:
    store = place.stack.store()
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        for _ in pool.map(
            lambda photo: store.put(f"sources/local/{mark}/{photo.name}", [photo.read_bytes()]),
            photos,
        ):
            pass


def _submit_prefix(_place: Place, client: httpx.Client, _photos: Sequence[Path], mark: str) -> str:
    source = {"kind": "prefix", "prefix": f"sources/local/{mark}/"}
    return str(_answer(client.post("/v1/jobs", json={"kind": "detect", "sources": [source]}))["id"])


def _zip_path(place: Place, mark: str) -> Path:
    return place.root / f"{mark}.zip"


def _write_zip(place: Place, photos: Sequence[Path], mark: str) -> None:
    with zipfile.ZipFile(_zip_path(place, mark), "w", zipfile.ZIP_STORED) as archive:
        for photo in photos:
            archive.write(photo, photo.name)


def _submit_zip(place: Place, client: httpx.Client, _photos: Sequence[Path], mark: str) -> str:
    with _zip_path(place, mark).open("rb") as archive:
        answer = _answer(
            client.post("/v1/jobs", data={"kind": "detect"}, files={"archive": archive})
        )
    _zip_path(place, mark).unlink()
    return str(answer["id"])


def _submit_uploads(place: Place, client: httpx.Client, photos: Sequence[Path], _mark: str) -> str:
    """A folder, by the command that is there for it: many photos a request, several at once."""
    command = [sys.executable, "-m", "cli.main", "submit", str(photos[0].parent), "--detect"]
    done = subprocess.run(
        [*command, "--new", "--api", str(client.base_url)],
        env={**_environ(), "FACEBATCH_HOME": str(place.root / "client")},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return done.stdout.split()[0]


def _environ() -> dict[str, str]:
    """This process's, without where photos are found: a command would refuse that setting."""
    return {name: value for name, value in os.environ.items() if name != TEST_DATA}


def _submit_requests(
    _place: Place, client: httpx.Client, photos: Sequence[Path], _mark: str
) -> str:
    """Each photo in a request of its own, several at once."""
    job_id = str(_answer(client.post("/v1/jobs", json={"kind": "detect"}))["id"])

    def upload(photo: Path) -> None:
        with photo.open("rb") as file:
            _answer(client.post(f"/v1/jobs/{job_id}/photos", files={"photos": (photo.name, file)}))

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        for _ in pool.map(upload, photos):
            pass
    _answer(client.post(f"/v1/jobs/{job_id}/seal"))
    return job_id


WAYS: Mapping[str, tuple[Callable[[Place, Sequence[Path], str], None], Way]] = {
    "prefix": (_put_below_prefix, _submit_prefix),
    "zip": (_write_zip, _submit_zip),
    "uploads": (_nothing, _submit_uploads),
    "requests": (_nothing, _submit_requests),
}
"""What is prepared for each way before its time begins, and how it is submitted."""


def _print(runs: Mapping[str, Sequence[Run]], photos: int) -> None:
    rates = {
        name: photos / statistics.median(run.seconds for run in some) for name, some in runs.items()
    }
    ratios = {name: [run.of_engine for run in runs[name]] for name in WAYS}
    rounds = min(len(each) for each in ratios.values())
    print(f"\n{photos} photos, {PROCESSES} processes, median of {rounds} rounds\n")
    print("| way in | photos/s | of the engine | rounds, of the engine |")
    print("| --- | --- | --- | --- |")
    print(f"| {ENGINE} | {rates[ENGINE]:.1f} | 1 | |")
    for name, each in ratios.items():
        told = ", ".join(f"{ratio:.3f}" for ratio in each)
        print(f"| {name} | {rates[name]:.1f} | {statistics.median(each):.3f} | {told} |")
    print("\nCPU, milliseconds a photo\n")
    parts = sorted({part for name in runs for part in runs[name][0].cpu_ms})
    print("| way in |", " | ".join(parts), "| all |")
    print("| --- " * (len(parts) + 2) + "|")
    used = {}
    for name in runs:
        used[name] = {
            part: statistics.median(run.cpu_ms.get(part, 0.0) for run in runs[name])
            for part in parts
        }
        cells = (f"{used[name][part]:.2f}" for part in parts)
        print(f"| {name} |", " | ".join(cells), f"| {sum(used[name].values()):.2f} |")
    print(
        json.dumps(
            {
                **{f"ratio_{name}": round(statistics.median(ratios[name]), 4) for name in WAYS},
                "photos_per_s_engine": round(rates[ENGINE], 2),
                "photos": photos,
                "cpu_ms": {
                    name: {part: round(ms, 3) for part, ms in parts.items()}
                    for name, parts in used.items()
                },
            }
        )
    )


if __name__ == "__main__":
    sys.exit(main())
