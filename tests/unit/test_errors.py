"""The reference of errors lists every code that can be met, with its status, and no other."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import cli
import db
import pipeline
import web
import workers
from db.errors import ConflictError, NotFoundError, SourceError, UnavailableError
from db.ledger import SET_ASIDE
from facebatch.client.answers import UNEXPECTED
from facebatch.errors import ServerAwayError
from pipeline.archives.errors import ArchiveEntryError, ArchiveError
from pipeline.errors import FaceBatchError, PhotoError
from web.errors import UnauthenticatedError
from web.live import closing
from web.problems import _HTTP_CODES, _status_of

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "reference" / "errors.md"
# Roots, which are never raised themselves.
ROOTS = {
    one.code
    for one in (
        ArchiveEntryError,
        ArchiveError,
        ConflictError,
        NotFoundError,
        PhotoError,
        SourceError,
        UnauthenticatedError,
        UnavailableError,
    )
}
# Codes of photos that are no class of their own, and the one for what HTTP itself refuses.
WITHOUT_CLASS = {SET_ASIDE, "several_faces", "quality_too_low", "bad_request", "unreadable"}
# Entry points do their work when they are imported.
ENTRY_POINTS = {"web.wsgi", "workers.app", "db.migrations.env"}


def _load_all() -> None:
    for package in (cli, db, pipeline, web, workers):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if module.name not in ENTRY_POINTS and ".versions" not in module.name:
                importlib.import_module(module.name)


def _below(kind: type[FaceBatchError]) -> Iterator[type[FaceBatchError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def _sections() -> dict[str, list[list[str]]]:
    """The cells of each table's rows, by the heading above it."""
    sections: dict[str, list[list[str]]] = {}
    heading = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        elif line.startswith("| `"):
            sections.setdefault(heading, []).append(
                [cell.strip(" `") for cell in line.strip("|").split(" | ")]
            )
    return sections


def test_no_error_gets_a_code_but_that_of_its_class_or_the_servers() -> None:
    # What a class does not have, the page cannot be compared with.
    given = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}"
        for package in (cli, db, pipeline, web, workers)
        for path in Path(package.__path__[0]).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id.endswith("Error")
        and any(
            isinstance(one, ast.Constant)
            and isinstance(one.value, str)
            and re.fullmatch(r"[a-z]+(_[a-z]+)+", one.value)
            for one in (*node.args, *(keyword.value for keyword in node.keywords))
        )
    ]
    assert given == []


def test_the_page_lists_every_code_and_no_other() -> None:
    _load_all()
    own = {kind.code for kind in _below(FaceBatchError)} | {FaceBatchError.code}
    codes = own - ROOTS | WITHOUT_CLASS | {code for code, _ in _HTTP_CODES.values()}
    codes |= {ServerAwayError.code, UNEXPECTED}  # The client's own.
    text = PAGE.read_text(encoding="utf-8")
    listed = {row[0] for rows in _sections().values() for row in rows}
    assert sorted(codes - listed - {"unreadable"}) == []
    assert "`unreadable`" in text
    assert sorted(listed - codes) == []


@pytest.mark.parametrize("section", ["Of requests", "Of photos"])
def test_each_code_has_the_status_that_it_is_answered_with(section: str) -> None:
    _load_all()
    kinds = {kind.code: kind for kind in _below(FaceBatchError) if kind.code != "internal_error"}
    statuses = {code: status for status, (code, _) in _HTTP_CODES.items()}
    checked = 0
    for code, status, _ in _sections()[section]:
        assert re.fullmatch(r"[45]\d\d", status)
        if code in statuses:
            assert int(status) == statuses[code]
        elif code in kinds and (code, section) != ("subject_not_found", "Of photos"):
            error = kinds[code]("x")
            # A photo's failure in a worker is answered as a refused photo.
            expected = (
                _status_of(error) if error.code in kinds and _status_of(error) != 500 else 422
            )
            assert int(status) == expected, code
            checked += 1
    assert checked > 8


def test_a_live_stream_ends_with_the_close_that_the_pages_say() -> None:
    _load_all()
    kinds = {kind.code: kind for kind in _below(FaceBatchError) if kind.code != "internal_error"}
    kinds["internal_error"] = closing.LiveBrokenError
    rows = _sections()["Of live streams"]
    own = {one.code for one in _below(FaceBatchError) if one.__module__ == closing.__name__}
    assert own == {code for code, _, _ in rows}
    text = (PAGE.parent / "live.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| (\d{4}) \| (`.*?`) \|", text, re.MULTILINE)
    told = [(code, close) for close, codes in listed for code in re.findall(r"`(\w+)`", codes)]
    assert own <= {code for code, _ in told}
    for code, close in [*told, *((code, close) for code, close, _ in rows)]:
        assert closing.close_code(kinds[code]("x")) == int(close), code


def test_the_page_of_archives_lists_the_codes_of_archives() -> None:
    _load_all()
    text = (PAGE.parent / "archives.md").read_text(encoding="utf-8")
    one_item, refused = text.split("## What refuses the archive")
    for part, root in ((one_item, ArchiveEntryError), (refused, ArchiveError)):
        listed = set(re.findall(r"^\| `(archive_\w+)`", part, re.MULTILINE))
        assert listed == {kind.code for kind in _below(root)}
