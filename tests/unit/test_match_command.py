"""The command match refuses bad arguments before it works for hours."""

import errno
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli.commands.match
from cli.commands.match import match


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of a person and a photo; a test that gets as far as a stack has failed."""
    for name in ("people/anna.jpg", "photos/a.jpg", "empty/notes.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("photos/a.jpg")
    (tmp_path / "photos/broken.jpg").symlink_to("absent")

    def no_stack(_settings: object) -> None:
        raise AssertionError("a stack was started")

    monkeypatch.setattr(cli.commands.match, "running_stack", no_stack)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--photos photos", "Missing option '--people'"),
        ("--people people", "Missing option '--photos'"),
        ("--people absent --photos photos", "'absent' does not exist"),
        ("--people people --photos people/anna.jpg", "is a file"),
        ("--people empty --photos photos", "empty holds nobody"),
        ("--people people --photos empty", "empty holds no photos"),
        ("--people people --photos photos --out absent/r.jsonl", "cannot be written: No such file"),
        ("--people people --photos photos --out photos/a.jpg/r", "cannot be written: Not a dir"),
        ("--people people --photos photos --out photos", "is a directory"),
        ("--people people --photos photos --out photos/a.jpg", "photos/a.jpg is one of the photos"),
        ("--people people --photos photos --out people/anna.jpg", "is one of the photos"),
        ("--people people --photos photos --out link", "link is one of the photos"),
        ("--people people --photos photos --threshold 0", "0.0 is not in the range"),
        ("--people people --photos photos --threshold 2.1", "2.1 is not in the range"),
        ("--people people --photos photos --threshold nan", "nan is not in the range"),
        ("--people people --photos photos --engine eyes", "'eyes' is not"),
        ("--people people --photos photos --target-fmr 0", "0.0 is not in the range 0<x<1"),
        ("--people people --photos photos --target-fpir 1", "1.0 is not in the range 0<x<1"),
        ("--people people --photos photos --target-fpir nan", "nan is not in the range"),
        (
            "--people people --photos photos --threshold 0.5 --target-fmr 0.1",
            "--threshold and --target-fmr exclude each other",
        ),
        (
            "--people people --photos photos --target-fpir 0.5 --target-fmr 0.1",
            "--target-fmr and --target-fpir exclude each other",
        ),
        ("--people people --photos photos --threshold near", "'near' is not a valid float"),
        ("--people people --photos photos --threshold \u0660.\u0665", "not written in the digits"),
        ("--people people --photos photos --top \u0665", "is not written in the digits 0 to 9"),
        ("--people people --photos photos --top 0", "0 is not in the range"),
        ("--people people --photos photos --multiple-faces all", "'all' is not one of"),
        ("--people people --photos photos --min-face-px -1", "-1 is not in the range 0<=x<=100000"),
        ("--people people --photos photos --min-face-px 100001", "100001 is not in the range"),
        ("--people people --photos photos --min-face-px 0.5", "'0.5' is not a valid integer"),
        ("--people people --photos photos --min-quality -0.1", "-0.1 is not in the range 0<=x<=1"),
        ("--people people --photos photos --min-quality 1.1", "1.1 is not in the range"),
        ("--people people --photos photos --min-quality nan", "nan is not in the range"),
        ("--people people --photos photos --min-quality \u0660", "not written in the digits"),
    ],
)
def test_bad_arguments_end_with_status_2_and_say_why(
    folders: Path, arguments: str, message: str
) -> None:
    before = sorted(folders.rglob("*"))
    done = CliRunner().invoke(match, arguments.split())
    assert (done.exit_code, message in done.output) == (2, True), done.output
    assert sorted(folders.rglob("*")) == before


def test_a_run_that_fails_leaves_no_file_behind(folders: Path) -> None:
    out = folders / "r.csv"
    arguments = ["--people", "people", "--photos", "photos", "--out", str(out)]
    done = CliRunner().invoke(match, arguments)
    assert "a stack was started" in str(done.exception)
    assert {one.name for one in folders.iterdir()} == {"people", "photos", "empty", "link"}


def test_a_folder_that_cannot_be_read_is_told(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders / "photos" / "closed").mkdir()
    scandir = os.scandir

    def refusing(path: os.PathLike[str] | str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    done = CliRunner().invoke(match, ["--people", "people", "--photos", "photos"])
    assert "photos/closed cannot be read: Permission denied; what is in it" in done.stderr
    assert "a stack was started" in str(done.exception)


def test_a_name_cannot_forge_a_line_of_the_warnings(folders: Path) -> None:
    (folders / "photos" / "x\x1b[1A\nfacebatch: all is well").symlink_to(folders)
    done = CliRunner().invoke(match, ["--people", "people", "--photos", "photos"])
    (line,) = done.stderr.splitlines()
    assert line == (
        "facebatch: photos/x\\x1b[1A\\nfacebatch: all is well is a link to a folder and was not "
        "followed"
    )
