"""`facebatch results` refuses what it could not do, before it starts anything."""

import pytest
from click.testing import CliRunner

from cli.main import facebatch

NOWHERE = "00000000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["not-an-id"], "not a valid UUID"),
        ([NOWHERE, "--format", "xls"], "is not one of"),
        ([NOWHERE, "--format", "parquet"], "name --out"),
        ([NOWHERE, "--format", "xmp"], "name --out"),
        ([NOWHERE, "--format", "xmp", "--out", "no/such/folder"], "is no folder"),
        ([NOWHERE, "--out", "no/such/folder/file"], "cannot be written"),
        ([NOWHERE, "--format", "csv", "--known-only"], "is for xmp"),
        ([NOWHERE, "--api", "localhost:1"], "no address of a server"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_asked(
    arguments: list[str], said: str
) -> None:
    done = CliRunner().invoke(facebatch, ["results", *arguments])
    assert (done.exit_code, said in done.output) == (2, True), done.output
