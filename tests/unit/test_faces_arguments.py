"""`facebatch search` and `facebatch crop` refuse what they could not do, and ask nobody."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import facebatch

NOWHERE = "00000000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "not-an-id"], "not a valid UUID"),
        (["search", NOWHERE], "say whom to look for"),
        (["search", NOWHERE, "--face", "1", "--subject", NOWHERE], "say whom to look for"),
        (["search", NOWHERE, "--face", "0"], "not in the range"),
        (["search", NOWHERE, "--face", "1", "--threshold", "0"], "not in the range"),
        (
            ["search", NOWHERE, "--face", "1", "--threshold", "1", "--target-fmr", "0.1"],
            "exclude each other",
        ),
        (["search", NOWHERE, "--probe", "no/such/photo.jpg"], "does not exist"),
        (["search", NOWHERE, "--face", "1", "--limit", "0"], "not in the range"),
        (["crop", NOWHERE, "1"], "Missing option '--out'"),
        (["crop", NOWHERE, "x", "--out", "a.jpg"], "not a valid integer"),
        (["crop", NOWHERE, "1", "--out", "a.jpg", "--size", "5000"], "not in the range"),
        (["crop", NOWHERE, "1", "--out", "a.jpg", "--margin", "nan"], "not in the range"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_asked(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(facebatch, arguments)
    assert (done.exit_code, said in done.output) == (2, True), done.output
    assert list(tmp_path.iterdir()) == []
