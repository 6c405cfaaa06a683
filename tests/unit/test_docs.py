"""Pages that have to keep an order or say what the code says."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def _words() -> list[str]:
    lines = (DOCS / "glossary.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    return [row.split("|")[1].strip() for row in rows[1:]]


def test_the_glossary_is_sorted_and_has_each_word_once() -> None:
    words = _words()
    assert len(words) > 10
    assert words == sorted(set(words))


def test_every_make_target_on_a_page_is_there() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    named = {
        (page.name, target)
        for page in pages
        for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE)
    }
    assert ("accuracy.md", "accuracy") in named
    assert {one for one in named if one[1] not in targets} == set()
