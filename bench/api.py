"""The HTTP API: what accepting a photo costs, and how soon somebody is recognized.

Run as `python -m bench.api [--photos N] [--rounds N] [--asks N]`; `make bench-api` does.

Submitting: eight clients send a photo of 300 kB, each time with other bytes, to the API and to
bare Flask routes which store the same bytes in the same bucket, in turns; all are served by
gunicorn with the API's own configuration. One bare route uses boto3, as one would write it; the
other has the API's own, faster client: no API that stores with it can be faster. No worker runs
meanwhile, or it would take the cores that are measured. Recognizing: one client on an idle stack,
against 5,000 people and against 100,000; beside it the engine alone, which finds and embeds the
face of the same photos in this process.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from bench.clients import Round, Upload, percentile, send_all, upload
from bench.cpu import spent_ms
from bench.megapixels import real_photos
from bench.photos import DATA, TEST_DATA, below
from bench.soak.stack import SoakStack
from cli.stack.app_parts import part_environ, web_part
from cli.stack.home import Home, open_home
from cli.stack.ports import FreePorts
from cli.stack.stores import own_stores, running
from db.galleries import CLASSIC_GALLERY
from db.imports import NamedEmbeddings, import_templates
from db.prepare import prepare
from db.session import Role, make_database, transaction
from db.settings import MODELS_FOLDER, load_settings
from db.tenants import LOCAL_TENANT, ensure_tenant
from pipeline.loader import load_engine
from pipeline.specs import DEFAULT_ENGINE

CLIENTS = 8
PHOTO_BYTES = 300_000
WARM_UP = 40
API, BARE, BOUND = "API", "bare route (boto3)", "bare route (our client)"
FIELDS = {API: {"kind": "detect"}}
SUBJECTS = (5_000, 100_000)
KNOWN_FACES = 1_000
"""Real faces whose spread the embeddings of the galleries have."""
PROBES = 20
READY_S = 3.0
MAX_PIXELS = 1_000_000


def main() -> int:
    """Runs the benchmark and prints it."""
    parser = argparse.ArgumentParser(prog="bench.api")
    parser.add_argument("--photos", type=int, default=600, help="submitted in each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--asks", type=int, default=200, help="of each gallery")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-api-") as folder:
        root = Path(folder)
        submitted = _submitted(root, options.photos, options.rounds) if options.rounds else {}
        recognized = _recognized(root, options.asks) if options.asks else {}
    print(json.dumps(submitted | recognized))
    return 0


def _submitted(root: Path, photos: int, rounds: int) -> dict[str, float]:
    photo = _photo_of(PHOTO_BYTES)
    runs: dict[str, list[Round]] = defaultdict(list)
    used: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    with _served(root / "submit") as urls:
        requests = {
            name: upload(
                url, photo, field="photos", fields={"kind": "detect"} if name == API else {}
            )
            for name, url in urls.items()
        }
        for name, request in requests.items():
            send_all(urls[name], request, _marks("w", WARM_UP), CLIENTS)
        for number in range(rounds):
            for name, request in requests.items():
                before = _cpu_seconds()
                run = send_all(urls[name], request, _marks(f"{number}", photos), CLIENTS)
                used[name].append(spent_ms(before, _cpu_seconds(), photos))
                runs[name].append(run)
                print(f"round {number + 1}, {name}: {run.per_s:.0f} requests/s", file=sys.stderr)
    return _print_submitted(runs, used)


def _photo_of(size_bytes: int) -> bytes:
    """A real photo, encoded so that it has about that size."""
    with Image.open(real_photos()[0]) as opened:
        image = opened.convert("RGB").resize((1280, 960), Image.Resampling.LANCZOS)
    encoded = [_jpeg(image, quality) for quality in range(50, 100)]
    return min(encoded, key=lambda data: abs(len(data) - size_bytes))


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _marks(name: str, count: int) -> list[str]:
    return [f"{name}-{number}" for number in range(count)]


@contextmanager
def _served(folder: Path) -> Iterator[dict[str, str]]:
    """The addresses of the API and of the bare route, on the same stores, with no workers."""
    home = open_home(folder)
    ports = FreePorts()
    wanted = load_settings({"FACEBATCH_HOME": str(home.path)}, dotenv=None)
    settings, stores = own_stores(wanted, home, ports)
    environ = part_environ(settings, home)
    web = web_part(environ, ports.one())
    bare = web_part(environ, ports.one())
    bare = replace(bare, name="bare", command=[*bare.command[:-1], "bench.bare_route:app"])
    bare = replace(bare, environ=_importing(bare.environ))
    with running(stores, home):
        prepare(settings)
        with running([web, bare], home):
            yield {
                API: f"http://{web.address}/v1/jobs",
                BARE: f"http://{bare.address}/boto",
                BOUND: f"http://{bare.address}/photos",
            }


def _importing(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that finds the benches, which are not installed."""
    return {**environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


def _cpu_seconds() -> dict[str, float]:
    """Seconds of CPU by part, of all processes that this one has started, and its own."""
    used: dict[str, float] = defaultdict(float)
    used["client"] = sum(os.times()[:2])
    for process in psutil.Process().children(recursive=True):
        try:
            used[_part_of(process)] += sum(process.cpu_times()[:2])
        except psutil.Error:
            continue
    return dict(used)


def _part_of(process: psutil.Process) -> str:
    command = " ".join(process.cmdline())
    if "gunicorn" in command:
        return "web"
    return "SeaweedFS" if "weed" in command else "PostgreSQL" if "postgres" in command else "others"


def _print_submitted(
    runs: Mapping[str, Sequence[Round]], used: Mapping[str, Sequence[Mapping[str, float]]]
) -> dict[str, float]:
    ratios = {
        peer: [one.per_s / other.per_s for one, other in zip(runs[API], runs[peer], strict=True)]
        for peer in (BARE, BOUND)
    }
    print(f"\nsubmitting a photo of 300 kB, {CLIENTS} clients, {len(runs[API])} rounds\n")
    parts = ["client", "web", "PostgreSQL", "SeaweedFS", "others"]
    print("| | requests/s | p50 ms | p99 ms |", " | ".join(f"{one}, CPU ms" for one in parts), "|")
    print("| --- " * (4 + len(parts)) + "|")
    all_ms = {}
    for name, some in runs.items():
        latencies = [ms for run in some for ms in run.latencies_ms]
        all_ms[name] = [percentile(latencies, share) for share in (0.5, 0.99)]
        cells = [statistics.median(run.per_s for run in some), *all_ms[name]]
        cells += [statistics.median(one.get(part, 0.0) for one in used[name]) for part in parts]
        print(f"| {name} |", " | ".join(f"{cell:.2f}" for cell in cells), "|")
    print()
    for peer, found in ratios.items():
        print(f"rounds, API to {peer}:", ", ".join(f"{ratio:.3f}" for ratio in found))
    return {
        "submit_ratio": round(statistics.median(ratios[BARE]), 4),
        "submit_ratio_bound": round(statistics.median(ratios[BOUND]), 4),
        "submit_per_s": round(statistics.median(run.per_s for run in runs[API]), 1),
        "submit_ms_p50": round(all_ms[API][0], 2),
        "submit_ms_p99": round(all_ms[API][1], 2),
    }


def _recognized(root: Path, asks: int) -> dict[str, float]:
    vectors = _people(root, SUBJECTS[-1])
    photos = _probes()
    requests = [_asking(photo) for photo in photos]
    stack = SoakStack(home=Home(root / "recognize"))
    found: dict[str, float] = {}
    try:
        stack.up()
        time.sleep(READY_S)
        print("\n| subjects | times | p50 ms | p95 ms | engine p50 ms | engine p95 ms |")
        print("| --- | --- | --- | --- | --- | --- |")
        there = 0
        for subjects in SUBJECTS:
            _import(stack, vectors, there, subjects)
            there = subjects
            latencies = _asked(f"{stack.api_url}/recognize", requests, asks, f"{subjects}")
            p50, p95 = (percentile(latencies, share) for share in (0.5, 0.95))
            alone = _engine_ms(root / "recognize" / MODELS_FOLDER, photos, asks)
            engine_p50, engine_p95 = (percentile(alone, share) for share in (0.5, 0.95))
            cells = (p50, p95, engine_p50, engine_p95)
            print(f"| {subjects} | {len(latencies)} |", *(f"{one:.1f} |" for one in cells))
            name = f"{subjects // 1000}k"
            found |= {
                f"recognize_ms_p50_{name}": round(p50, 2),
                f"recognize_ms_p95_{name}": round(p95, 2),
                f"engine_ms_p50_{name}": round(engine_p50, 2),
                f"engine_ms_p95_{name}": round(engine_p95, 2),
            }
    finally:
        stack.down()
    return found


def _people(root: Path, count: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """Embeddings, shape (count, dimension), with the mean and the covariance of real faces."""
    photos = below(DATA / "lfw" / "images")
    folder = root / "faces"
    folder.mkdir()
    for number, photo in enumerate(photos[:: max(1, len(photos) // KNOWN_FACES)]):
        (folder / f"{number}.jpg").symlink_to(photo)
    out = root / "faces.npz"
    command = [sys.executable, "-m", "cli.main", "embed", str(folder), "--out", str(out)]
    environ = {name: value for name, value in os.environ.items() if name != TEST_DATA}
    environ["FACEBATCH_HOME"] = str(root / "embed")
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)
    with np.load(out) as faces:
        real = faces["embedding"].astype(np.float64)
    draw = np.random.default_rng(1)
    drawn = draw.multivariate_normal(real.mean(axis=0), np.cov(real.T), count, method="cholesky")
    return drawn.astype(np.float32)


def _import(
    stack: SoakStack,
    vectors: "np.ndarray[tuple[int, int], np.dtype[np.float32]]",
    first: int,
    last: int,
) -> None:
    database = make_database(stack.database_url, role=Role.SYSTEM)
    with transaction(database) as session:
        import_templates(
            session,
            ensure_tenant(session, LOCAL_TENANT),
            gallery=CLASSIC_GALLERY,
            spec=DEFAULT_ENGINE,
            found=NamedEmbeddings(
                names=tuple(f"person {n}" for n in range(first, last)), vectors=vectors[first:last]
            ),
        )
    database.dispose()


def _engine_ms(models_dir: Path, photos: Sequence[bytes], times: int) -> list[float]:
    """Milliseconds that the engine alone takes for each; the first few are not counted."""
    engine = load_engine(DEFAULT_ENGINE.name, models_dir)
    latencies: list[float] = []
    for n in range(len(photos) + times):
        began = time.perf_counter()
        photo = engine.open(photos[n % len(photos)], max_pixels=MAX_PIXELS)
        engine.embed([engine.detect(photo)])
        if n >= len(photos):
            latencies.append(1000 * (time.perf_counter() - began))
    return latencies


def _probes() -> list[bytes]:
    """Photos of 640x480, in the middle of each one of LFW's people."""
    photos = below(DATA / "lfw" / "images")
    made = []
    for photo in photos[:: len(photos) // PROBES][:PROBES]:
        with Image.open(photo) as opened:
            person = opened.convert("RGB").resize((480, 480), Image.Resampling.LANCZOS)
        image = Image.new("RGB", (640, 480), (128, 128, 128))
        image.paste(person, (80, 0))
        made.append(_jpeg(image, 90))
    return made


def _asking(photo: bytes) -> Callable[[str], Upload]:
    return lambda url: upload(url, photo, field="image", fields={})


def _asked(
    url: str, requests: Sequence[Callable[[str], Upload]], asks: int, mark: str
) -> list[float]:
    """Milliseconds of each, one after the other; the first few are not counted."""
    latencies: list[float] = []
    for n in range(len(requests) + asks):
        request = requests[n % len(requests)](url)
        run = send_all(url, request, [f"{mark}-{n}"], clients=1)
        latencies += run.latencies_ms
    return latencies[len(requests) :]


if __name__ == "__main__":
    sys.exit(main())
