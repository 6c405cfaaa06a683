"""The API keeps what its description promises, whatever it is sent."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from place import Place

from cli.sample import Sample

CONTRACT = Path(__file__).parents[1] / "contract"
CASES = os.environ.get("CONTRACT_CASES", "6")
"""For each operation and phase."""
PHASES = os.environ.get("CONTRACT_PHASES", "examples,coverage")
"""Those that send the same each time; the others find something new on another day."""
SEED = os.environ.get("CONTRACT_SEED", "1")
WITHIN_S = int(os.environ.get("CONTRACT_TIMEOUT_S", "500"))
SCOPES = ("read", "submit", "manage", "admin")


@pytest.mark.timeout(WITHIN_S + 100)
def test_nothing_that_is_sent_breaks_the_api_or_its_description(
    served: Place, sample: Sample, tmp_path: Path
) -> None:
    view = served.view()
    assert view
    key, key_id = _key(served)
    environ = {
        "FACEBATCH_API_KEY": key,
        "CONTRACT_KEY_ID": key_id,
        "CONTRACT_PHOTOS": str(sample.photos_dir),
        "SCHEMATHESIS_HOOKS": "hooks",
        "PYTHONPATH": str(CONTRACT),
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(CONTRACT / "schemathesis.toml")),
            *("run", f"{view.api_url}/openapi.json"),
            *("--checks", "all", "--exclude-checks", "positive_data_acceptance"),
            *("--phases", PHASES, "--max-examples", CASES, "--seed", SEED, "--no-color"),
        ],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    # A line may have a photo in it.
    told = "\n".join(line[:500] for line in done.stdout.splitlines())
    assert done.returncode == 0, told[-60_000:] + done.stderr[-2_000:]
    assert "only 401/403" not in done.stdout, done.stdout[-5_000:]


def _key(served: Place) -> tuple[str, str]:
    """A key and its id, of a tenant of its own, so that nothing of others is harmed."""
    assert served.run("tenants", "create", "contract").returncode == 0
    scopes = [word for scope in SCOPES for word in ("--scope", scope)]
    made = served.run("keys", "create", "contract", "--tenant", "contract", *scopes)
    assert made.returncode == 0, made.stderr
    key_id = re.search(r"its id is (\S+)", made.stderr)
    assert key_id
    return made.stdout.strip(), key_id[1]
