"""`facebatch submit` and `facebatch jobs` refuse what does not go together, and start nothing."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import facebatch

NOWHERE = "00000000-0000-7000-8000-000000000000"


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEBATCH_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("submit", "Missing argument"),
        ("submit absent --detect", "absent does not exist"),
        ("submit notes.txt --detect", "neither a folder nor a file ending in"),
        ("submit s3:// --detect", "names no photos"),
        ("submit s3://bucket --detect", "names no photos"),
        ("submit photos", "name the people's gallery with --gallery"),
        ("submit photos --detect --gallery a", "--detect takes no --gallery"),
        ("submit photos --detect --top 5 --threshold 1", "takes no --threshold nor --top"),
        ("submit photos --detect --enrol-as anna", "--detect takes no --enrol-as"),
        ("submit photos --enrol-as anna", "--enrol-as needs one --gallery"),
        ("submit photos --enrol-as anna --gallery a --gallery b", "needs one --gallery"),
        ("submit photos --enrol-as anna --gallery a --target-fmr .1", "takes no --target-fmr"),
        ("submit photos --gallery a --engine sface", "takes no --engine"),
        ("submit photos --gallery a --multiple-faces largest", "takes no --multiple-faces"),
        ("submit photos --gallery a --threshold 1 --target-fmr .1", "exclude each other"),
        ("submit photos --gallery a --priority highest", "is not one of"),
        ("submit photos --gallery a --parallel 0", "is not in the range"),
        ("submit photos --gallery a --api localhost:1", "no address of a server"),
        ("jobs show not-an-id", "not a valid UUID"),
        (f"jobs --api http://127.0.0.1:1 show {NOWHERE}", "--api goes behind show"),
        (f"jobs --limit 3 pause {NOWHERE}", "--limit goes behind pause"),
        (f"jobs rematch {NOWHERE}", "name the people's gallery with --gallery"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_asked(arguments: str, said: str) -> None:
    done = CliRunner().invoke(facebatch, arguments.split())
    assert (done.exit_code, said in done.output) == (2, True), done.output
