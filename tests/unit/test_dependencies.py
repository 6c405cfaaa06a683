"""What we depend on is written down, pinned by hash, and under a licence that we know."""

import ast
import contextlib
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dependencies.md").read_text()
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
LICENCES = "## Licences"


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _direct() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(one for extra in extras for one in extra)]
    return {re.match(r"[\w.-]+", one)[0] for one in wanted}


def _entries(lock: Path) -> list[str]:
    """The requirements of a lock, each with its hashes in one line."""
    text = lock.read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _packages(lock: Path) -> set[str]:
    return {entry.split("==")[0] for entry in _entries(lock)}


def test_every_direct_dependency_says_what_it_is_for_and_how_it_is_kept() -> None:
    rows = [row for row in _rows(PAGE.split(LICENCES)[0]) if row[0] != "package"]
    assert {row[0] for row in rows} == _direct()
    assert all(len(row) == 4 and all(row) for row in rows)


def test_every_installed_package_has_its_licence_on_the_page() -> None:
    rows = [row[0] for row in _rows(PAGE.split(LICENCES)[1])[1:]]
    assert rows == sorted(_packages(ROOT / "requirements" / "local.txt"))


def test_the_licences_are_those_that_the_packages_state() -> None:
    for name, licence in _rows(PAGE.split(LICENCES)[1])[1:]:
        try:
            stated = importlib.metadata.metadata(name).get("License-Expression")
        except importlib.metadata.PackageNotFoundError:
            continue
        assert stated in {None, licence}, name


def test_every_licence_that_is_not_permissive_is_explained() -> None:
    for name, licence in _rows(PAGE.split(LICENCES)[1])[1:]:
        if re.search(r"GPL|MPL|EPL|CDDL|SSPL|BUSL", licence):
            assert f"- **{name}**: {licence}" in PAGE


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_by_hash_and_names_no_place(lock: Path) -> None:
    entries = _entries(lock)
    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+==[\w.+!-]+( ;[^-]*)?\s+--hash=sha256:[0-9a-f]{64}", entry)
    assert not re.search(r"://|\s@\s|--(extra-)?index|--find-links|--trusted", lock.read_text())


def test_the_locks_agree_with_each_other() -> None:
    pins: dict[str, set[str]] = {}
    for lock in LOCKS:
        for entry in _entries(lock):
            name, version = entry.split()[0].split("==")
            pins.setdefault(name, set()).add(version)
    # These have a version for each range of Pythons, the same in every lock.
    several = {name for name, versions in pins.items() if len(versions) > 1}
    assert several <= {"contourpy", "deprecated", "numpy"}


def test_what_is_pinned_in_the_project_is_pinned_alike_in_the_locks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, extra in project["optional-dependencies"].items():
        exact = {one.replace("_", "-") for one in extra if "==" in one}
        lock = ROOT / "requirements" / f"{name if name in {'bench', 'dev'} else 'local'}.txt"
        assert exact <= {entry.split()[0] for entry in _entries(lock)}


def test_the_benchmarks_install_no_second_dlib_beside_ours() -> None:
    packages = _packages(ROOT / "requirements" / "bench.txt")
    assert packages.isdisjoint({"dlib", "face-recognition-models"})
    assert packages > _packages(ROOT / "requirements" / "local.txt")


@pytest.mark.parametrize(
    ("lock", "folders"), [("worker", ("workers", "db", "pipeline")), ("web", ("web",))]
)
def test_an_image_has_what_its_code_imports(lock: str, folders: tuple[str, ...]) -> None:
    """Inside functions, too: nobody else would notice before the function is called."""
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    provided = set[str]()
    for name in _packages(ROOT / "requirements" / f"{lock}.txt"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for file in importlib.metadata.files(name) or ():
                provided.add(file.parts[0].split(".")[0])
    wanted = {
        module
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        for module in _imported(ast.parse(path.read_text()))
    }
    assert {"structlog", "sqlalchemy"} & wanted
    assert wanted - ours - sys.stdlib_module_names - provided == set()


def _imported(node: ast.AST) -> Iterator[str]:
    """The first part of each module's name, without those that type checkers alone import."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (one.name.split(".")[0] for one in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module.split(".")[0]
        elif not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from _imported(child)
