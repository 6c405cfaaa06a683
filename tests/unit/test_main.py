"""The command ends with a sentence and a status, whatever becomes of its output."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from http_kit import TinyApi, serving

from cli.main import COMMANDS, facebatch

# A match with a server that is there already: no stack is started.
MATCH = """
import contextlib, sys
import cli.commands.match
from cli.main import main
from cli.stack.session import RunningStack
api_url = sys.argv.pop(1)
cli.commands.match.running_stack = lambda _: contextlib.nullcontext(RunningStack(api_url=api_url))
sys.exit(main())
"""
FULL = "facebatch: No space left on device"


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("people/anna.jpg", "photos/a.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    return tmp_path


def run(folder: Path, redirected: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirected}', "sh", sys.executable, *arguments],
        # Without its buffer, standard output would fail at each line and never at the end.
        env={key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def match(folder: Path, redirected: str, *more: str) -> subprocess.CompletedProcess[str]:
    script = folder / "match.py"
    script.write_text(MATCH)
    with serving(TinyApi()) as api:
        arguments = ("match", "--people", "people", "--photos", "photos", *more)
        return run(folder, redirected, str(script), api.url, *arguments)


@pytest.mark.parametrize("photos", [1, 400])
def test_a_standard_output_that_is_full_is_said_once(folders: Path, photos: int) -> None:
    for n in range(photos):
        (folders / "photos" / f"{n}.jpg").touch()
    done = match(folders, ">/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == FULL
    assert done.stderr.count(FULL) == 1


def test_a_file_that_is_full_is_said_once(folders: Path) -> None:
    done = match(folders, "", "--out", "/dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == FULL
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_of_a_command_what_the_command_says_itself(name: str) -> None:
    command = facebatch.get_command(click.Context(facebatch), name)
    assert command is not None
    assert COMMANDS[name] == command.get_short_help_str(limit=200)


def test_help_that_finds_no_room_is_an_error(folders: Path) -> None:
    done = run(folders, ">/dev/full", "-m", "cli.main", "--help")
    assert (done.returncode, done.stderr) == (1, FULL + "\n")


def test_results_without_a_place_to_go_are_refused_at_once(folders: Path) -> None:
    done = match(folders, ">&-")
    assert done.returncode == 2
    assert "standard output is closed; name a file with --out" in done.stderr
    assert match(folders, ">&-", "--out", "r.jsonl").returncode == 0
    assert len((folders / "r.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_without_standard_error_nothing_of_it_gets_into_the_results(
    folders: Path, redirected: str
) -> None:
    (folders / "photos" / "notes.txt").touch()
    done = match(folders, redirected)
    assert done.stdout.count("\n") == done.stdout.count('{"photo": "a.jpg"')
    assert done.returncode == (0 if redirected == "2>&-" else 1)


def test_an_error_that_cannot_be_told_still_has_its_status(folders: Path) -> None:
    done = run(folders, "2>/dev/full", "-m", "cli.main", "match")
    assert done.returncode == 2
